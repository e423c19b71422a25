"""A worker among tasks that do what none should: each ends, and nothing else is hurt."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from aiostreamq import (
    Job,
    JobDead,
    JobDropped,
    JobFailed,
    JobState,
    JobTimeout,
    Retry,
    WaitTimeout,
)
from tests.hostile import app
from tests.hostile.zoo import DOES, RAISES, RETURNS, RUN_OUT, ZOO, Entry, Place
from tests.support.processes import Program, worker_program
from tests.support.waiting import TIME_SCALE, wait_until

#: How many well-behaved jobs of each kind run beside a group.
GOOD = 10

#: Seconds that a job may wait for a thread, or for a process, which takes its time to start.
WAITING: dict[Place, float] = {"loop": 0, "stream": 0, "thread": 10, "process": 30}

#: What is logged of a job: that it fails, is given up, runs again, and runs past its timeout.
LOGGED = [
    entry
    for entry in ZOO
    if entry.what
    in {
        *("StopIteration", "`GiveUp` with a reason of megabytes", "`RetryLater` at no time"),
        *("changes its arguments, and fails once", "runs past its timeout"),
        "generator that yields in `finally`",
    }
]

ACTS = {
    "loop": app.act_on_loop,
    "thread": app.act_in_thread,
    "process": app.act_in_process,
    "stream": app.act_as_stream,
}

pytestmark = pytest.mark.timeout(300)

#: The event loop of the worker. `test_deeds` shows what differs, so others try one each night.
one_loop = pytest.mark.parametrize(
    "loop", ["asyncio", pytest.param("uvloop", marks=pytest.mark.nightly)]
)


@pytest.fixture
async def url(redis_url: str) -> AsyncIterator[str]:
    """Where the queue is, which is open here too."""
    app.queue.use_url(redis_url)
    async with app.queue:
        yield redis_url


@asynccontextmanager
async def worker(url: str, *options: str) -> AsyncGenerator[Program]:
    """Keep a worker, which must live to the end, then drain, and end in time with code 0."""
    options = (*options, "--shutdown-timeout", "1", "--processes", "2")
    async with worker_program(url, *options, target="tests.hostile.app:queue") as program:
        await program.wait_for_line("aiostreamq")
        yield program
        assert program.is_alive, program.printed
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0, program.printed
        assert " CRITICAL " not in program.printed, program.printed


async def outcome_of(job: Job[Any], within: float) -> str:
    """Return how a job has ended, as an entry says it."""
    try:
        await job.result(timeout=within * TIME_SCALE)
    except WaitTimeout:
        return f"{await job.status()} after {within * TIME_SCALE:g} s"
    except JobFailed as error:
        return f"failed {error.type}"
    except JobTimeout:
        return "timed_out"
    except JobDropped:
        return "dropped"
    except JobDead:
        return "dead"
    return "done"


async def fault_of(entry: Entry, place: Place) -> str | None:
    """Let a job do what an entry says; returns what is wrong about its end."""
    retry = Retry(entry.attempts, backoff=[0.01]) if entry.attempts > 1 else None
    task = ACTS[place].using(timeout=entry.timeout, retry=retry)
    job = cast("Job[Any]", await task.enqueue(ZOO.index(entry), *entry.args))
    found = await outcome_of(job, entry.within + WAITING[place])
    if found != entry.end_in(place):
        return f"{entry.what} ({place}): {found}, not {entry.end_in(place)}"
    if found == "done" and place != "stream" and (value := await job.result()) != entry.result:
        return f"{entry.what} ({place}): returned {value!r}, not {entry.result!r}"
    return None


async def be_good() -> list[str]:
    """Run jobs that are well behaved; returns what is wrong about them."""
    jobs = [
        (number, await task.enqueue(number))
        for number in range(GOOD)
        for task in (app.double_on_loop, app.double_in_thread, app.double_in_process)
    ]
    streams = [await app.count.enqueue(GOOD) for _ in range(GOOD)]
    faults = [
        f"a good job: {found}"
        for number, job in jobs
        if (found := await outcome_of(job, 60)) != "done" or await job.result() != 2 * number
    ]
    return faults + [
        f"a good stream: {found}"
        for job in streams
        if (found := await outcome_of(job, 60)) != "done"
    ]


async def live_among(entries: Sequence[Entry]) -> None:
    """Run entries, in each of their places, among good jobs; and good jobs after them."""
    acts = asyncio.gather(*(fault_of(entry, place) for entry in entries for place in entry.places))
    hurt = await be_good()
    faults = [*filter(None, await acts), *hurt, *await be_good()]
    assert not faults, "\n".join(faults)


@one_loop
async def test_exceptions(url: str, loop: str) -> None:
    """Whatever is raised, it is told."""
    async with worker(url, "--loop", loop):
        await live_among(RAISES)


@one_loop
async def test_returned(url: str, loop: str) -> None:
    """What cannot travel is refused."""
    async with worker(url, "--loop", loop):
        await live_among(RETURNS)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_deeds(url: str, loop: str) -> None:
    """Whatever is done to the loop and the process."""
    async with worker(url, "--loop", loop):
        await live_among(DOES)


async def test_supervised(url: str) -> None:
    """The same, with a supervisor: no worker is ever replaced."""
    async with worker(url, "--workers", "2") as program:
        await live_among([entry for entry in DOES if not entry.is_left])
        assert "ended with exit code" not in program.printed


#: The entries that matter at the end of the process, unless a thread that is left ends it before.
OUTPUTS = [entry for entry in DOES if "`sys.stdout`" in entry.what]


@pytest.mark.parametrize("entry", OUTPUTS, ids=lambda entry: entry.body.__name__)
async def test_outputs(url: str, entry: Entry) -> None:
    """A worker ends with code 0 after a task has replaced its outputs."""
    async with worker(url):
        assert await fault_of(entry, "thread") is None


async def test_logs(url: str) -> None:
    """However the application logs, jobs end, run again and run past their timeouts."""
    async with worker(url):
        for name in app.LOGS:
            await (await app.set_up_logs.enqueue(name)).result(timeout=60)
            found = await asyncio.gather(
                *(
                    fault_of(entry, place)
                    for entry in LOGGED
                    for place in entry.places
                    if place != "process"  # logs by itself, and takes its time to start
                )
            )
            assert not any(found), f"{name}: {found}"
        assert not await be_good()


#: What runs on, whatever is said, when a worker is to end.
UNENDING = [entry for entry in DOES if entry.ends == RUN_OUT]


@one_loop
async def test_end(url: str, loop: str) -> None:
    """What does not end when the worker does is handed back, and keeps the process for seconds."""
    async with worker(url, "--loop", loop):
        jobs = [
            cast("Job[Any]", await ACTS[place].enqueue(ZOO.index(entry), *entry.args))
            for entry in UNENDING
            for place in entry.places
        ]
        await wait_until(lambda: all_run(jobs), "all to run")
    assert {await job.status() for job in jobs} == {JobState.QUEUED}


async def all_run(jobs: Sequence[Job[Any]]) -> bool:
    """Whether all *jobs* run."""
    return {await job.status() for job in jobs} == {JobState.RUNNING}


@pytest.mark.parametrize("store", ["redis", "memory"])
async def test_embedded(store: str, redis_url: str) -> None:
    """A program with a worker in it ends too, in time."""
    where = "memory://" if store == "memory" else redis_url
    async with Program("-m", "tests.hostile.embedded", where) as program:
        assert await program.wait_end() == 0, program.printed
        assert "left" in program.lines, program.printed


async def test_ctrl_c_of_a_program(redis_url: str) -> None:
    """SIGINT ends a program with a worker in it, as asyncio.run has it."""
    async with Program("-m", "tests.hostile.embedded", redis_url, "wait") as program:
        await program.wait_for_line("ready")
        program.send_signal(signal.SIGINT)
        assert await program.wait_end() != 0
        assert "left" in program.lines
        assert "KeyboardInterrupt" in program.printed


async def test_left_programs(url: str) -> None:
    """What a process task has started ends with its run."""
    async with worker(url):
        pid = await (await app.start_a_program.enqueue()).result(timeout=60)
        # It was killed before its job's result was told; the kernel may take a moment.
        await wait_until(lambda: not is_running(pid), "the end of what the task left")


def is_running(pid: int) -> bool:
    """Whether a process lives, and is not only kept until its parent has asked."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
