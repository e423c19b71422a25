"""`aiostreamq limits`, and what `jobs` and `info` say about limits, as people type them."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aiostreamq import Concurrency, JobState, Worker
from aiostreamq.client.core import core_of
from aiostreamq.store.held import HeldJobs, Quiet
from tests.integration.limited_app import queue, sync
from tests.support.processes import Program
from tests.support.waiting import wait_until

TARGET = "tests.integration.limited_app:queue"

STOP = Concurrency(0)


@pytest.fixture(autouse=True)
async def opened(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The empty store that the queue is in, here and in the program."""
    queue.use_url(redis_url)
    monkeypatch.setenv("AIOSTREAMQ_URL", redis_url)
    async with queue:
        yield


async def typed(*arguments: str, target: str = TARGET) -> tuple[int, list[str]]:
    """Type a command about the queue; returns its exit code and what it printed."""
    named = ["--queue", target] if ":" not in target else [target]
    at = 1 if arguments[0] in {"info", "doctor"} else 2
    async with Program("-m", "aiostreamq", *arguments[:at], *named, *arguments[at:]) as program:
        return await program.wait_end(), program.lines


async def typed_json(*arguments: str) -> "list[dict[str, object]]":
    """Type a command with --json; return what each line holds."""
    code, lines = await typed(*arguments, "--json")
    assert code == 0, lines
    return [json.loads(line) for line in lines]


@asynccontextmanager
async def running() -> AsyncGenerator[None]:
    """A worker, which has declared the limits."""
    run = asyncio.create_task(Worker(queue).run())
    try:
        await wait_until(_has_rules, "the rules")
        yield
    finally:
        run.cancel()
        await asyncio.wait([run])


async def _has_rules() -> bool:
    return len([one for one in await queue.limits.list() if one.rule]) == 2


async def test_set_show_and_clear() -> None:
    """A rule is set, shown with who set it, and taken back."""
    async with running():
        arguments = ("limits", "set", "sync.tenant:acme", "--concurrency", "0", "--by", "ann")
        assert await typed(*arguments) == (0, ["sync.tenant:acme is Concurrency(0) now"])
        job = await sync.enqueue("acme")
        await wait_until(lambda: _is_held(job.id), "the job is held")
        code, lines = await typed("limits", "show", "sync.tenant:acme")
        assert code == 0
        assert lines[0].startswith("sync.tenant:acme is Concurrency(0), set by ann at ")
        assert lines[1:] == [
            "sync.tenant is Concurrency(1) in the code",
            (
                "sync.tenant:acme: Concurrency(0), set for sync.tenant:acme; held by no job; "
                "has no room; 1 key waits for it"
            ),
        ]
        (shown,) = await typed_json("limits", "show", "sync.tenant:acme")
        assert shown["state"]["held"] == 0  # pyright: ignore[reportIndexIssue]
        assert await typed("limits", "clear", "sync.tenant:acme") == (0, [])
        assert await job.result(timeout=60) == 0
        assert await typed("limits", "clear", "sync.tenant:acme") == (
            1,
            ["no rule was set for 'sync.tenant:acme'"],
        )


async def _is_held(job_id: str) -> bool:
    info = await queue.job(job_id).info()
    return info.wait is not None and info.wait.limit != ""


async def test_list_and_set_by_name() -> None:
    """All limits are in a table; a rate is set without the code; unknown names are warned of."""
    async with running():
        assert await typed_json("limits", "set", "api", "--rate", "5/s", "--burst", "2") != []
        code, lines = await typed("limits", "ls", target="limited")
        assert (code, lines[0].split()[0]) == (0, "LIMIT")
        assert [" ".join(line.split()) for line in lines[1:]] == [
            "api rate Rate('1000/m') api: Rate('5/s', burst=2) - 0 -",
            "sync.tenant concurrency Concurrency(1) - 0 0 -",
        ]
        code, lines = await typed("limits", "set", "apl", "--rate", "5/s")
        assert code == 0
        assert "no worker has had a limit 'apl' yet: api, sync.tenant" in lines
        code, lines = await typed("limits", "set", "api", "--concurrency", "5")
        assert (code, "is a rate" in lines[0]) == (2, True)
        assert (await typed("limits", "show", "apx"))[0] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "a"),
        ("set", "a", "--rate", "1/s", "--concurrency", "1"),
        ("set", "a", "--concurrency", "1", "--burst", "1"),
        ("set", "a", "--concurrency", "-1"),
        ("set", "a b", "--concurrency", "1"),
        ("set", "a", "--rate", "many"),
        ("set", "a:*x", "--rate", "1/s"),
        ("explain", "unknown"),
    ],
    ids=" ".join,
)
async def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    """The exit code is 2, and nothing is set."""
    assert (await typed("limits", *arguments))[0] == 2
    assert await queue.limits.list() == []


async def test_explain() -> None:
    """A call is looked at without being enqueued."""
    assert (await typed_json("limits", "explain", "plain"))[0]["reason"] == "no_worker"
    async with running():
        arguments = ("limits", "explain", "sync", "--args", '["acme"]')
        code, lines = await typed(*arguments)
        assert (code, lines[0]) == (0, "the job would start now")
        await queue.limits.set("sync.tenant:acme", STOP)
        code, lines = await typed(*arguments)
        assert (code, lines[0]) == (0, "the job would wait")
        assert "waits for   limit sync.tenant:acme" in lines
        (shown,) = await typed_json(*arguments)
        assert (shown["reason"], shown["limit"]) == ("limit", "sync.tenant:acme")
    assert (await queue.info()).held == 0


async def test_quiet() -> None:
    """Until when and why is shown, and an operator ends it."""
    async with running():
        api = core_of(queue).session().store
        until_ms = api.clock.now_ms() + 3_600_000
        await HeldJobs(api).quiet([Quiet("r=api", until_ms, 3_600_000, "j7")])
        code, lines = await typed("limits", "explain", "sync", "--args", '["acme"]')
        assert (code, lines[0]) == (0, "the job would wait")
        assert any("; quiet until 20" in line and ", as job j7 asked" in line for line in lines)
        code, lines = await typed("limits", "ls")
        assert "UTC" in lines[1]
        (shown,) = await typed_json("limits", "show", "api")
        assert shown["state"]["quieted_by"] == "j7"  # pyright: ignore[reportIndexIssue]
        assert await typed("limits", "end-quiet", "api") == (0, [])
        assert await typed("limits", "end-quiet", "api") == (1, ["'api' was not quiet"])
        assert await typed_json("limits", "explain", "sync", "--args", '["acme"]')
    assert (await typed("limits", "end-quiet", "a b"))[0] == 2


async def test_jobs_and_info() -> None:
    """Held jobs are listed, shown with their reason, counted, and cancelled."""
    await queue.limits.set("sync.tenant", STOP)
    async with running():
        job = await sync.enqueue("acme")
        await wait_until(lambda: _is_held(job.id), "the job is held")
        (listed,) = await typed_json("jobs", "ls", "--state", "held")
        assert (listed["id"], listed["state"], listed["lane"]) == (job.id, "held", "default")
        code, lines = await typed("jobs", "show", job.id)
        assert (code, "waits for   limit sync.tenant:acme" in lines) == (0, True)
        assert "before it   0 jobs wait for the same limits" in lines
        (info,) = await typed_json("info")
        assert (info["held"], info["admittable"], info["waiting"]) == (1, 0, 0)
        _, lines = await typed("info")
        assert "1 held by limits, 0 of them may have room" in lines
        assert await typed("jobs", "cancel", "--state", "held") == (0, ["held: 1"])
        assert await job.status() is JobState.CANCELLED
