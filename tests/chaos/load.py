"""The producer of a scenario: what it has enqueued, and what came of it."""

import asyncio
import uuid
from collections.abc import Iterable

from aiostreamq import AioStreamQError, Job, JobDead, Queue
from aiostreamq.client.task import Call, Task
from tests.chaos import app
from tests.chaos.app import Run

#: How many lone enqueues are on their way at once.
CALLERS = 50


class Load:
    """Enqueues from this process, and keeps the books of a client.

    A job is *accepted* once its enqueue has returned: from then on it must not be lost. One
    whose enqueue raised is *uncertain*: it may be there, or not, and must not be there twice.

    Args:
        queue: Where to.
        work: Its task.
    """

    def __init__(self, queue: Queue = app.queue, work: Task[[float], Run] = app.work) -> None:
        self._queue = queue
        self._work = work
        self.accepted: dict[str, Job[Run]] = {}
        self.uncertain: dict[str, AioStreamQError] = {}

    async def bulk(self, count: int, seconds: float = 0.0) -> None:
        """Enqueue jobs that take *seconds* each, in one call."""
        await self.give(self._work.bind(seconds) for _ in range(count))

    async def give(self, calls: Iterable[Call[Run]]) -> list[str]:
        """Enqueue calls of any tasks, in their order, in one call; returns their ids."""
        jobs = await self._queue.enqueue_many(calls)
        self.accepted |= {job.id: job for job in jobs}
        return [job.id for job in jobs]

    async def one_by_one(self, count: int, seconds: float = 0.0, *, callers: int = CALLERS) -> None:
        """Enqueue jobs that take *seconds* each, a call a job, from several callers at once."""
        left = iter(range(count))

        async def call() -> None:
            for _ in left:
                await self._one(seconds)

        await asyncio.gather(*(call() for _ in range(callers)))

    async def _one(self, seconds: float) -> None:
        job_id = uuid.uuid4().hex
        try:
            self.accepted[job_id] = await self._work.using(id=job_id).enqueue(seconds)
        except AioStreamQError as error:
            self.uncertain[job_id] = error

    async def ends(self) -> tuple[dict[str, Run], dict[str, JobDead]]:
        """Await all that is accepted by now; returns what jobs gave, and which were given up.

        Raises:
            JobError: One of them ended badly in another way.
        """
        jobs = dict(self.accepted)
        ends = await asyncio.gather(*jobs.values(), return_exceptions=True)
        values: dict[str, Run] = {}
        given_up: dict[str, JobDead] = {}
        for job_id, end in zip(jobs, ends, strict=True):
            if isinstance(end, JobDead):
                given_up[job_id] = end
            elif isinstance(end, BaseException):
                raise end
            else:
                values[job_id] = end
        return values, given_up

    async def outcomes(self) -> dict[str, Run]:
        """Await all that was accepted; returns what each job gave, by its id.

        Raises:
            JobError: One of them ended badly.
        """
        runs = await asyncio.gather(*self.accepted.values())
        return dict(zip(self.accepted, runs, strict=True))
