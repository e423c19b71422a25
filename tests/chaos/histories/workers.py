"""What workers do as long as all goes well."""

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from aiostreamq.model.delivery import Delivery, RetryRequest, Settlement
from aiostreamq.model.job_state import JobState
from aiostreamq.model.keys import OVERFLOW, RESERVED
from aiostreamq.model.outcome import Failure, encode_done, encode_ended, encode_unreadable
from aiostreamq.store.held import Hold
from tests.chaos.histories.job import TASKS
from tests.chaos.histories.machine import (
    LEASE_MS,
    LINES,
    Hand,
    Machine,
    held,
    key_of,
    picks,
    workers,
)
from tests.chaos.histories.pauses import RETURNED
from tests.chaos.histories.whereabouts import state_of
from tests.support.store import HOUR_MS

if TYPE_CHECKING:
    from aiostreamq.model.keys import Spillway
    from aiostreamq.store.reads import Read
    from tests.chaos.histories.stepped_worker import SteppedWorker

UNREADABLE = encode_unreadable("why")

#: Ends of runs of which a dead letter is kept.
LETTER_STATES = frozenset({"failed", "timed_out", "dead"})


places = st.sampled_from(tuple(OVERFLOW))

#: Somebody has something, or could have.
has_work = precondition(lambda self: self.hands or self.model.has_any("queued"))


