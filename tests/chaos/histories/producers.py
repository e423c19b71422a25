"""What producers do, and who waits for a job."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from aiostreamq.model.delivery import Mark
from aiostreamq.store.broker import Standing
from tests.chaos.histories.machine import FAR_OFF, LONG_AGO, Machine, ids, some_ids
from tests.chaos.histories.whereabouts import state_of
from tests.support.store import DEADLINE, ENVELOPE

lanes = st.sampled_from(["default", "default", "slow"])
marks = st.sampled_from([Mark.NOBODY, Mark.CALLER, Mark.NO_RESULT])


class Producers(Machine):
    """Enqueue, delay, subscribe, ask."""

    @rule(job_ids=some_ids, lane=lanes, mark=marks)
    def enqueue(self, job_ids: list[str], lane: str, mark: Mark) -> None:
        """An id that is taken, be it in the same call, is left alone."""
        taken = self.add(job_ids, lane, mark, "queued")
        self.check(lambda: self.store.enqueue(*job_ids, lane=lane, mark=mark), taken)
        self.repeatable(lambda: self.store.enqueue(*job_ids, lane=lane, mark=mark), all_of(job_ids))

    @rule(job_ids=some_ids, lane=lanes, mark=marks, due=st.sampled_from([LONG_AGO, FAR_OFF]))
    def delay(self, job_ids: list[str], lane: str, mark: Mark, due: str) -> None:
        """The same for later; an id is taken whether its job is delayed or not."""
        taken = self.add(job_ids, lane, mark, "delayed", is_due=due == LONG_AGO)
        jobs = [(job_id, lane, mark, due, ENVELOPE) for job_id in job_ids]
        self.check(lambda: self.schedule.delay(jobs, "me", DEADLINE), taken)
        self.repeatable(lambda: self.schedule.delay(jobs, "me", DEADLINE), all_of(job_ids))

    @rule(job_ids=some_ids)
    def subscribe(self, job_ids: list[str]) -> None:
        """Each is told as it stands, or will be."""
        expected = [self.standing(job_id) for job_id in job_ids]
        for job_id, standing in zip(job_ids, expected, strict=True):
            if standing is Standing.WILL_TELL:
                self.model.jobs[job_id].is_awaited = True

        async def ask() -> list[str | Standing]:
            found = await self.store.broker.subscribe("me", job_ids)
            return [state_of(one) if isinstance(one, bytes) else one for one in found]

        self.check(ask, expected)
        self.repeatable(ask, expected)

    @rule(job_id=ids)
    def status(self, job_id: str) -> None:
        """It is told as it is."""
        assert self.run(self.told_status(job_id)) == self.model_status(job_id)

    def standing(self, job_id: str) -> str | Standing:
        """What subscribing to a job should find."""
        job = self.model.jobs.get(job_id)
        if job is None:
            return Standing.UNKNOWN
        if job.place == "ended" and job.is_kept:
            return job.state
        if not job.wants_result:
            return Standing.NO_RESULT
        return Standing.UNKNOWN if job.place == "ended" else Standing.WILL_TELL


def all_of(items: list[str]) -> set[int]:
    """The places of all *items*."""
    return set(range(len(items)))
