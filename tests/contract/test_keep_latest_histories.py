"""Random histories of one key of which the latest is kept: what must be so after every step."""

import random
from collections.abc import Awaitable, Callable

import orjson
import pytest

from aiostreamq.model.delivery import Delivery, RetryRequest, Settlement
from aiostreamq.model.job_state import OPEN_STATES, JobState
from aiostreamq.model.metadata import HeldKey
from aiostreamq.model.outcome import encode_ended
from aiostreamq.store.cancellation import Cancellation, LaneFilter
from tests.support.nightly import mostly_nightly
from tests.support.store import ENVELOPE, HOUR_MS, Store

HELD = HeldKey("k", is_freed_at_start=False)
STEPS = 100

#: How many calls a job remembers, less those that come between.
REMEMBERED = 8

Way = Callable[[], Awaitable[object]]


class History:
    """A key, its jobs, and the deliveries that a worker has."""

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.random = random.Random(seed)
        self.calls = 0
        self.answers: dict[int, str] = {}  #: the job of each call
        self.jobs: list[str] = []  #: in the order in which they were made
        self.seen: dict[str, int] = {}  #: the version with which each job was last delivered
        self.cancelled: set[str] = set()
        self.forgotten: set[str] = set()  #: jobs that have left no calls at their end
        self.deliveries: dict[str, Delivery] = {}
        self.log: list[str] = []

    async def call(self, number: int | None = None) -> None:
        """Make the next call, or repeat one."""
        version = number or self.calls + 1
        self.calls = max(self.calls, version)
        envelope = ENVELOPE.replace(b"1]", b"%d]" % version)
        (holder,) = await self.store.enqueue_unique(
            "k", f"c{version}", rule="latest return", envelope=envelope
        )
        job = holder or f"c{version}"
        if holder is None:
            self.jobs.append(job)
        assert job in self.jobs
        if number is None:
            self.answers[version] = job

    async def repeat(self) -> None:
        """Repeat a late call, whose reply was lost: it makes no job and changes none."""
        version = self.calls - self.random.randrange(REMEMBERED)
        if self.answers.get(version) in {None, *self.forgotten, *self.cancelled}:
            return
        before, known = list(self.jobs), await self.open_jobs()
        await self.call(version)
        assert (self.jobs, await self.open_jobs()) == (before, known)

    async def open_jobs(self) -> dict[str, int]:
        """Return the version of each job that has not ended; 0 of one that is in a lane."""
        found: dict[str, int] = {}
        for job in self.jobs[-4:]:
            state = await self.store.results.job_state(job)
            if state is not None and state.decode() in OPEN_STATES:
                envelope = (await self.store.hash_at(self.store.keys.job(job))).get("p")
                found[job] = 0 if envelope is None else orjson.loads(envelope)["args"][0]
        return found

    async def deliver(self) -> None:
        """Have the worker read what is there."""
        for delivery in await self.store.read("w1"):
            self.deliveries[delivery.job_id] = delivery
            if delivery.job_id not in self.cancelled:
                self.seen[delivery.job_id] = orjson.loads(delivery.envelope)["args"][0]

    async def leave(self) -> None:
        """Have a delivery leave the worker in one of all ways."""
        if not self.deliveries:
            return
        delivery = self.deliveries.pop(self.random.choice(list(self.deliveries)))
        store = self.store
        ways: list[Way] = [
            lambda: store.deliveries.requeue([delivery]),
            lambda: store.parking.park([(delivery, "size")]),
            lambda: store.delayed.retry([RetryRequest(delivery, HOUR_MS)]),
            lambda: store.delayed.retry([RetryRequest(delivery, 0)]),
            *[lambda: self.end(delivery)] * 4,
        ]
        await self.random.choice(ways)()

    async def end(self, delivery: Delivery) -> None:
        """End a job, as a worker of this release or of an older one."""
        state = self.random.choice([JobState.DONE, JobState.FAILED, JobState.DROPPED])
        key = self.random.choice([HELD, HELD, None])
        if key is None:
            self.forgotten.add(delivery.job_id)
        outcome = encode_ended("size", delivery.number, state)
        end = Settlement(delivery, HOUR_MS, outcome, state is JobState.FAILED, key=key)
        await self.store.deliveries.settle([end], "w1")

    async def die(self) -> None:
        """Have the worker die: its jobs go back, or are given up."""
        await self.store.workers.join("w1", 1000)
        deaths = self.random.choice([1, 50])
        if deaths == 1:
            self.forgotten |= self.deliveries.keys()
        await self.store.workers.recover("w1", "0 1000", deaths)
        self.deliveries.clear()

    async def cancel(self) -> None:
        """Cancel a job, wherever it is, or all that wait in a lane."""
        cancellation, late = Cancellation(self.store.queue), self.jobs[-2:]
        if self.random.random() < 0.7:
            late = late[: self.random.randint(0, 1) or None]
            await cancellation.cancel(late)
        else:
            wanted = LaneFilter(["queued"], None, None)
            stream = self.store.keys.stream("default")
            await cancellation.cancel_part(stream, "-", "+", wanted)
        self.cancelled |= set(late)

    async def pass_time(self) -> None:
        """Let all that is delayed or parked be due."""
        await self.store.parking.unpark(["size"])
        for job in self.jobs[-4:]:
            await self.store.call("ZADD", self.store.keys.delayed, "XX", 1000, job)
        await self.store.delayed.promote()

    async def step(self) -> None:
        """Do one thing, and look at all."""
        ways = [self.call, self.call, self.call, self.repeat, self.deliver, self.deliver]
        ways += [self.leave, self.leave, self.leave, self.pass_time, self.cancel, self.die]
        way = self.random.choices(ways, [1] * (len(ways) - 2) + [0.3, 0.3])[0]
        self.log.append(way.__name__)
        await way()
        await self.check()

    async def check(self) -> None:
        """One job has the key at most, one more waits, and the last call is not forgotten."""
        found = await self.open_jobs()
        waiting = [
            job for job in found if "y" in await self.store.hash_at(self.store.keys.job(job))
        ]
        assert len(found) - len(waiting) <= 1, "two have the key"
        assert len(waiting) <= 1, "two wait"
        assert waiting in ([], self.jobs[-1:]), "the last one waits"
        if self.calls and (last := self.answers[self.calls]) not in self.cancelled:
            versions = {found.get(last, 0), self.seen.get(last, 0), 0}
            assert max(versions) in {0, self.calls}

    async def finish(self) -> None:
        """Let all that is left end: nothing hangs, and the key is free."""
        for _ in range(10):
            await self.pass_time()
            await self.deliver()
            for delivery in self.deliveries.values():
                await self.end(delivery)
            self.deliveries.clear()
        assert await self.open_jobs() == {}
        last = self.answers[self.calls]
        assert last in self.cancelled or self.seen[last] == self.calls
        await self.call()
        assert self.answers[self.calls] == f"c{self.calls}"


@pytest.mark.parametrize(
    "seed", mostly_nightly(((seed,) for seed in range(100)), but=[(seed,) for seed in range(15)])
)
async def test_history(store: Store, seed: int) -> None:
    """All steps come in any order."""
    history = History(store, seed)
    await history.call()
    for _ in range(STEPS):
        await history.step()
    await history.finish()