class Workers(Machine):
    """Join, read, and do one thing or another with what was read."""

    @rule(worker=workers)
    def join(self, worker: str) -> None:
        """A worker enters, or starts again under the name of one that is gone."""
        self.model.beats[worker] = f"0 {LEASE_MS}"
        self.check(lambda: self.roster.join(worker, LEASE_MS), None)
        self.repeatable(lambda: self.roster.join(worker, LEASE_MS), None)

    @precondition(lambda self: self.model.beats)
    @rule(worker=workers)
    def renew(self, worker: str) -> None:
        """Only who is among the living can show that it lives."""
        beat = self.model.beats.get(worker, "dead")
        if beat != "dead":
            counter = int(beat.partition(" ")[0]) + 1
            self.model.beats[worker] = f"{counter} {LEASE_MS}"
        self.check(lambda: self.roster.renew(worker, LEASE_MS), beat != "dead")
        self.again = None

    @rule(worker=workers, most=st.integers(1, 3), arrives=st.sampled_from([True, True, False]))
    def read(self, worker: str, most: int, *, arrives: bool) -> None:
        """A worker is sent what waits; sometimes the reply does not arrive."""
        reader = self.workers[worker]
        found = self.run(reader.read(most))
        # What is returned is a line of its own, but XREADGROUP reads it too.
        script = "XREADGROUP" if len(reader.lanes) < 2 else "read_lanes"
        expected = self.model.read(worker, self.shares(reader.lanes, most, found), script)
        in_lines = sorted(found.deliveries, key=lambda one: one.stream)
        assert [held(one) for one in in_lines] == [
            (job.id, job.number, job.attempt) for job in expected
        ]
        if arrives:
            self.arrive(reader, found)

    @precondition(lambda self: self.model.has_any("running"))
    @rule(worker=workers)
    def read_own(self, worker: str) -> None:
        """A worker finds all that it was sent, and nothing else."""
        found = self.run(self.workers[worker].read_own())
        expected = {(job.id, job.number, job.attempt) for job in self.model.held_by(worker)}
        assert {held(one) for one in found.deliveries} == expected
        assert len(found.deliveries) == len(expected)
        found.deliveries = [one for one in found.deliveries if key_of(one) not in self.hands]
        found.cancelled = [one for one in found.cancelled if key_of(one) not in self.hands]
        self.arrive(self.workers[worker], found)

    @has_work
    @rule(
        at=picks,
        state=st.sampled_from(["done", "failed", "timed_out", "dead", "dropped", "cancelled"]),
        keep_ms=st.sampled_from([0, 30_000, HOUR_MS]),
    )
    def settle(self, at: list[int], state: str, keep_ms: int) -> None:
        """The latest delivery ends its job; an older one, or one of the dead, is refused."""
        batch = [hand.unrun or self.ending(hand.delivery, state, keep_ms) for hand in self.pick(at)]
        refused = [end.delivery for end in batch if not self.end(end)]
        self.check(lambda: self.refusals(batch), refused)
        self.repeatable(lambda: self.refusals(batch), refused)

    def ending(self, delivery: Delivery, state: str, keep_ms: int) -> Settlement:
        """The end of a run; a worker ends as cancelled only what was cancelled."""
        if state == "cancelled" and not self.model.jobs[delivery.job_id].is_cancelled:
            state = "dropped"
        return ending(delivery, state, keep_ms)

    async def refusals(self, ends: list[Settlement], worker: str = "somebody") -> list[Delivery]:
        """End deliveries; returns what was refused."""
        return (await self.store.deliveries.settle(ends, worker)).refused

    @has_work
    @rule(at=picks, delay_ms=st.sampled_from([0, HOUR_MS]))
    def retry(self, at: list[int], delay_ms: int) -> None:
        """A job that was run and failed goes round again, at once or later."""
        chosen = [hand.delivery for hand in self.pick(at) if hand.unrun is None]
        place = "delayed" if delay_ms else "queued"
        refused = [one for one in chosen if not self.model.retry(held(one), place)]
        batch = [RetryRequest(one, delay_ms) for one in chosen]
        self.check(lambda: self.schedule.retry(batch), refused)
        self.repeatable(lambda: self.schedule.retry(batch), refused)

    @has_work
    @rule(at=picks)
    def hand_back(self, at: list[int]) -> None:
        """A worker that stops gives its jobs to others."""
        chosen = self.let_go(at)
        handed = sum(self.model.hand_back(held(one)) for one in chosen)
        self.check(lambda: self.store.deliveries.requeue(chosen), handed)
        self.repeatable(lambda: self.store.deliveries.requeue(chosen), 0)

    @has_work
    @rule(at=picks, place=places)
    def overflow(self, at: list[int], place: "Spillway") -> None:
        """A worker has no thread, or process, for jobs that it was sent."""
        chosen, lane = self.let_go(at), OVERFLOW[place]
        handed = sum(self.model.hand_back(held(one), lane) for one in chosen)
        self.check(lambda: self.store.deliveries.requeue(chosen, lane), handed)
        self.repeatable(lambda: self.store.deliveries.requeue(chosen, lane), 0)

    @rule(worker=workers, most=st.integers(1, 3), place=places)
    def read_overflow(self, worker: str, most: int, place: "Spillway") -> None:
        """A worker that has some free takes what others had none for."""
        reader = self.workers[worker]
        found = self.run(reader.read_overflow(most, place))
        expected = self.model.read(worker, {OVERFLOW[place]: most})
        assert [held(one) for one in found.deliveries] == [
            (job.id, job.number, job.attempt) for job in expected
        ]
        self.arrive(reader, found)

    @has_work
    @rule(at=picks)
    def park(self, at: list[int]) -> None:
        """A worker sets aside what it does not know."""
        self.set_aside(self.let_go(at))

    @precondition(lambda self: self.model.has_any("parked"))
    @rule(worker=workers)
    def release(self, worker: str) -> None:
        """A worker takes up what it knows, and does not take for paused."""
        pauses = self.workers[worker].pauses
        tasks = [task for task in TASKS if not pauses.has_task(task)]
        self.check(lambda: self.parking.unpark(tasks), self.model.release(tasks))
        self.repeatable(lambda: self.parking.unpark(tasks), 0)

    @has_work
    @rule(at=picks)
    def bury(self, at: list[int]) -> None:
        """A worker meets what nobody can read."""
        chosen = self.let_go(at)
        buried = sum(self.model.bury(held(one)) for one in chosen)
        entries = [key_of(one) for one in chosen]
        self.check(
            lambda: self.store.deliveries.dead_letter_unreadable(entries, UNREADABLE, "somebody"),
            buried,
        )
        self.repeatable(
            lambda: self.store.deliveries.dead_letter_unreadable(entries, UNREADABLE, "somebody"), 0
        )

    @has_work
    @rule(at=picks)
    def mark(self, at: list[int]) -> None:
        """A worker is about to run jobs; only of those that lost one it says so."""
        for one in self.pick(at):
            if self.model.mark(held(one.delivery)):
                self.check(lambda one=one: self.roster.note_suspect_run(one.delivery), True)
                self.repeatable(lambda one=one: self.roster.note_suspect_run(one.delivery), True)

    def pick(self, at: list[int]) -> list[Hand]:
        """Some of what is in somebody's hands; where nothing is, a worker reads first."""
        if not self.hands:
            self.read("a", 3, arrives=True)
        return super().pick(at)

    def shares(self, lanes: list[str], most: int, found: "Read") -> dict[str, int]:
        """How much of each line a read should bring. Whose turn it is, is a matter of others."""
        if len(lanes) < 2:
            return dict.fromkeys([RETURNED, *lanes], most)  # as XREADGROUP counts
        brought = Counter(LINES[one.stream - 1] for one in found.deliveries)
        # Half of all goes to it first, and what the lanes leave.
        waiting = self.model.waiting(RETURNED)
        least = min((most + 1) // 2, waiting)
        in_lanes = sum(self.model.waiting(lane) for lane in lanes)
        shares = {RETURNED: max(least, min(waiting, most - in_lanes))}
        left = most - shares[RETURNED]
        for lane in lanes:
            shares[lane] = min(left, self.model.waiting(lane)) if self.is_strict else brought[lane]
            left -= shares[lane]
        assert left >= 0, "more than was asked for"
        assert left == 0 or all(self.model.waiting(lane) == shares[lane] for lane in lanes)
        return shares

    def arrive(self, worker: "SteppedWorker", found: "Read") -> None:
        """Put what a worker was sent into its hands, or where it is to wait."""
        assert found.paused == self.model.pauses.holding
        assert sorted(one.job_id for one in found.cancelled) == sorted(
            one.job_id for one in found.deliveries if self.model.jobs[one.job_id].is_cancelled
        )
        sorted_out = self.run(worker.sort(found))
        assert sorted_out.fates == {
            one.job_id: self.model.fate(one.job_id) for one in found.deliveries
        }
        for one in sorted_out.run:
            self.hands[key_of(one)] = Hand(worker.name, one, None)
        for end in sorted_out.unrun:
            self.hands[key_of(end.delivery)] = Hand(worker.name, end.delivery, end)
        self.again = None
        if sorted_out.held:
            self.put_in_line(sorted_out.held)
        if sorted_out.parked:
            self.set_aside(sorted_out.parked)
        for one, lane in sorted_out.put_back:
            handed = int(self.model.hand_back(held(one), lane))
            self.check(
                lambda one=one, lane=lane: self.store.deliveries.requeue([one], lane), handed
            )

    def set_aside(self, chosen: list[Delivery]) -> None:
        """Have jobs wait until their tasks are known, or continue."""
        parked = sum(self.model.park(held(one)) for one in chosen)
        batch = [(one, self.model.jobs[one.job_id].call.task) for one in chosen]
        self.check(lambda: self.parking.park(batch), parked)
        self.repeatable(lambda: self.parking.park(batch), 0)

    def put_in_line(self, chosen: list[Hold]) -> None:
        """Have jobs wait for their limits."""
        for one in chosen:
            assert one == self.to_hold(one.delivery)
        held_now = sum(self.model.hold(held(one.delivery), turn_of(one.delivery)) for one in chosen)
        self.check(lambda: self.held_jobs.hold(chosen), held_now)
        self.repeatable(lambda: self.held_jobs.hold(chosen), 0)

    def to_hold(self, delivery: Delivery) -> Hold:
        """Where a job waits for its limits that was read from some line."""
        call, line = self.model.jobs[delivery.job_id].call, LINES[delivery.stream - 1]
        lane = TASKS[call.task] if line in RESERVED else line
        return Hold(delivery, call.backlog(lane), call.costs)

    def end(self, end: Settlement) -> bool:
        """Tell the account of an end; False where it is to be refused."""
        state = state_of(end.outcome)
        return self.model.settle(held(end.delivery), state, is_kept=end.keep_ms > 0)


def turn_of(delivery: Delivery) -> int:
    """The place in line that an entry has: by when it was put into its lane."""
    ms, number = map(int, delivery.entry.split(b"-"))
    return ms * 1024 + min(number, 1023)


def ending(delivery: Delivery, state: str, keep_ms: int) -> Settlement:
    """The end of a run, as a worker writes it."""
    if state == "done":
        outcome = encode_done(b'"size"', delivery.number, b"1")
    else:
        failure = Failure("E", "no", "") if state in LETTER_STATES else None
        outcome = encode_ended("size", delivery.number, JobState(state), failure)
    return Settlement(delivery, keep_ms, outcome, is_dead=state in LETTER_STATES)
