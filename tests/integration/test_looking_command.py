"""`aiostreamq info`, `jobs`, `workers`, `enqueue` and `doctor`, each as a process of its own."""

import json
import signal
import sys
from collections.abc import AsyncIterator
from typing import cast

import pytest
from redis.asyncio import Redis

from aiostreamq import Worker
from tests.integration.looking_app import add, fail, queue
from tests.support.processes import Program
from tests.support.waiting import wait_until

TARGET = "tests.integration.looking_app:queue"


@pytest.fixture(autouse=True)
async def opened(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The empty store that the queue is in, here and in the program."""
    queue.use_url(redis_url)
    monkeypatch.setenv("AIOSTREAMQ_URL", redis_url)
    async with queue:
        yield


async def ask(*words: str, code: int = 0) -> list[str]:
    """Run a command that has a target, and return the lines it printed."""
    at = 2 if words[0] in {"jobs", "dead"} else 1
    async with Program("-m", "aiostreamq", *words[:at], TARGET, *words[at:]) as program:
        assert await program.wait_end() == code, program.printed
    # That of a job that failed is part of the answer.
    assert words[0] in {"dead", "jobs"} or "Traceback" not in program.printed
    return program.lines


async def ask_json(*words: str, code: int = 0) -> "list[dict[str, object]]":
    """Run it with --json and return what each line holds."""
    return [json.loads(line) for line in await ask(*words, "--json", code=code)]


async def burst() -> None:
    """Run all that there is."""
    await Worker(queue, concurrency=5).run(burst=True)


async def test_info() -> None:
    """It shows lanes and tasks to people, and all of it to programs."""
    await add.enqueue(1)
    await fail.enqueue("no")
    await burst()
    await add.using(delay="1h").enqueue(2)
    printed = "\n".join(await ask("info"))
    for part in ("queue looked-into", "1 delayed", "1 dead", "LANE", "default", "TASK", "fail"):
        assert part in printed
    (told,) = await ask_json("info", "--window", "10m")
    tasks = {task["name"]: task for task in cast("list[dict[str, object]]", told["tasks"])}
    assert told["delayed"] == 1
    assert tasks["add"]["ended"] == {"done": 1}
    assert tasks["fail"]["ended"] == {"failed": 1}


async def test_watch() -> None:
    """It shows it again and again, until Ctrl-C."""
    command = ["-m", "aiostreamq", "info", TARGET, "--watch", "--every", "0.1", "--json"]
    async with Program(*command) as program:
        await wait_until(lambda: len(program.lines) >= 3, "three looks")
        program.send_signal(signal.SIGINT)
        assert await program.wait_end() == 0, program.printed
    assert all(json.loads(line)["name"] == "looked-into" for line in program.lines)


async def test_jobs() -> None:
    """A job is enqueued, found, looked at, and its result read."""
    (job_id,) = await ask("enqueue", "add", "--args", "[1]", "--kwargs", '{"b": 2}', "--id", "x")
    assert job_id == "x"
    assert await ask_json("enqueue", "add", "--args", "[1]", "--id", "x") == [{"id": "x"}]
    (told,) = await ask_json("jobs", "ls", "--state", "queued")
    assert (told["id"], told["task"], told["kwargs"]) == ("x", "add", {"b": 2})
    heads, row = await ask("jobs", "ls")
    assert heads.split()[:3] == ["JOB", "TASK", "STATE"]
    assert row.split()[:3] == ["x", "add", "queued"]
    (shown,) = await ask_json("jobs", "show", "x")
    assert (shown["state"], shown["args"]) == ("queued", [1])
    assert "args        [1]" in await ask("jobs", "show", "x")
    (complaint,) = await ask("jobs", "result", "x", code=2)
    assert "has not ended" in complaint
    await burst()
    assert await ask("jobs", "result", "x") == ["3"]
    assert await ask_json("jobs", "result", "x") == [{"id": "x", "value": 3}]


async def test_result_that_comes() -> None:
    """It is waited for as long as is said."""
    async with Worker(queue):
        (job_id,) = await ask("enqueue", "add", "--args", "[4]", "--delay", "0.5s")
        assert await ask("jobs", "result", job_id, "--wait", "1m") == ["4"]


async def test_failed_job() -> None:
    """Why it failed is its result, with the exit code that says so."""
    await fail.using(id="x").enqueue("no")
    await burst()
    assert await ask("jobs", "result", "x", code=1) == ["aiostreamq: ValueError: no"]
    (told,) = await ask_json("jobs", "result", "x", code=1)
    assert told == {"id": "x", "error": "JobFailed", "message": "ValueError: no"}
    shown = await ask("jobs", "show", "x")
    (letter,) = await ask_json("dead", "ls")
    assert "error       ValueError: no" in shown
    assert "attempt     1" in shown
    assert f"dead letter {letter['id']}" in shown
    assert f"replay it   aiostreamq dead-letters replay {TARGET} {letter['id']}" in shown
    assert any(line.startswith("started     about 2") for line in shown)
    assert any(line.startswith("ended       2") for line in shown)
    assert shown[-1] == "ValueError: no"
    (found,) = await ask_json("jobs", "ls", "--state", "failed", "--since", "1h", "--task", "fail")
    assert found["id"] == "x"
    assert await ask("jobs", "ls", "--task", "add") == ["no such jobs"]


async def test_cancelled_job() -> None:
    """It is shown as what it is, although no worker was there."""
    await add.using(id="x").enqueue(1)
    assert await ask("jobs", "cancel", "x") == ["x: cancelled, was queued"]
    (found,) = await ask_json("jobs", "ls")
    assert (found["id"], found["task"], found["state"]) == ("x", "add", "cancelled")
    assert await ask_json("jobs", "ls", "--state", "cancelled") == [found]
    assert "state       cancelled" in await ask("jobs", "show", "x")
    lines = await ask("info")
    heads, row = next(line for line in lines if line.startswith("TASK")).split(), lines[-1].split()
    assert row[heads.index("CANCELLED")] == "1"
    (told,) = await ask_json("info")
    assert cast("list[dict[str, object]]", told["tasks"])[0]["ended"] == {"cancelled": 1}


async def test_paused() -> None:
    """What is paused is shown with the jobs and the workers that it concerns."""
    await add.using(id="x").enqueue(1)
    await fail.using(id="y", delay="1h").enqueue("no")
    await queue.pause(task=add)
    _, first, second = await ask("jobs", "ls")
    assert first.split()[:4] == ["x", "add", "queued", "(paused)"]
    assert second.split()[:4] == ["y", "fail", "delayed", "due"]
    assert [one["is_paused"] for one in await ask_json("jobs", "ls")] == [True, False]
    assert "state       queued (paused)" in await ask("jobs", "show", "x")
    (told,) = await ask_json("jobs", "show", "x")
    assert told["is_paused"] is True
    await queue.pause(lane="default")
    async with Worker(queue, name="w", lease=5):

        async def has_told() -> bool:
            return any(worker.host for worker in await queue.workers())

        await wait_until(has_told, "the first beat")
        _, row = await ask("workers")
        assert " default (paused) " in row
        assert row.endswith("add (paused), fail, weekday")
        (told,) = await ask_json("workers")
        lane = {"task": None, "lane": "default", "until": None}
        assert told["paused"] == [{**lane, "task": "add", "lane": None}, lane]


async def test_arguments_have_the_types_of_the_task() -> None:
    """A date is given as a string, and arrives as a date."""
    (job_id,) = await ask("enqueue", "weekday", "--args", '["2024-02-29"]')
    await burst()
    assert await ask("jobs", "result", job_id) == ["4"]


async def test_more_jobs() -> None:
    """A list that was cut short says so."""
    for number in range(3):
        await add.enqueue(number)
    lines = await ask("jobs", "ls", "--limit", "2")
    assert len(lines) == 4
    assert "there are more" in "".join(lines)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["enqueue", "add", "--args", "1"], "must be an array"),
        (["enqueue", "add", "--args", "["], "is not JSON"),
        (["enqueue", "add", "--kwargs", "[]"], "must be an object"),
        (["enqueue", "unknown"], "has no task 'unknown'; it has: add, fail, weekday"),
        (["enqueue", "add", "--args", '["x", 2, 3]'], "too many positional arguments"),
        (["enqueue", "add", "--args", '["x"]'], "argument 'a' of task 'add': expected int"),
        (
            ["enqueue", "weekday", "--args", '["soon"]'],
            "argument 'day' of task 'weekday'",
        ),
        (["jobs", "ls", "--limit", "0"], "--limit '0': give"),
        (["jobs", "ls", "--state", "finished"], "is unknown: use"),
        (["enqueue", "add", "--args", "[1]", "--url", "memory://"], "empty here: give the URL"),
        (["info", "--window", "0"], "window"),
        (["info", "--watch", "--every", "0"], "--every '0' is too short: give 0.1 s or more"),
    ],
)
async def test_wrong_usage(words: list[str], complaint: str) -> None:
    """It is told in one line."""
    lines = await ask(*words, code=2)
    assert complaint in "".join(lines)


async def test_unknown_job() -> None:
    """There is nothing to show of it."""
    await ask("jobs", "show", "unknown", code=1)
    await ask("jobs", "result", "unknown", code=1)


async def test_workers() -> None:
    """They are shown with what they run."""
    assert await ask("workers") == ["no worker has joined"]
    async with Worker(queue, name="w", lease=5):

        async def has_told() -> bool:
            return any(worker.host for worker in await queue.workers())

        await wait_until(has_told, "the first beat")
        (told,) = await ask_json("workers")
        assert (told["state"], told["tasks"]) == ("ready", ["add", "fail", "weekday"])
        heads, row = await ask("workers")
        assert heads.startswith("WORKER")
        assert row.startswith("w-")


async def test_on_a_terminal() -> None:
    """With rich, and whatever a job is called, it does not steer the terminal."""
    await add.using(id="[red]x").enqueue(1)
    command = [sys.executable, "-m", "aiostreamq", "jobs", "ls", TARGET]
    source = f"import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn({command!r})))"
    async with Program("-c", source) as program:
        assert await program.wait_end() == 0, program.printed
    assert "[red]x" in program.printed


async def findings(code: int = 0) -> dict[str, dict[str, str]]:
    """Run the doctor; returns what it found by subject."""
    found = await ask_json("doctor", code=code)
    return {str(one["subject"]): cast("dict[str, str]", one) for one in found}


async def test_doctor_of_the_healthy() -> None:
    """Nothing is wrong with a queue that works, but for a Redis that keeps nothing."""
    await add.enqueue(1)
    await burst()
    found = await findings()
    wrong = {name for name, one in found.items() if one["level"] != "ok"}
    # A machine with other things to do has a Redis that is far away, and is right to say so.
    assert {"persistence"} <= wrong <= {"persistence", "latency"}
    assert set(found) == {
        *("eviction", "persistence", "version", "clocks", "latency", "groups", "lag"),
        *("work", "parked", "schedules", "lanes", "keys", "limits", "rules"),
    }
    lines = await ask("doctor")
    assert any(line.startswith("ok    groups") for line in lines)


async def test_doctor_of_the_cancelled() -> None:
    """Jobs that were cancelled while they waited need no worker; one behind them does."""
    for _ in range(2):
        await (await add.enqueue(1)).cancel()
    work = (await findings())["work"]
    assert (work["level"], work["text"]) == ("ok", "0 jobs wait, 0 workers live")
    await add.enqueue(2)
    assert (await findings(code=1))["work"]["level"] == "problem"


@pytest.mark.parametrize("more", [0, 1, 2])
async def test_doctor_of_the_busy(redis_url: str, more: int) -> None:
    """If a later job ends first, Redis does not know the lag for some deliveries: no fault."""
    stream = "aiostreamq:{looked-into}:stream:default"
    async with Redis.from_url(redis_url) as client:
        for number in range(5):
            await add.using(id=f"j{number}").enqueue(number)
        await client.xreadgroup("aiostreamq", "busy", {stream: ">"}, count=2)
        later = cast("bytes", await client.hget("aiostreamq:{looked-into}:job:j1", "e"))
        await client.xack(stream, "aiostreamq", later)
        await client.xdel(stream, later)
        for _ in range(more):
            await client.xreadgroup("aiostreamq", "busy", {stream: ">"}, count=1)
    assert (await findings(code=1))["lag"]["level"] == "ok"


async def test_doctor_of_a_lost_count(redis_url: str) -> None:
    """A lag that is wrong stays so, as Redis 7.0's after a restart: no advice to wait."""
    stream = "aiostreamq:{looked-into}:stream:default"
    async with Redis.from_url(redis_url) as client:
        await add.enqueue(1)
        await burst()
        for number in range(2):
            await add.enqueue(number)
        await client.xreadgroup("aiostreamq", "busy", {stream: ">"}, count=1)
        [group] = await client.xinfo_groups(stream)
        if group.get("lag") is None:
            pytest.skip("this Redis tells no lag")
        last = group["last-delivered-id"]
        await client.xgroup_setid(stream, "aiostreamq", last, entries_read=0)
        lag = (await findings(code=1))["lag"]
    assert lag["level"] == "warning"
    assert "stays wrong" in lag["text"]
    assert "XLEN minus XPENDING" in lag["fix"]


async def test_doctor_finds(redis_url: str) -> None:
    """Work that nobody does, groups that are stuck, keys that belong to nothing."""
    prefix = "aiostreamq:{looked-into}:"
    stream = f"{prefix}stream:default"
    async with Redis.from_url(redis_url) as client:
        for number in range(4):
            await add.using(id=f"j{number}").enqueue(number)
        await client.xreadgroup("aiostreamq", "gone", {stream: ">"}, count=1)
        entry = cast("bytes", await client.hget(f"{prefix}job:j2", "e"))
        await client.xdel(stream, entry)
        await client.xadd(f"{prefix}stream:old", {"id": "a"})
        await client.set(f"{prefix}result:odd", "{}")
        await client.xgroup_destroy(f"{prefix}stream:returned", "aiostreamq")
        await client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = await findings(code=1)
        finally:
            await client.config_set("maxmemory-policy", "noeviction")
    assert found["eviction"]["level"] == "problem"
    assert "noeviction" in found["eviction"]["fix"]
    assert found["work"]["text"] == "2 jobs wait and no worker is alive"
    assert found["lanes"]["text"].endswith("old")
    assert "2 of" in found["keys"]["text"]
    assert "job:j2, result:odd" in found["keys"]["text"]
    assert found["lag"]["level"] == "warning"
    assert "entries were deleted unread" in found["lag"]["fix"]
    assert found["groups"]["level"] != "ok"
