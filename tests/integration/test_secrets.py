"""Secrets arrive as they are, and whoever looks at a job sees asterisks."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from aiostreamq import JobFailed, JobInfo, Queue, UsageError, Worker
from aiostreamq.cli.format import dead_letters, schedules
from aiostreamq.model.values.masking import MASK
from tests.integration.secrets_app import LOGIN, SAFE, TOKEN, enter, queue
from tests.support.processes import Program

TARGET = "tests.integration.secrets_app:queue"
SEEN_ARGS = [{"user": "ada", "password": MASK}, {"codes": {"a": [MASK]}}]
SEEN = (SEEN_ARGS, {"token": MASK})
TOLD = "s3cr3t-p [b'\\xffs3cr3t-c'] s3cr3t-t"


@pytest.fixture
async def opened(store_url: str) -> AsyncIterator[None]:
    """The empty store that the queue is in."""
    queue.use_url(store_url)
    async with queue:
        yield


@pytest.fixture
async def stranger(store_url: str, opened: None) -> AsyncIterator[Queue]:
    """The same queue, as open in a process that does not know the task."""
    async with Queue(store_url, name=queue.name) as stranger:
        yield stranger


async def jobs_of(queue: Queue) -> list[JobInfo]:
    """List all jobs."""
    async with aclosing(queue.jobs()) as jobs:
        return [job async for job in jobs]


def hides(told: object) -> bool:
    """Whether nothing of the secrets shows, nor of their base64."""
    text = str(told)
    return MASK in text and "s3cr3t" not in text and "_3MzY3IzdC1j" not in text


async def test_they_arrive(stranger: Queue) -> None:
    """The task gets them, and those who list jobs do not, with its code or without."""
    job = await enter.enqueue(LOGIN, SAFE, token=TOKEN, ok=True)
    later = await enter.using(delay="1h").enqueue(LOGIN, SAFE, token=TOKEN)
    for looking in (queue, stranger):
        seen = [await looking.job(job.id).info(), await looking.job(later.id).info()]
        seen += await jobs_of(looking)
        assert len(seen) == 4
        for info in seen:
            assert info.args == SEEN_ARGS
            assert info.kwargs is not None
            assert info.kwargs["token"] == MASK
            assert hides(info)
    async with Worker(queue):
        assert await job == TOLD


async def test_dead_letters(stranger: Queue) -> None:
    """A letter shows none, and is replayed with them: as it is, or with arguments edited."""
    async with Worker(queue):
        job = await enter.enqueue(LOGIN, SAFE, token=TOKEN)
        with pytest.raises(JobFailed):
            await job
        for looking in (queue, stranger):
            letter = await looking.dead_letters.show(job.id)
            assert (letter.args, letter.kwargs) == SEEN
            for shown in (letter, dead_letters.as_json(letter), dead_letters.as_page(letter)):
                assert hides(shown)
        # Without its arguments changed it fails as before, and is as it was.
        assert await stranger.dead_letters.replay(job.id) == 1
        with pytest.raises(JobFailed):
            await queue.job(job.id)
        letter = await queue.dead_letters.show(job.id)
        assert (letter.args, letter.kwargs) == SEEN
        assert (
            await queue.dead_letters.replay(
                job.id, args=letter.args, kwargs={**SEEN[1], "ok": True}
            )
            == 1
        )
        assert await queue.job(job.id) == TOLD


@pytest.mark.parametrize("knows", [True, False], ids=["with the code", "without it"])
async def test_edited(store_url: str, stranger: Queue, *, knows: bool) -> None:
    """A mask stands for what was in its place, and for nothing anywhere else."""
    job = await enter.enqueue(LOGIN, SAFE, token=TOKEN)
    await Worker(queue).run(burst=True)
    looking = queue if knows else stranger
    letter = await looking.dead_letters.show(job.id)
    assert letter.args is not None
    with pytest.raises(UsageError, match=r"is in the arguments in a place that had no secret"):
        await looking.dead_letters.replay(
            job.id, args=[letter.args[0]], kwargs={"token": "n", "ok": MASK}
        )
    edited = [{"user": "eve", "password": MASK}]
    assert (
        await looking.dead_letters.replay(job.id, args=edited, kwargs={"token": "new", "ok": True})
        == 1
    )
    assert edited == [{"user": "eve", "password": MASK}]
    info = await stranger.job(job.id).info()
    assert (info.args, info.kwargs) == (edited, {"token": MASK, "ok": True})
    async with Worker(queue):
        assert await queue.job(job.id) == "s3cr3t-p [] new"


async def test_schedules(stranger: Queue) -> None:
    """A schedule shows none, and its jobs have them."""
    call = enter.bind(LOGIN, SAFE, token=TOKEN, ok=True)
    await queue.schedules.create("entry", call, every="1h")
    for looking in (queue, stranger):
        schedule = await looking.schedules.get("entry")
        assert hides(schedules.as_page(schedule))
        assert "s3cr3t" not in repr(schedule)
        assert "s3cr3t" not in schedules.as_json(schedule)
        assert "s3cr3t" not in repr(replace(schedule, name="other"))
    job = await stranger.schedules.trigger("entry")
    assert (await stranger.job(job.id).info()).args == SEEN_ARGS
    async with Worker(queue):
        assert await queue.job(job.id) == TOLD


async def test_the_command_line(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command prints any."""
    queue.use_url(redis_url)
    monkeypatch.setenv("AIOSTREAMQ_URL", redis_url)
    async with queue:
        job = await enter.enqueue(LOGIN, SAFE, token=TOKEN)
        for action in ("show", "ls"):
            assert hides(await printed("jobs", action, job.id)), action
        await Worker(queue).run(burst=True)
        for words in (("jobs", "show"), ("dead", "show"), ("dead", "ls")):
            assert "s3cr3t" not in await printed(*words, job.id), words


async def printed(command: str, action: str, job_id: str) -> str:
    """What a command prints as JSON."""
    words = [command, action, TARGET, *([job_id] if action == "show" else []), "--json"]
    async with Program("-m", "aiostreamq", *words) as program:
        assert await program.wait_end() == 0, program.printed
    assert all(json.loads(line) for line in program.lines)
    return program.printed
