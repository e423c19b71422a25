"""`aiostreamq schedules`, as a process of its own."""

import json
import time

import pytest
from redis.asyncio import Redis

from aiostreamq.model.keys import Keys
from tests.support.jobs import queue
from tests.support.processes import Program

TARGET = "tests.support.jobs:queue"


@pytest.fixture(autouse=True)
def address(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The empty store that the queue is in."""
    monkeypatch.setenv("AIOSTREAMQ_URL", redis_url)


async def ask(*words: str, code: int = 0) -> str:
    """Run `aiostreamq schedules` and return what it printed."""
    async with Program("-m", "aiostreamq", "schedules", words[0], TARGET, *words[1:]) as program:
        assert await program.wait_end() == code, program.printed
    assert "Traceback" not in program.printed
    return program.printed


async def test_life_of_a_schedule() -> None:
    """It is made, listed, shown, changed, paused, resumed, fired by hand and removed."""
    assert await ask("ls") == "no schedules"
    made = await ask("create", "sums", "add", "--every", "90", "--args", "[1, 2]", "--json")
    assert json.loads(made)["every"] == 90
    changed = (
        "--cron",
        "0 9 * * *",
        "--tz",
        "Asia/Tokyo",
        "--kwargs",
        '{"a": 2, "b": 1}',
        "--replace",
    )
    page = await ask("create", "sums", "add", *changed, "--overlap", "skip", "--max-runs", "3")
    for told in ("0 9 * * * Asia/Tokyo", '{"a":2,"b":1}', "skip", "0 of 3", "00:00:00Z"):
        assert told in page
    assert await ask("pause", "sums") == "paused sums"
    [head, row] = (await ask("ls")).splitlines()
    assert head.split() == ["name", "task", "when", "next", "last", "runs", "state"]
    assert row.split()[0] == "sums"
    assert row.endswith("paused")
    assert await ask("resume", "sums") == "resumed sums"
    assert (await ask("trigger", "sums")).startswith("enqueued sums@")
    assert json.loads(await ask("trigger", "sums", "--json"))["id"].startswith("sums@")
    found = json.loads(await ask("show", "sums", "--json"))
    assert (found["runs"], found["is_paused"], len(found["upcoming"])) == (0, False, 3)
    assert await ask("rm", "sums") == "deleted sums"
    assert "no schedule 'sums'" in await ask("rm", "sums", code=2)


async def test_task_that_is_not_here() -> None:
    """It is made all the same, as workers of other code may know the task; but it is said."""
    for more in ((), ("--replace",)):
        told = await ask("create", "sums", "ad", "--every", "1h", *more)
        assert "there is no task 'ad' in tests.support.jobs:queue" in told
        assert "add" in told.split("which has: ")[1]
        assert "sums" in told
    assert "no task" not in await ask("create", "other", "add", "--every", "1h", "--args", "[1, 2]")


async def test_jobs_are_paused() -> None:
    """A schedule whose jobs wait says so, as what it is itself."""
    await ask("create", "sums", "add", "--every", "90", "--args", "[1, 2]")
    words = ("-m", "aiostreamq", "pause", TARGET, "--task", "add")
    async with Program(*words) as program:
        assert await program.wait_end() == 0, program.printed
    assert (await ask("ls")).endswith("on (jobs paused)")
    assert "state     on (jobs paused)" in await ask("show", "sums")
    assert json.loads(await ask("show", "sums", "--json"))["are_jobs_paused"] is True
    await ask("pause", "sums")
    assert (await ask("ls")).endswith("paused (jobs paused)")


async def test_no_code_declares_it(client: Redis) -> None:
    """One that is gone from the code, or whose workers are, is not said to be on."""
    await ask("create", "sums", "add", "--every", "90", "--args", "[1, 2]")
    key = Keys(queue.name).schedule("sums")
    now = round(time.time() * 1000)
    await client.hset(key, mapping={"code": "1", "seen": now - 100_000})
    assert (await ask("ls")).endswith(" on")
    await client.hset(key, "seen", str(now - 200_000))
    assert (await ask("ls")).endswith("in no worker's code")
    assert "in no worker's code" in await ask("show", "sums")


async def test_explain() -> None:
    """It says in words when, the next five, and what the clocks do to it."""
    told = await ask("explain", "--cron", "30 2 * * *", "--tz", "Europe/Madrid")
    assert told.startswith("At 02:30 every day.\nIn the time of Europe/Madrid.")
    assert told.count("02:30:00 CE") + told.count("03:30:00 CEST") == 5
    assert "from 02:00 to 03:00; skipped ticks come that much later, the first" in told
    assert "from 03:00 to 02:00; repeated ticks fire the first time only" in told
    hourly = json.loads(
        await ask("explain", "--cron", "@hourly", "--tz", "Europe/Madrid", "--json")
    )
    assert len(hourly["next"]) == 5
    assert all("no tick more or less" in note for note in hourly["clock_changes"])
    assert "In UTC, as no other time zone is given" in await ask("explain", "--cron", "@daily")
    over = await ask("explain", "--every", "5m", "--end", "2020-01-01")
    assert "Not after 2020-01-01 00:00:00Z (UTC)." in over
    assert "Never again." in over


async def test_explain_what_the_clock_leaves_alone() -> None:
    """A time that comes on the day of a change, but is not skipped, is not said to be."""
    told = await ask("explain", "--cron", "30 3 * * *", "--tz", "Europe/Madrid")
    assert told.count("nothing is due in that time") == 2
    told = await ask("explain", "--cron", "30 2,3 * * *", "--tz", "Europe/Madrid")
    assert "skipped ticks come that much later, the first at 03:30" in told


async def test_explain_one_that_there_is() -> None:
    """No tick is promised that will not come: it is paused, or has had its number."""
    words = ("create", "sums", "add", "--every", "90", "--args", "[1, 2]", "--max-runs", "2")
    await ask(*words)
    told = await ask("explain", "sums")
    assert "No more than 2 times." in told
    assert told.count("UTC  (") == 2
    await ask("pause", "sums")
    assert "It is paused. Resumed now, next:" in await ask("explain", "sums")
    told = json.loads(await ask("explain", "sums", "--json"))
    assert (told["is_paused"], len(told["next"])) == (True, 2)
    assert "a schedule has its own" in await ask("explain", "sums", "--tz", "Asia/Tokyo", code=2)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["show", "x"], "no schedule 'x'"),
        (["explain"], "nothing to explain"),
        (["explain", "--cron", "* *"], "has 2 fields"),
        (["create", "x", "add", "--every", "5", "--args", "{"], "--args '{' is not JSON"),
        (["create", "x", "add", "--every", "5", "--kwargs", "[]"], "must be an object"),
        (["create", "x", "add", "--every", "5", "--start", "soon"], "invalid time"),
        (["create", "x", "add", "--every", "5"], "missing a required argument"),
    ],
)
async def test_mistakes(words: list[str], complaint: str) -> None:
    """What is wrong is told in a line, and nothing is made."""
    assert complaint in await ask(*words, code=2)
