"""`aiostreamq jobs cancel`, `pause` and `resume`, as people type them."""

import json

import pytest

from aiostreamq import JobState, Pause
from tests.support.jobs import add, queue, wait_for_file
from tests.support.processes import Program

TARGET = "tests.support.jobs:queue"


async def typed(url: str, *words: str) -> tuple[int, list[str]]:
    """Type a command about the queue; returns its exit code and what it printed."""
    at = 2 if words[0] == "jobs" else 1
    arguments = (*words[:at], TARGET, *words[at:])
    async with Program("-m", "aiostreamq", *arguments, "--url", url) as program:
        return await program.wait_end(), program.lines


async def test_cancel(redis_url: str) -> None:
    """Each id is answered; what is unknown makes the exit code 1."""
    queue.use_url(redis_url)
    async with queue:
        job = await add.enqueue(1, 2)
        later = await add.using(delay="1h").enqueue(1, 2)
        assert await typed(redis_url, "jobs", "cancel", job.id, later.id) == (
            0,
            [f"{job.id}: cancelled, was queued", f"{later.id}: cancelled, was delayed"],
        )
        assert await typed(redis_url, "jobs", "cancel", job.id, "unknown") == (
            1,
            [f"{job.id}: had ended, cancelled", "unknown: there is no such job"],
        )
        assert await job.status() is JobState.CANCELLED


async def test_cancel_by_filters(redis_url: str) -> None:
    """Without ids, filters; and never all by mistake."""
    queue.use_url(redis_url)
    async with queue:
        jobs = [await add.enqueue(n, n) for n in range(3)]
        other = await wait_for_file.enqueue("x")
        code, lines = await typed(redis_url, "jobs", "cancel")
        assert (code, "give ids, filters or --all" in lines[0]) == (2, True)
        assert await typed(redis_url, "jobs", "cancel", "--task", "add", "--state", "queued") == (
            0,
            ["queued: 3"],
        )
        assert {await job.status() for job in jobs} == {JobState.CANCELLED}
        assert await other.status() is JobState.QUEUED
        code, lines = await typed(redis_url, "jobs", "cancel", "--older-than", "0")
        assert (code, "queued: 1" in lines) == (0, True)
        late = await wait_for_file.enqueue("x")
        code, lines = await typed(redis_url, "jobs", "cancel", "--all")
        assert (code, "queued: 1" in lines) == (0, True)
        assert await late.status() is JobState.CANCELLED


async def test_pause_and_resume(redis_url: str) -> None:
    """What is paused is listed each time."""
    queue.use_url(redis_url)
    async with queue:
        assert await typed(redis_url, "pause") == (0, ["nothing is paused"])
        assert await typed(redis_url, "pause", "--task", "add") == (
            0,
            ["task add is paused until it is resumed"],
        )
        code, lines = await typed(
            redis_url, "pause", "--lane", "default", "--until", "2100-01-01T01:00:00+01:00"
        )
        assert (code, lines[1]) == (0, "lane default is paused until 2100-01-01 00:00:00 UTC")
        assert await typed(redis_url, "resume", "--lane", "default") == (0, [])
        assert await queue.paused() == [Pause(task="add")]
        assert await typed(redis_url, "resume", "--task", "add") == (0, [])
        assert await typed(redis_url, "resume", "--task", "add") == (1, ["it was not paused"])


async def test_task_that_is_not_here(redis_url: str) -> None:
    """It is paused all the same, as workers of other code may know it; but it is said."""
    code, lines = await typed(redis_url, "resume", "--task", "ad")
    assert code == 1
    assert any("there is no task 'ad' in tests.support.jobs:queue" in one for one in lines)
    code, lines = await typed(redis_url, "pause", "--task", "ad")
    assert code == 0
    assert "task ad is paused until it is resumed" in lines
    assert any("there is no task 'ad' in tests.support.jobs:queue" in one for one in lines)
    assert await typed(redis_url, "resume", "--task", "ad") == (0, [])
    for words in (("pause", "--lane", "default"), ("pause", "--task", "add"), ("pause",)):
        code, lines = await typed(redis_url, *words)
        assert code == 0
        assert not any("no task" in one for one in lines)


async def test_json(redis_url: str) -> None:
    """Programs are answered in JSON, with the same exit codes."""
    queue.use_url(redis_url)
    async with queue:
        job = await add.enqueue(1, 2)
        code, lines = await typed(redis_url, "jobs", "cancel", job.id, "unknown", "--json")
        assert (code, [json.loads(line) for line in lines]) == (
            1,
            [{"id": job.id, "state": "queued"}, {"id": "unknown", "state": None}],
        )
        await add.enqueue(1, 2)
        words = ("jobs", "cancel", "--task", "add", "--state", "queued", "--state", "delayed")
        code, lines = await typed(redis_url, *words, "--json")
        assert (code, json.loads(lines[0])) == (0, {"queued": 1, "delayed": 0})
        code, lines = await typed(redis_url, "pause", "--task", "add", "--json")
        assert (code, json.loads(lines[0])) == (0, {"task": "add", "lane": None, "until": None})
        code, lines = await typed(redis_url, "resume", "--task", "add", "--json")
        assert (code, json.loads(lines[0])) == (0, {"was_paused": True})
        code, lines = await typed(redis_url, "resume", "--task", "add", "--json")
        assert (code, json.loads(lines[0])) == (1, {"was_paused": False})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("pause", "--until", "1h"), "--until needs --task or --lane"),
        (("resume",), "specify task= or lane="),
        (("pause", "--lane", "fast"), "has no lane 'fast'"),
        (("pause", "--task", "add", "--until", "tomorrow-ish"), "is not a duration"),
        (("pause", "--task", "add", "--until", "2030-01-01"), "has no time zone"),
        (("jobs", "cancel", "--older-than", "long"), "invalid duration"),
    ],
)
async def test_mistakes(redis_url: str, words: tuple[str, ...], told: str) -> None:
    """They are told in one line, and nothing is done."""
    code, lines = await typed(redis_url, *words)
    assert code == 2
    assert told in lines[0]
