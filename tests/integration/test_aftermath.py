"""What can be told of a job that has ended."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from aiostreamq import GiveUp, Job, JobError, JobInfo, JobNotFound, JobState, Queue, Retry, Worker
from aiostreamq.client.core import core_of

SOON = timedelta(minutes=5)


async def fail(text: str, *, why: str = "") -> None:
    """Fail."""
    raise ValueError(text + why)


async def give_up() -> None:
    """Be given up."""
    raise GiveUp("enough")


async def succeed() -> int:
    """End well."""
    return 1


@pytest.fixture
async def queue(store_url: str) -> AsyncIterator[Queue]:
    """An open queue with tasks of several ends."""
    async with Queue(store_url) as queue:
        queue.task(retry=Retry(2, base="1ms"))(fail)
        queue.task(give_up)
        queue.task(succeed)
        yield queue


async def run(queue: Queue, job: Job[object]) -> JobInfo:
    """Run a job to its end and return what is known of it."""
    async with Worker(queue):
        with suppress(JobError):
            await job
    return await job.info()


async def test_failed(queue: Queue) -> None:
    """Its last run is told: when, how often, why; and where its dead letter is."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    info = await run(queue, await queue.enqueue("fail", "no", why="!"))
    assert (info.task, info.state, info.attempt, info.delivery) == ("fail", "failed", 2, 2)
    assert (info.error, info.args, info.kwargs) == ("ValueError: no!", ["no"], {"why": "!"})
    assert "raise ValueError(text + why)" in info.traceback
    assert info.enqueued_at is not None
    assert info.started_at is not None
    assert info.ended_at is not None
    assert before < info.enqueued_at < info.ended_at < before + SOON
    assert info.run_seconds is not None
    assert info.started_at == info.ended_at - timedelta(seconds=info.run_seconds)
    assert info.state_since == info.ended_at
    letter = await queue.dead_letters.show(info.dead_letter)
    assert (letter.job_id, letter.worker) == (info.id, info.worker)


async def test_the_letter_is_gone(queue: Queue) -> None:
    """What the outcome and the list of what ended lately say is told still."""
    info = await run(queue, await queue.enqueue("fail", "no"))
    await queue.dead_letters.purge(info.dead_letter)
    left = await queue.job(info.id).info()
    assert (left.dead_letter, left.args, left.worker) == ("", None, "")
    assert (left.error, left.traceback) == (info.error, info.traceback)
    assert left.ended_at is not None
    assert info.ended_at is not None
    assert abs(left.ended_at - info.ended_at) < SOON


async def test_not_among_what_ended_lately(queue: Queue) -> None:
    """The letter is found without it."""
    job = await queue.enqueue("fail", "no")
    await run(queue, job)
    broker = core_of(queue).session().store
    await broker.call("DEL", broker.keys.recent)
    info = await job.info()
    assert info.dead_letter
    assert info.ended_at is not None
    assert (info.run_seconds, info.started_at) == (None, None)


async def test_other_ends(queue: Queue) -> None:
    """One that is done has its times, and no letter; one that was given up has one."""
    done = await run(queue, await queue.enqueue("succeed"))
    assert done.ended_at is not None
    assert done.started_at is not None
    assert (done.state, done.traceback, done.dead_letter) == (JobState.DONE, "", "")
    dead = await run(queue, await queue.enqueue("give_up"))
    assert (dead.state, dead.error) == (JobState.DEAD, "GiveUp: enough")
    assert (await queue.dead_letters.show(dead.dead_letter)).job_id == dead.id


async def test_replayed(queue: Queue) -> None:
    """It waits again, and its letter is gone."""
    info = await run(queue, await queue.enqueue("fail", "no"))
    await queue.dead_letters.replay(info.dead_letter)
    again = await queue.job(info.id).info()
    assert (again.state, again.dead_letter, again.ended_at) == (JobState.QUEUED, "", None)
    assert again.enqueued_at == info.enqueued_at


@pytest.mark.parametrize("job_id", ["own", "f" * 22, "0" * 22, "00000000001aaaaaaaaaaa"])
async def test_an_id_of_the_callers_own(queue: Queue, job_id: str) -> None:
    """It tells no time, also if it looks like one of ours; all else is told."""
    info = await run(queue, await queue.named("fail").using(id=job_id).enqueue("no"))
    assert info.enqueued_at is None
    assert info.dead_letter
    with pytest.raises(JobNotFound):
        await queue.job(f"{job_id}x").info()
