"""What producers do, and who waits for a job."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from aiostreamq.model.delivery import WaiterMode
from aiostreamq.store.results import Subscription
from tests.chaos.histories.job import (
    BEFORE_NOON,
    OVER_BY_NOON,
    SIZE,
    SYNC_A,
    SYNC_TOO_LATE,
    WEIGH,
    Call,
    Job,
)
from tests.chaos.histories.machine import FAR_OFF, LONG_AGO, Machine, ids, some_ids
from tests.chaos.histories.whereabouts import state_of
from tests.support.store import DEADLINE

lanes = st.sampled_from(["default", "slow"])
marks = st.sampled_from([WaiterMode.NOBODY, WaiterMode.CALLER, WaiterMode.NO_RESULT])
calls = st.sampled_from(
    [SIZE, SIZE, WEIGH, WEIGH, BEFORE_NOON, OVER_BY_NOON, SYNC_A, SYNC_A, SYNC_TOO_LATE]
)


class Producers(Machine):
    """Enqueue, delay, subscribe, ask."""

    @rule(job_ids=some_ids, call=calls, lane=lanes, mark=marks)
    def enqueue(self, job_ids: list[str], call: Call, lane: str, mark: str) -> None:
        """An id that is taken, be it in the same call, is left alone."""
        taken = self.add([Job(job_id, lane, call) for job_id in job_ids], mark, "queued")

        async def enqueue() -> set[int]:
            return await self.store.enqueue(*job_ids, lane=lane, mark=mark, envelope=call.envelope)

        self.check(enqueue, taken)
        self.repeatable(enqueue, set(range(len(job_ids))))

    @rule(job_ids=some_ids, call=calls, lane=lanes, mark=marks, is_due=st.booleans())
    def delay(self, job_ids: list[str], call: Call, lane: str, mark: str, *, is_due: bool) -> None:
        """The same for later; an id is taken whether its job is delayed or not."""
        jobs = [Job(job_id, lane, call, is_due=is_due) for job_id in job_ids]
        taken = self.add(jobs, mark, "delayed")
        due = LONG_AGO if is_due else FAR_OFF
        batch = [(job_id, lane, mark, due, call.envelope) for job_id in job_ids]
        self.check(lambda: self.schedule.delay(batch, "me", DEADLINE), taken)
        self.repeatable(
            lambda: self.schedule.delay(batch, "me", DEADLINE), set(range(len(job_ids)))
        )

    @rule(
        job_ids=some_ids,
        key=st.sampled_from("xy"),
        call=calls,
        lane=lanes,
        mark=marks,
        place=st.sampled_from(["queued", "delayed"]),
        conflict=st.sampled_from(["return", "replace", "drop"]),
    )
    def enqueue_unique(
        self, job_ids: list[str], key: str, call: Call, lane: str, mark: str, place: str,
        conflict: str,
    ) -> None:  # fmt: skip
        """A key is taken as long as its job is open, wherever that is."""
        expected: list[str | None] = []
        for job_id in job_ids:
            job = self.marked(Job(job_id, lane, call), mark)
            expected.append(self.model.add_unique(job, place, key, conflict))

        async def enqueue() -> list[str | None]:
            rule, due = f"done {conflict}", FAR_OFF if place != "queued" else ""
            return await self.store.enqueue_unique(
                key, *job_ids, rule=rule, lane=lane, mark=mark, due=due, envelope=call.envelope
            )

        self.check(enqueue, expected)
        self.repeatable(enqueue, ["" if one is None else one for one in expected])

    @rule(job_ids=some_ids)
    def subscribe(self, job_ids: list[str]) -> None:
        """Each is told as it stands, or will be."""
        expected = [self.standing(job_id) for job_id in job_ids]
        for job_id, standing in zip(job_ids, expected, strict=True):
            if standing is Subscription.WILL_TELL:
                self.model.jobs[job_id].is_awaited = True

        async def ask() -> list[str | Subscription]:
            found = await self.store.results.subscribe("me", job_ids)
            return [state_of(one) if isinstance(one, bytes) else one for one in found]

        self.check(ask, expected)
        self.repeatable(ask, expected)

    @rule(job_id=ids)
    def status(self, job_id: str) -> None:
        """It is told as it is."""
        assert self.run(self.told_status(job_id)) == self.model.status(job_id)

    def add(self, jobs: list[Job], mark: str, place: str) -> set[int]:
        """Tell the account of new jobs; returns the places of ids that were taken."""
        taken: set[int] = set()
        for at, job in enumerate(jobs):
            if not self.model.add(self.marked(job, mark), place):
                taken.add(at)
        return taken

    def marked(self, job: Job, mark: str) -> Job:
        """Note with a job who waits for it."""
        job.wants_result = mark is not WaiterMode.NO_RESULT
        job.is_awaited = mark is WaiterMode.CALLER
        return job

    def standing(self, job_id: str) -> str | Subscription:
        """What subscribing to a job should find."""
        job = self.model.jobs.get(job_id)
        if job is None:
            return Subscription.UNKNOWN
        if job.state and job.is_kept:
            return job.state
        if not job.wants_result:
            return Subscription.NO_RESULT
        return Subscription.UNKNOWN if job.state else Subscription.WILL_TELL
