"""Transitions that random histories rarely show: one example each, seen in Redis itself."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import orjson

from aiostreamq.model.delivery import (
    Delivery,
    HeldSubmission,
    RetryRequest,
    Settlement,
    WaiterMode,
)
from aiostreamq.model.job_state import JobState
from aiostreamq.model.job_transitions import ENDED, Stage, Transition
from aiostreamq.model.keys import GROUP
from aiostreamq.model.metadata import HeldKey
from aiostreamq.model.outcome import Failure, encode_done, encode_ended, encode_unreadable
from aiostreamq.model.replayed_job import write_history
from aiostreamq.store.cancellation import Cancellation, LaneFilter
from aiostreamq.store.dead_letters import DeadLetterStore, Replay, Replayed, Span
from aiostreamq.store.held import HeldJobs, Hold
from aiostreamq.store.schedules import ScheduleStore, Tick
from tests.support.store import ENVELOPE, HOUR_MS, Store

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    Leave = Callable[[Delivery], Awaitable[object]]

BACKLOG = "default size c=size"

SCHEDULE = b'{"v":1}'  # the scripts do not read it


async def stage_of(store: Store, job_id: str) -> Stage:
    """Return the stage of a job by what Redis holds of it, and by nothing else."""
    job = await store.hash_at(store.keys.job(job_id))
    if job.get("c") == "ended":
        return Stage.CANCELLED_IN_LANE if "e" in job else Stage.CANCELLED
    outcome = await store.call("GET", store.keys.result(job_id))
    if isinstance(outcome, bytes):
        return Stage(orjson.loads(outcome)["state"])
    if "p" in job:
        return Stage.HELD if job["s"] == "held" else Stage.DELAYED
    if "q" in job:
        return Stage.PARKED
    if "e" not in job:
        return Stage.UNKNOWN
    stream, entry = store.keys.stream(job.get("s", "default")), job["e"]
    if not await store.call("XPENDING", stream, GROUP, entry, entry, 1):
        return Stage.QUEUED
    return Stage.CANCELLING if "c" in job else Stage.RUNNING


class Examples:
    """Jobs, each in a transition that is to be seen."""

    def __init__(self, store: Store) -> None:
        self.seen: set[Transition] = set()
        self._store = store
        self._steering = Cancellation(store.queue)
        self._letters = DeadLetterStore(store.queue)
        self._held_jobs = HeldJobs(store.queue)
        #: the ways in which a delivery leaves its worker without an end of its own
        self.leavings: dict[str, Leave] = {
            "settle": store.settle,
            "retry": lambda one: store.delayed.retry([RetryRequest(one, 0)]),
            "requeue": lambda one: store.deliveries.requeue([one]),
            "park": lambda one: store.parking.park([(one, "size")]),
            "hold": lambda one: self._held_jobs.hold([Hold(one, BACKLOG, "")]),
            "recover_worker": lambda _: store.workers.recover("w1", "0 7", 2),
            "dead_letter_unreadable": self._bury,
        }

    async def play(self) -> set[Transition]:
        """Go through all; returns what was seen."""
        await self.clear()
        for state in ENDED:
            await self.end(state)
            await self.end_cancelling(state)
        await self.fire()
        await self.enqueue_unique()
        await self.lose_entries()
        await self.cancel_lane()
        await self.replay_cancelled()
        await self.skip_cancelled()
        await self.release_parked()
        await self.leave_what_waits()
        await self.hold()
        await self.recover()
        await self.read_many_lanes()
        await self.leave()
        for script, leave in self.leavings.items():
            await self.leave_cancelled(script, leave)
        return self.seen

    async def clear(self) -> None:
        """Begin with an empty queue."""
        await self._store.call("FLUSHALL")
        await self._store.queue.create_groups(self._store.link)

    @asynccontextmanager
    async def step(self, script: str, job_id: str) -> AsyncGenerator[None]:
        """Note how one step changes the stage of a job."""
        before = await stage_of(self._store, job_id)
        yield
        after = await stage_of(self._store, job_id)
        assert before is not after, f"{script} does not move {job_id} on from {before}"
        self.seen.add(Transition(before, script, after))

    async def deliver(self, job_id: str) -> Delivery:
        """Enqueue a job and read it."""
        async with self.step("enqueue", job_id):
            await self._store.enqueue(job_id)
        async with self.step("XREADGROUP", job_id):
            [delivery] = await self._store.read()
        return delivery

    async def cancel(self, job_id: str) -> None:
        """Ask for the end of a job."""
        async with self.step("cancel", job_id):
            await self._steering.cancel([job_id])

    async def settle(self, delivery: Delivery, stage: Stage) -> None:
        """End a run in any way."""
        async with self.step("settle", delivery.job_id):
            settled = await self._store.deliveries.settle([ending(delivery, stage)], "w1")
        assert settled.refused == []

    async def end(self, stage: Stage) -> None:
        """A job ends, and is forgotten in time, or replayed before and after."""
        job_id = f"ends-{stage}"
        delivery = await self.deliver(job_id)
        if stage is Stage.CANCELLED:
            await self.cancel(job_id)
        await self.settle(delivery, stage)
        if stage in LETTER_STAGES:
            await self.replay(job_id)
            [delivery] = await self._store.read()
            await self.settle(delivery, stage)
        await self.expire(job_id)
        if stage in LETTER_STAGES:
            await self.replay(job_id)
            [delivery] = await self._store.read()
            await self._store.settle(delivery)

    async def end_cancelling(self, stage: Stage) -> None:
        """A run ends in any way before its worker has heard that its job is cancelled."""
        delivery = await self.deliver(f"cancelled-{stage}")
        await self.cancel(delivery.job_id)
        await self.settle(delivery, stage)

    async def expire(self, job_id: str) -> None:
        """Redis drops what is kept of an ended job; here its time comes at once."""
        keys = [self._store.keys.job(job_id), self._store.keys.result(job_id)]
        async with self.step("expiry", job_id):
            for key in keys:
                assert await self._store.pttl(key) != -1, f"{key} is kept for ever"
                await self._store.call("PEXPIRE", key, 0)

    async def replay(self, job_id: str) -> None:
        """Have the last dead letter run again."""
        [letters] = [page async for page in self._letters.oldest_first(Span())]
        letter = letters[-1]
        assert letter.job_id == job_id
        history = write_history(letter)
        again = Replay(letter.id, job_id, 2, WaiterMode.NOBODY, letter.envelope, history)
        async with self.step("replay_dead_letters", job_id):
            assert await self._letters.replay([again]) == [Replayed.DONE]

    async def fire(self) -> None:
        """A schedule fires, at once and after a jitter."""
        table = ScheduleStore(self._store.queue)
        await table.put("s", SCHEDULE, 5000, 5, replace=False)
        for start in (0, 9_000_000_000_000):
            [due] = (await table.due(())).due
            assert due.at is not None
            following, job_id = due.at + 1000, f"s@{due.at}"
            tick = Tick(
                "s", due.rev, due.at, None, following, due.at, job_id, "default", "0", start,
                "allow", 0, ENVELOPE,
            )  # fmt: skip
            async with self.step("fire_schedules", job_id):
                await table.fire([tick])
        [delivery] = await self._store.read()
        await self._store.settle(delivery)

    async def enqueue_unique(self) -> None:
        """Jobs with keys come, now and later, and one whose key is taken is dropped."""
        async with self.step("enqueue_unique", "keyed"):
            await self._store.enqueue_unique("key", "keyed")
        async with self.step("enqueue_unique", "keyed-later"):
            await self._store.enqueue_unique("other", "keyed-later", due="+99999")
        async with self.step("enqueue_unique", "keyed-too"):
            await self._store.enqueue_unique("key", "keyed-too", rule="done drop")
        await self.keep_latest()
        await self.replace()

    async def keep_latest(self) -> None:
        """A job waits until its key is free, and then goes to its lane."""
        await self.clear()
        await self._store.enqueue_unique("key", "old", rule="latest return")
        async with self.step("enqueue_unique", "kept"):
            await self._store.enqueue_unique("key", "kept", rule="latest return")
        [delivery] = await self._store.read()
        key = HeldKey("key", is_freed_at_start=False)
        end = ending(delivery, Stage.DONE)._replace(key=key)
        await self._store.deliveries.settle([end], "w1")
        async with self.step("promote", "kept"):
            await self._store.delayed.promote()

    async def replace(self) -> None:
        """A job that holds a key is replaced, in each state, and after its entry was deleted."""
        for step in (self._wait, self._delay, self._hold, self._park, self._run, self._lose):
            await self.clear()
            await step()
            async with self.step("enqueue_unique", "old"):
                await self._replace("new")
        await self.clear()
        await self._wait()
        await self.cancel("old")
        await self._delete("old")
        await self._store.enqueue_unique("key", "waits")
        async with self.step("enqueue_unique", "old"):
            await self._replace("new")
        await self.clear()

    async def _replace(self, job_id: str) -> None:
        await self._store.enqueue_unique("key", job_id, rule="done replace")

    async def _wait(self) -> None:
        await self._store.enqueue_unique("key", "old")

    async def _delay(self) -> None:
        await self._store.enqueue_unique("key", "old", due="+99999")

    async def _run(self) -> Delivery:
        await self._wait()
        [delivery] = await self._store.read()
        return delivery

    async def _park(self) -> None:
        await self._store.parking.park([(await self._run(), "size")])

    async def _hold(self) -> None:
        await self.leavings["hold"](await self._run())

    async def _lose(self) -> None:
        await self._wait()
        await self._delete("old")

    async def lose_entries(self) -> None:
        """An operator deletes the entries of jobs that wait, and of those that run."""
        for is_cancelled in (False, True):
            delivery = await self.deliver(f"runs-{is_cancelled}")
            if is_cancelled:
                await self.cancel(delivery.job_id)
            await self._delete(delivery.job_id)
            async with self.step("requeue_deleted", delivery.job_id):
                later = RetryRequest(delivery._replace(attempt=2), HOUR_MS)
                assert await self._store.deliveries.requeue_deleted([later]) == []
        await self._store.enqueue("waits", "met-too-late")
        await self._delete("waits")
        await self.cancel("waits")
        await self.cancel("met-too-late")
        await self._delete("met-too-late")
        async with self.step("cancel", "met-too-late"):
            await self._steering.cancel(["another"])

    async def cancel_lane(self) -> None:
        """Jobs of a lane are cancelled together, and the entry of one was deleted before that."""
        await self.clear()
        await self._store.enqueue("in-its-lane")
        async with self.step("cancel_lane", "in-its-lane"):
            await self._cancel_lane()
        await self._delete("in-its-lane")
        async with self.step("cancel_lane", "in-its-lane"):
            await self._cancel_lane()
        running = await self.deliver("runs-in-its-lane")
        async with self.step("cancel_lane", running.job_id):
            await self._cancel_lane()

    async def _cancel_lane(self) -> None:
        stream = self._store.keys.stream("default")
        wanted = LaneFilter(["queued", "running"], None, None)
        await self._steering.cancel_part(stream, "-", "+", wanted)

    async def replay_cancelled(self) -> None:
        """A job that cannot be read is cancelled, and its letter is replayed all the same."""
        await self._store.enqueue("odd", mark=WaiterMode.NO_RESULT)
        [delivery] = await self._store.read()
        await self.cancel("odd")
        async with self.step("dead_letter_unreadable", "odd"):
            await self._bury(delivery)
        await self.replay("odd")

    async def skip_cancelled(self) -> None:
        """The entry of a cancelled job is dropped before any worker gets it."""
        await self.clear()
        await self._store.enqueue("skipped")
        await self.cancel("skipped")
        keys = [self._store.keys.cancelled, *self._store.queue.streams]
        arguments = [GROUP, "w1", self._store.keys.prefix, 1]
        async with self.step("skip_cancelled", "skipped"):
            await self._store.queue.run("skip_cancelled", keys, arguments)

    async def release_parked(self) -> None:
        """A worker that can run a parked job gets it in the step that unparks it."""
        delivery = await self.deliver("parked")
        async with self.step("park", "parked"):
            await self._store.parking.park([(delivery, "size")])
        async with self.step("unpark", "parked"):
            read = await self._store.parking.release(self._store.link, "w1", 1, ["size"])
        await self._store.settle(*read.deliveries)

    async def leave_what_waits(self) -> None:
        """A delayed and a parked job are cancelled, or are queued again."""
        for is_cancelled in (True, False):
            await self.clear()
            due = HOUR_MS if is_cancelled else 0
            entry = ("late", "default", WaiterMode.NOBODY, f"+{due}", ENVELOPE)
            async with self.step("enqueue_delayed", "late"):
                await self._store.delayed.delay([entry], "me", 5)
            delivery = await self.deliver("aside")
            async with self.step("park", "aside"):
                await self._store.parking.park([(delivery, "size")])
            if is_cancelled:
                await self.cancel("late")
                await self.cancel("aside")
                continue
            async with self.step("promote", "late"):
                await self._store.delayed.promote()
            async with self.step("unpark", "aside"):
                await self._store.parking.unpark(["size"])

    async def hold(self) -> None:
        """A job waits for its limits, is admitted, and is held again until it is cancelled."""
        await self.clear()
        job = HeldSubmission("held", 2, WaiterMode.NOBODY, BACKLOG, "", ENVELOPE)
        async with self.step("enqueue_held", "held"):
            await self._held_jobs.enqueue([job], "me", 5)
        async with self.step("admit", "held"):
            found = await self._held_jobs.admit(
                self._store.link, "w1", 1, b"", ["default"], ["size"]
            )
        async with self.step("hold", "held"):
            await self.leavings["hold"](found.read.deliveries[0])
        await self.cancel("held")

    async def recover(self) -> None:
        """The worker of a job dies; the job runs again, or is given up."""
        for max_worker_deaths in (2, 1):
            await self.clear()
            await self.deliver("recovered")
            await self._store.workers.join("w1", 7)
            async with self.step("recover_worker", "recovered"):
                await self._store.workers.recover("w1", "0 7", max_worker_deaths)

    async def read_many_lanes(self) -> None:
        """A worker with many lanes gets a job."""
        await self._store.enqueue("of-many-lanes")
        streams = [*self._store.queue.streams[:2], self._store.keys.cancelled]
        keys = [*streams, self._store.keys.paused]
        async with self.step("read_many_lanes", "of-many-lanes"):
            await self._store.queue.run("read_many_lanes", keys, [GROUP, "w1", 1, 0, "1", ""])

    async def leave(self) -> None:
        """A job is retried at once and later, is handed back, and turns out to be unreadable."""
        leavings = {
            "retry": [self.leavings["retry"], self._retry_later],
            "requeue": [self.leavings["requeue"]],
            "dead_letter_unreadable": [self._bury],
        }
        for script, ways in leavings.items():
            for leave in ways:
                await self.clear()
                delivery = await self.deliver("left")
                async with self.step(script, "left"):
                    await leave(delivery)

    async def _retry_later(self, delivery: Delivery) -> None:
        await self._store.delayed.retry([RetryRequest(delivery, HOUR_MS)])

    async def leave_cancelled(self, script: str, leave: Leave) -> None:
        """A cancelled job leaves its worker, be it cancelled before or after it was delivered."""
        for is_delivered in (False, True):
            await self.clear()
            await self._store.enqueue("leaves")
            if not is_delivered:
                await self.cancel("leaves")
            [delivery] = await self._store.read()
            if is_delivered:
                await self.cancel("leaves")
            await self._store.workers.join("w1", 7)
            async with self.step(script, "leaves"):
                await leave(delivery)

    async def _bury(self, delivery: Delivery) -> None:
        entry = (delivery.stream, delivery.entry)
        assert (
            await self._store.deliveries.dead_letter_unreadable(
                [entry], encode_unreadable("why"), "w1"
            )
            == 1
        )

    async def _delete(self, job_id: str) -> None:
        job = await self._store.hash_at(self._store.keys.job(job_id))
        await self._store.call("XDEL", self._store.keys.stream("default"), job["e"])


LETTER_STAGES = frozenset({Stage.FAILED, Stage.TIMED_OUT, Stage.DEAD})


def ending(delivery: Delivery, stage: Stage) -> Settlement:
    """Return the end of a run, as a worker writes it."""
    if stage is Stage.DONE:
        outcome = encode_done(b'"size"', delivery.number, b"1")
    else:
        failure = Failure("E", "no", "") if stage in LETTER_STAGES else None
        outcome = encode_ended("size", delivery.number, JobState(stage.value), failure)
    return Settlement(delivery, HOUR_MS, outcome, is_dead=stage in LETTER_STAGES)
