"""What is logged of a worker that ends a job which others have got in between."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from aiostreamq import Context, Job, Queue, RetryLater, Worker
from aiostreamq.client.core import core_of
from aiostreamq.client.task import Task
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.store.results import Results
from tests.support.waiting import wait_until


class Late:
    """A task whose first run ends when it is told to, and whose second when that is told to."""

    def __init__(self, queue: Queue, *, is_raised: bool) -> None:
        self.may_end = asyncio.Event(), asyncio.Event()
        self._is_raised = is_raised
        self.task: Task[[], int] = queue.task(name="late")(self._run)

    async def _run(self, context: Context) -> int:
        await self.may_end[context.delivery - 1].wait()
        if self._is_raised and context.delivery == 1:
            raise RetryLater(0)
        return context.delivery


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of outcomes that were refused."""
    told = [record.getMessage() for record in caplog.records]
    return [one for one in told if one.startswith("outcome refused: ")]


@asynccontextmanager
async def robbed(queue: Queue, job: Job[int]) -> AsyncGenerator[tuple[Worker, Worker]]:
    """Give a job that one worker runs to another; gives both."""
    broker = core_of(queue).session().store
    async with Worker(queue, concurrency=1) as zombie:

        async def is_owned_by(worker: Worker) -> bool:
            return await Results(broker).owner_of(job.id) == worker.name

        await wait_until(lambda: is_owned_by(zombie), "the first to run it")
        await Deliveries(broker).requeue(await Deliveries(broker).read_all_own(zombie.name))
        async with Worker(queue, concurrency=1) as heir:
            await wait_until(lambda: is_owned_by(heir), "the second to run it")
            yield zombie, heir


@pytest.fixture(params=[False, True], ids=["ended", "to run again"])
def late(queue: Queue, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Late:
    """The task: its first run ends the job, or is to be followed by another."""
    caplog.set_level(logging.WARNING, "aiostreamq.worker")
    return Late(queue, is_raised=request.param)


async def test_heir_runs_it(queue: Queue, late: Late, caplog: pytest.LogCaptureFixture) -> None:
    """The refusal names both workers."""
    job = await late.task.enqueue()
    async with robbed(queue, job) as (zombie, heir):
        late.may_end[0].set()
        await wait_until(lambda: refusals(caplog), "the refusal")
        late.may_end[1].set()
        assert await job == 2
    assert refusals(caplog) == [
        f"outcome refused: worker {zombie.name} had lost the job, worker {heir.name} has it now"
    ]


async def test_heir_has_ended_it(
    queue: Queue, late: Late, caplog: pytest.LogCaptureFixture
) -> None:
    """The refusal names both workers, as the outcome says whose it is."""
    job = await late.task.enqueue()
    async with robbed(queue, job) as (zombie, heir):
        late.may_end[1].set()
        assert await job == 2
        late.may_end[0].set()
        await wait_until(lambda: refusals(caplog), "the refusal")
    assert refusals(caplog) == [
        f"outcome refused: worker {zombie.name} had lost the job, worker {heir.name} has ended it"
    ]


async def test_no_outcome_is_kept(
    queue: Queue, late: Late, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing tells who has ended it."""
    job = await late.task.using(result_ttl=0).enqueue()
    async with robbed(queue, job) as (zombie, _):
        late.may_end[1].set()

        async def has_ended() -> bool:
            return await Results(core_of(queue).session().store).owner_of(job.id) is None

        await wait_until(has_ended, "the second to end it")
        late.may_end[0].set()
        await wait_until(lambda: refusals(caplog), "the refusal")
    [refusal] = refusals(caplog)
    assert refusal.endswith(f"{zombie.name} had lost the job, which has ended or waits for another")


async def test_first_delivery(queue: Queue) -> None:
    """Its outcome names nobody: no other worker can believe that it has the job."""
    task = queue.task(name="plain")(asyncio.sleep)
    async with Worker(queue):
        job = await task.enqueue(0)
        await job
    assert await Results(core_of(queue).session().store).ender_of(job.id) is None
