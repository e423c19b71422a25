"""What befalls workers, and time. A worker that others take for dead may continue all the same."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.chaos.histories.job import NOON
from tests.chaos.histories.machine import LEASE_MS, LINES, LONG_AGO, held, ids, workers
from tests.chaos.histories.reference import MAX_WORKER_DEATHS
from tests.chaos.histories.workers import Workers

#: So few that workers are often found half recovered.
RECOVER_LIMIT = 2


class Misfortunes(Workers):
    """Crashes, recovery, lost replies; jobs that come due."""

    @precondition(lambda self: self.hands)
    @rule(worker=workers)
    def crash(self, worker: str) -> None:
        """All that a worker had in its hands is gone, and Redis knows nothing of it.

        It starts again, and asks what is paused.
        """
        self.start(worker)
        assert self.run(self.hear(self.workers[worker])) == self.model.pauses.look()
        self.again = None

    @precondition(lambda self: self.model.beats or self.model.has_any("running"))
    @rule(worker=workers, is_late=st.booleans())
    def reap(self, worker: str, *, is_late: bool) -> None:
        """A step of recovering what a worker had; none where it has shown life in between."""
        self.recover(worker, is_late=is_late)
        self.again = None

    @precondition(lambda self: self.model.has_any("queued"))
    @rule(worker=workers, most=st.integers(1, 3), runs=st.booleans())
    def fall(self, worker: str, most: int, *, runs: bool) -> None:
        """A worker is taken for dead with what it has just been sent, and knows nothing of it."""
        self.read(worker, most, arrives=True)
        for owner, one, _ in self.hands.values() if runs else ():
            if owner == worker and self.model.mark(held(one)):
                assert self.run(self.roster.note_suspect_run(one))
        while self.recover(worker) == 0:
            self.renew(worker)  # in vain, once others have begun
        self.again = None

    @precondition(lambda self: self.model.beats or self.model.has_any("running"))
    @rule(worker=workers)
    def leave(self, worker: str) -> None:
        """A worker goes; one that has something left stays to be missed."""
        if not self.model.held_by(worker):
            self.model.beats.pop(worker, None)
        self.check(lambda: self.store.workers.deregister(worker), None)
        self.repeatable(lambda: self.store.workers.deregister(worker), None)

    @precondition(lambda self: self.model.has_any("delayed"))
    @rule(job_id=ids)
    def come_due(self, job_id: str) -> None:
        """The time of a delayed job comes."""
        job = self.model.jobs.get(job_id)
        if job is not None and job.place == "delayed":
            job.is_due = True
        delayed = self.store.keys.delayed
        self.run(self.store.call("ZADD", delayed, "XX", LONG_AGO, job_id))
        self.again = None

    @precondition(lambda self: self.model.has_any("delayed"))
    @rule()
    def promote(self) -> None:
        """What is due goes where it waits for a worker."""

        async def promote() -> int:
            return (await self.schedule.promote())[0]

        self.check(promote, self.model.promote())
        self.repeatable(promote, 0)

    @precondition(lambda self: len(self.model.jobs) > 5 and not self.model.is_afternoon)
    @rule()
    def pass_noon(self) -> None:
        """It becomes too late for some."""
        self.model.is_afternoon = True
        self.clock.set(NOON)
        self.again = None

    @precondition(lambda self: self.again)
    @rule()
    def repeat(self) -> None:
        """What was done last is done again, as after a lost reply: it changes nothing."""
        assert self.again is not None
        self.again()

    def recover(self, worker: str, *, is_late: bool = False) -> int:
        """Look at all workers and reap one; returns whether that is finished."""
        for job in self.model.jobs.values():
            if job.place == "running":
                self.model.beats.setdefault(job.owner, f"0 {LEASE_MS}")
        self.run(self.roster.register_strays(LEASE_MS))
        beats = self.run(self.store.hash_at(self.store.keys.workers))
        assert beats == self.model.beats
        beat = "0 7" if is_late else beats.get(worker, "none")
        expected = self.model.reap(worker, beat, RECOVER_LIMIT, LINES)
        self.check(lambda: self.roster.recover(worker, beat, MAX_WORKER_DEATHS), expected)
        return expected[2]
