"""Commands about a queue that is known by its name in Redis, without its code."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from aiostreamq import Context, JobFailed, JobState, Queue, Retry, Worker
from tests.support.processes import Program

NAME = "by.name"


def make_queue(url: str) -> Queue:
    """Return a queue with two lanes and tasks, which the commands do not import."""
    queue = Queue(url, name=NAME, lanes={"default": 1, "bulk": 1})

    @queue.task(lane="bulk")
    def size(text: str) -> int:
        return len(text)

    @queue.task(retry=Retry(1))
    def fail(context: Context) -> None:
        raise ValueError(context.job_id)

    return queue


async def typed(url: str, *arguments: str) -> tuple[int, list[str]]:
    """Type a command about the queue, in a folder without code."""
    async with Program("-m", "aiostreamq", *arguments, "--url", url) as program:
        return await program.wait_end(), program.lines


async def test_every_command(redis_url: str) -> None:
    """All commands but run work with the name of the queue."""
    queue = make_queue(redis_url)
    async with queue, Worker(queue):
        failed = await queue.enqueue("fail")
        with pytest.raises(JobFailed):
            await failed
        job = await queue.enqueue("size", "four")
        assert await job == 4
        named = ("--queue", NAME)
        letters = await queue.dead_letters.list()
        lines: dict[tuple[str, ...], str] = {
            ("info",): "bulk",
            ("workers",): "size",
            ("jobs", "ls"): job.id,
            ("jobs", "show", failed.id): f"dead-letters replay --queue {NAME} {letters[0].id}",
            ("jobs", "result", job.id): "4",
            ("jobs", "cancel", job.id): "had ended",
            ("pause", "--lane", "bulk"): "lane bulk is paused",
            ("resume", "--lane", "bulk"): "",
            ("schedules", "create", "n", "size", "--every", "1h"): "the arguments of its jobs",
            ("schedules", "ls"): "size",
            ("schedules", "show", "n"): "size",
            ("schedules", "explain", "n"): "Every 3600 s",
            ("schedules", "pause", "n"): "paused n",
            ("schedules", "resume", "n"): "resumed n",
            ("schedules", "rm", "n"): "deleted n",
            ("dead-letters", "ls"): failed.id,
            ("dead-letters", "show", failed.id): failed.id,
            ("dead-letters", "replay", letters[0].id): "replayed 1 job",
            ("dead-letters", "purge", "--all", "--yes"): "purged",
            ("enqueue", "size", "--args", '["x"]', "--id", "mine"): "mine",
            ("doctor", "--json"): "subject",
        }
        for arguments, part in lines.items():
            code, printed = await typed(redis_url, *arguments, *named)
            assert code == 0, (arguments, printed)
            assert part in "\n".join(printed), (arguments, printed)
        assert await queue.job("mine").result(timeout=10) == 1


async def test_unchecked(redis_url: str) -> None:
    """The arguments are not checked and a line says so; the tasks of running workers are known."""
    queue = make_queue(redis_url)
    async with queue:
        code, lines = await typed(redis_url, "enqueue", "--queue", NAME, "resize")
        assert code == 0
        assert "not checked, as the code of queue 'by.name' is not loaded: the arg" in lines[1]
        assert lines[2].endswith("that run now; they know: none")
        assert await queue.job(lines[0]).status() is JobState.QUEUED
        async with Worker(queue):
            code, lines = await typed(redis_url, "pause", "--queue", NAME, "--task", "resize")
            assert lines[-1].endswith("they know: fail, size")


async def test_lanes_are_found_or_given(redis_url: str) -> None:
    """The lanes come from Redis, or from --lanes; an unknown queue is not made by a look at it."""
    async with make_queue(redis_url) as queue:
        code, lines = await typed(redis_url, "info", "--queue", NAME, "--json")
        assert code == 0
        assert {lane["name"] for lane in json.loads(lines[0])["lanes"]} >= {"default", "bulk"}
        code, lines = await typed(redis_url, "info", "--queue", "by.another")
        assert (code, "there is no queue 'by.another' at " in lines[0]) == (2, True)
        assert "Traceback" not in lines[0]
        code, lines = await typed(redis_url, "info", "--queue", "by.another", "--json")
        assert code == 2  # the first look has made nothing
        assert (await typed(redis_url, "info", "--queue", "new", "--lanes", "a,b"))[0] == 0
        assert (await typed(redis_url, "enqueue", "t", "--queue", "new"))[0] == 2
        assert (await typed(redis_url, "enqueue", "t", "--queue", "new", "--lane", "b"))[0] == 0
        assert queue.lanes == ("default", "bulk")


async def test_default_name_and_variables(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name it is the queue called default; variables give name and URL."""
    async with Queue(redis_url):
        assert (await typed(redis_url, "pause"))[0] == 0
        monkeypatch.setenv("AIOSTREAMQ_QUEUE", "")  # as if it was not set
        code, lines = await typed(redis_url, "info")
        assert code == 0, lines
        # A shell variable that is not set gives this, and "default" was not asked for.
        code, lines = await typed(redis_url, "info", "--queue", "")
        assert (code, "queue name '' is invalid" in lines[-1]) == (2, True)
    monkeypatch.setenv("AIOSTREAMQ_URL", redis_url)
    monkeypatch.setenv("AIOSTREAMQ_QUEUE", NAME)
    async with make_queue(redis_url), Program("-m", "aiostreamq", "info") as program:
        assert await program.wait_end() == 0
    assert "bulk" in program.printed


async def test_no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that cannot be reached, or that is in memory, is named, without a traceback."""
    code, lines = await typed("redis://127.0.0.1:1", "info", "--queue", NAME)
    assert (code, "Redis could not be reached" in lines[-1]) == (1, True)
    assert "Traceback" not in "".join(lines)
    code, lines = await typed("memory://", "info", "--queue", NAME)
    assert (code, "is on memory://" in lines[0]) == (2, True)
    monkeypatch.setenv("AIOSTREAMQ_URL", "localhost:6379")
    async with Program("-m", "aiostreamq", "info", "--queue", NAME) as program:
        assert await program.wait_end() == 2
    assert "(from AIOSTREAMQ_URL)" in program.printed


@pytest.mark.parametrize("sign", [signal.SIGTERM])
async def test_signal_during_the_import(tmp_path: Path, sign: signal.Signals) -> None:
    """A worker without supervisor that imports its application is ended by the signal itself."""
    (tmp_path / "slow_app.py").write_text(
        "import sys, time\nprint('importing', file=sys.stderr, flush=True)\ntime.sleep(3600)\n"
    )
    async with Program("-m", "aiostreamq", "run", "slow_app:queue", where=tmp_path) as program:
        await program.wait_for_line("importing")
        program.send_signal(sign)
        assert await program.wait_end() == -sign
