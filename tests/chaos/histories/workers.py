"""What workers do as long as all goes well."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from aiostreamq.model.delivery import Delivery, Retrial, Settlement
from aiostreamq.model.outcome import Failure, JobState, encode_done, encode_ended, encode_unreadable
from tests.chaos.histories.machine import LEASE_MS, LINES, Machine, held, picks, workers
from tests.support.store import HOUR_MS

UNREADABLE = encode_unreadable("why")


class Workers(Machine):
    """Join, read, and do one thing or another with what was read."""

    @rule(worker=workers)
    def join(self, worker: str) -> None:
        """A worker enters, or starts again under the name of one that is gone."""
        self.model.beats[worker] = f"0 {LEASE_MS}"
        self.check(lambda: self.roster.join(worker, LEASE_MS), None)
        self.repeatable(lambda: self.roster.join(worker, LEASE_MS), None)

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
        found = self.run(self.store.read(worker, most))
        assert [held(one) for one in found] == self.model.read(worker, most, LINES)
        self.take(worker, found if arrives else [])

    @rule(worker=workers)
    def read_own(self, worker: str) -> None:
        """A worker finds all that it was sent, and nothing else."""
        found = self.run(self.store.broker.read_all_own(worker))
        expected = {(job.id, job.number, job.attempt) for job in self.model.held_by(worker)}
        assert {held(one) for one in found} == expected
        assert len(found) == len(expected)
        self.take(worker, found)

    @precondition(lambda self: self.hands)
    @rule(at=picks, state=st.sampled_from(["done", "failed"]), keep_ms=st.sampled_from([0, 1, 2]))
    def settle(self, at: list[int], state: str, keep_ms: int) -> None:
        """The latest delivery ends its job; an older one, or one of the dead, is refused."""
        keep_ms = (0, 30_000, HOUR_MS)[keep_ms]
        chosen = self.pick(at)
        refused = [
            one for one in chosen if not self.model.settle(held(one), state, is_kept=keep_ms > 0)
        ]
        batch = [
            Settlement(one, keep_ms, outcome(one, state), is_dead=state == "failed")
            for one in chosen
        ]
        self.check(lambda: self.store.broker.settle(batch, "somebody"), refused)
        self.repeatable(lambda: self.store.broker.settle(batch, "somebody"), refused)

    @precondition(lambda self: self.hands)
    @rule(at=picks, delay_ms=st.sampled_from([0, HOUR_MS]))
    def retry(self, at: list[int], delay_ms: int) -> None:
        """A job that failed goes round again, at once or later."""
        chosen = self.pick(at)
        place = "delayed" if delay_ms else "queued"
        refused = [one for one in chosen if not self.model.retry(held(one), place)]
        batch = [Retrial(one, delay_ms) for one in chosen]
        self.check(lambda: self.schedule.retry(batch), refused)
        self.repeatable(lambda: self.schedule.retry(batch), chosen)

    @precondition(lambda self: self.hands)
    @rule(at=picks)
    def hand_back(self, at: list[int]) -> None:
        """A worker that stops gives its jobs to others."""
        chosen = self.let_go(at)
        handed = sum(self.model.hand_back(held(one)) for one in chosen)
        self.check(lambda: self.store.broker.hand_back(chosen), handed)
        self.repeatable(lambda: self.store.broker.hand_back(chosen), 0)

    @precondition(lambda self: self.hands)
    @rule(at=picks)
    def park(self, at: list[int]) -> None:
        """A worker sets aside what it does not know."""
        chosen = self.let_go(at)
        parked = sum(self.model.park(held(one)) for one in chosen)
        batch = [(one, "t") for one in chosen]
        self.check(lambda: self.schedule.park(batch), parked)
        self.repeatable(lambda: self.schedule.park(batch), 0)

    @rule()
    def release(self) -> None:
        """A worker comes that knows it."""
        self.check(lambda: self.schedule.release(["t"]), self.model.release())
        self.repeatable(lambda: self.schedule.release(["t"]), 0)

    @precondition(lambda self: self.hands)
    @rule(at=picks)
    def bury(self, at: list[int]) -> None:
        """A worker meets what nobody can read."""
        chosen = self.let_go(at)
        buried = sum(self.model.bury(held(one)) for one in chosen)
        entries = [(one.stream, one.entry) for one in chosen]
        self.check(lambda: self.store.broker.bury(entries, UNREADABLE, "somebody"), buried)
        self.repeatable(lambda: self.store.broker.bury(entries, UNREADABLE, "somebody"), 0)

    @precondition(lambda self: self.hands)
    @rule(at=picks)
    def mark(self, at: list[int]) -> None:
        """A worker is about to run jobs; only of those that lost one it says so."""
        for one in self.pick(at):
            if self.model.mark(held(one)):
                self.check(lambda one=one: self.roster.mark(one), True)
                self.repeatable(lambda one=one: self.roster.mark(one), True)


def outcome(delivery: Delivery, state: str) -> bytes:
    """An outcome as a worker writes it."""
    if state == "done":
        return encode_done(b'"size"', delivery.number, b"1")
    return encode_ended("size", delivery.number, JobState(state), Failure("E", "no", ""))
