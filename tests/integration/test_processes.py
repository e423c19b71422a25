"""Tasks in processes: what they may do, and what is done to them."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from aiostreamq import (
    Job,
    JobDead,
    JobDropped,
    JobFailed,
    JobState,
    JobTimeout,
    Queue,
    Retry,
    Task,
    WaitTimeout,
    Worker,
)
from tests.support import cpu_jobs as tasks
from tests.support.processes import worker_program
from tests.support.waiting import PATIENCE, be_in_time, wait_until


@pytest.fixture
async def cpu_queue(store_url: str) -> AsyncIterator[Queue]:
    """The queue whose tasks are for processes, on a real Redis and in memory."""
    tasks.queue.use_url(store_url)
    async with tasks.queue as queue:
        yield queue


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """The file where processes that run something write themselves down."""
    return tmp_path / "pids"


async def noted(pids: Path, number: int = 1) -> list[int]:
    """Return the processes that are written down, as soon as there are so many."""
    await wait_until(lambda: count(pids) >= number, f"{number} processes")
    text = pids.read_text()  # noqa: ASYNC240  # a few bytes
    return [int(pid) for pid in text.split()]


def count(pids: Path) -> int:
    """Return how many processes are written down."""
    return pids.read_text().count("\n") if pids.exists() else 0


def forget(pids: Path) -> None:
    """Begin anew."""
    pids.unlink(missing_ok=True)


def is_gone(pid: int) -> bool:
    """Say whether a process has ended, also where nobody has taken note of it yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in {"Z", "X"}


async def wait_gone(*gone: int) -> None:
    """Wait until these processes have ended."""
    await wait_until(lambda: all(map(is_gone, gone)), f"{gone} to end")


async def test_result(cpu_queue: Queue) -> None:
    """It runs in a process of the worker's, which is used again and ends with the worker."""
    async with Worker(cpu_queue, processes=1):
        pid, parent = await (await tasks.where.enqueue())
        assert parent == os.getpid() != pid
        assert await (await tasks.where.enqueue()) == [pid, parent]
        assert not is_gone(pid)
    await wait_gone(pid)


@pytest.mark.heavy_in_memory
async def test_rich_types(cpu_queue: Queue) -> None:
    """Arguments and results arrive in their own types, as in any other task."""
    item = tasks.Item(UUID(int=7), Decimal("9.90"), {"red"})
    day, now = date(2024, 2, 29), datetime(2024, 2, 29, tzinfo=UTC)
    async with Worker(cpu_queue, processes=1):
        job = await tasks.ship.enqueue(item, day, day, at=now, tax=Decimal("0.1"))
        assert await job == (item, [day, day])


async def test_context(cpu_queue: Queue, tmp_path: Path) -> None:
    """It tells of the job what it tells elsewhere."""
    limit = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    tell = tasks.tell.using(retry=Retry(2, backoff=[0.01]), deadline=limit)
    async with Worker(cpu_queue, name="till", processes=1) as worker:
        job = await tell.enqueue(str(tmp_path / "marks"))
        assert await job == {
            "job_id": job.id,
            "task": "tell",
            "attempt": 2,
            "delivery": 2,
            "worker": worker.name,
            "scheduled_for": None,
            "deadline": limit.isoformat(),
            "is_cancelled": False,
        }


@pytest.mark.heavy_in_memory
async def test_planned_time(cpu_queue: Queue, tmp_path: Path) -> None:
    """A job of a schedule can know the time that it was planned for."""
    path = tmp_path / "marks"
    path.write_text(".")
    async with Worker(cpu_queue, processes=1):
        await cpu_queue.schedules.create("told", tasks.tell, args=[str(path)], every=0.1)
        await wait_until(lambda: last_of(cpu_queue), "a tick")
        job_id = await last_of(cpu_queue)
        assert job_id is not None
        told = cast("dict[str, str]", await cpu_queue.job(job_id).result(timeout=PATIENCE))
        planned = datetime.fromisoformat(told["scheduled_for"])
        assert f"{planned:%Y-%m-%dT%H:%M:%S}" in job_id


async def last_of(queue: Queue) -> str | None:
    """Return the latest job of the schedule."""
    return (await queue.schedules.get("told")).last_job_id


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("ask", [lambda: tasks.use_queue.enqueue(1), tasks.report.enqueue])
async def test_no_queue(cpu_queue: Queue, ask: Callable[[], Awaitable[Job[object]]]) -> None:
    """What takes a connection is refused with what to do instead."""
    async with Worker(cpu_queue, processes=1):
        with pytest.raises(JobFailed, match=r"no connection to Redis.* leave executor=") as caught:
            await (await ask())
        assert caught.value.type == "aiostreamq.errors.UsageError"


@pytest.mark.heavy_in_memory
async def test_exception(cpu_queue: Queue) -> None:
    """One that could not be pickled arrives all the same, with the frames of the task alone."""
    async with Worker(cpu_queue, processes=1):
        with pytest.raises(JobFailed) as caught:
            await (await tasks.fail.enqueue())
        error = caught.value
        assert error.type == f"{tasks.__name__}.Unsendable"
        assert error.message == "no tea and no coffee"
        files = re.findall(r'^  File "(.+)"', error.traceback, flags=re.MULTILINE)
        assert files == [tasks.__file__] * 2
        assert "_deep_inside" in error.traceback


@pytest.mark.heavy_in_memory
async def test_result_that_can_not_travel(cpu_queue: Queue) -> None:
    """The job fails with the reason, and the process lives on."""
    async with Worker(cpu_queue, processes=1):
        before = await (await tasks.where.enqueue())
        for task in (tasks.odd, tasks.long):
            with pytest.raises(JobFailed) as caught:
                await (await task.enqueue())
            assert caught.value.type == "aiostreamq.errors.PayloadError"
        assert await (await tasks.where.enqueue()) == before


@pytest.mark.heavy_in_memory
async def test_what_steers(cpu_queue: Queue, tmp_path: Path) -> None:
    """Drop, Dead, RetryLater and RateLimited mean what they mean elsewhere."""
    async with Worker(cpu_queue, processes=1):
        with pytest.raises(JobDropped, match="nobody cares"):
            await (await tasks.drop.enqueue("nobody cares"))
        with pytest.raises(JobDead, match="no hope"):
            await (await tasks.give_up.enqueue("no hope"))
        assert await (await tasks.later.enqueue(str(tmp_path / "marks"), 0.01)) == 3
        moment = datetime.now(UTC) + timedelta(seconds=0.5)
        assert await (await tasks.later.enqueue(str(tmp_path / "more"), 0, moment)) == 3
        assert datetime.now(UTC) >= moment
        assert await (await tasks.refused.enqueue(str(tmp_path / "refused"))) == 3


@pytest.mark.heavy_in_memory
async def test_retry(cpu_queue: Queue, tmp_path: Path) -> None:
    """A rule goes by the classes of the exception, its bases included."""
    rule = Retry(3, on=(LookupError,), backoff=[0.01])
    async with Worker(cpu_queue, processes=1):
        job = await tasks.fail_twice.using(retry=rule).enqueue(str(tmp_path / "one"))
        assert await job == 3
        rule = Retry(3, on=(LookupError,), not_on=(tasks.Unsendable,), backoff=[0.01])
        with pytest.raises(JobFailed):
            await (await tasks.fail_twice.using(retry=rule).enqueue(str(tmp_path / "two")))
        job = await tasks.die_twice.using(retry=Retry(3, backoff=[0.01])).enqueue(
            str(tmp_path / "three")
        )
        assert await job == 3


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize(
    ("on", "covered"),
    [
        (("tests.support.cpu_jobs.Unsendable", "json.JSONDecodeError"), True),
        (("LookupError", "ValueError"), True),
        (("ExceptionGroup",), True),
        (("json.JSONDecodeError",), False),
    ],
)
async def test_retry_by_name(
    cpu_queue: Queue, tmp_path: Path, on: tuple[str, ...], covered: bool
) -> None:
    """A rule has names, of what was raised or of all that it groups."""
    rule = Retry(3, on=on, backoff=[0.01])
    async with Worker(cpu_queue, processes=1):
        job = await tasks.fail_alike_twice.using(retry=rule).enqueue(str(tmp_path / "marks"))
        if covered:
            assert await job == 3
        else:
            with pytest.raises(JobFailed, match="both"):
                await job


@pytest.mark.heavy_in_memory
async def test_decorated_functions(cpu_queue: Queue, tmp_path: Path) -> None:
    """A process calls what was registered, or nothing."""
    async with Worker(cpu_queue, processes=1):
        assert await (await tasks.marked_twice.enqueue(str(tmp_path / "marks"))) == 2
        assert await (await tasks.awaited.enqueue(1)) == 2
        assert await (await tasks.by_class.enqueue(2)) == "ByClassByClass"
        with pytest.raises(JobFailed, match="importing 'bare', which is another one"):
            await (await tasks.doubled.enqueue(1))


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize(
    ("how", "told"),
    [("exit", "exit code 3"), ("segfault", "SIGSEGV"), ("kill", "SIGKILL")],
)
async def test_death(
    cpu_queue: Queue, how: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that dies is a failure of its job; the worker and other jobs know nothing of it."""
    async with Worker(cpu_queue, processes=1):
        job = await tasks.die.enqueue(how)
        assert [await (await tasks.quick.enqueue(n)) for n in range(10)] == list(range(10))
        with pytest.raises(JobFailed, match=told) as caught:
            await job
        assert caught.value.type == "aiostreamq.errors.ProcessDied"
        assert any(told in record.message for record in caplog.records), "operators are told"
        assert (await (await tasks.where.enqueue()))[1] == os.getpid()


@pytest.mark.heavy_in_memory
async def test_death_with_the_connection_held(cpu_queue: Queue, pids: Path) -> None:
    """That something forked still holds what was open hides no death."""
    async with Worker(cpu_queue, processes=1):
        try:
            with pytest.raises(JobFailed, match="exit code 4"):
                await (await tasks.fork_and_die.enqueue(str(pids))).result(timeout=PATIENCE)
        finally:
            for pid in await noted(pids):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.heavy_in_memory
async def test_death_while_idle(cpu_queue: Queue) -> None:
    """It costs no job anything: the next one gets another process."""

    def watching() -> bool:
        return "aiostreamq:child" in [task.get_name() for task in asyncio.all_tasks()]

    async with Worker(cpu_queue, processes=1):
        pid, _ = await (await tasks.where.enqueue())
        assert watching()
        os.kill(pid, signal.SIGKILL)
        await wait_until(lambda: not watching(), "it to be taken note of")
        other, _ = await (await tasks.where.enqueue())
        assert other != pid


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("task", [tasks.spin, tasks.stick], ids=lambda task: task.name)
async def test_timeout(cpu_queue: Queue, pids: Path, task: Task[[str], None]) -> None:
    """The process is killed, whatever it does, and another takes its place."""

    async def time_out(soon: float) -> int | None:
        first, _ = await (await tasks.where.enqueue())
        job = await task.using(timeout=soon).enqueue(str(pids))
        with pytest.raises(JobTimeout):
            await job.result(timeout=PATIENCE)
        return first if count(pids) else None  # it has not begun

    async with Worker(cpu_queue, concurrency=1, processes=1):
        first = await be_in_time(time_out)
        (pid,) = await noted(pids)
        assert pid == first
        assert is_gone(pid)
        assert (await (await tasks.where.enqueue()).result(timeout=PATIENCE))[0] != pid


@pytest.mark.heavy_in_memory
async def test_timeout_ends_programs_too(cpu_queue: Queue, pids: Path) -> None:
    """What the task has started does not outlive it."""

    async def time_out(soon: float) -> bool:
        forget(pids)
        await (await tasks.where.enqueue())
        job = await tasks.start_program.using(timeout=2 * soon).enqueue(str(pids))
        with pytest.raises(JobTimeout):
            await job.result(timeout=PATIENCE)
        return count(pids) == 2  # it had started its program

    async with Worker(cpu_queue, processes=1):
        await be_in_time(time_out)
        child, program = await noted(pids, 2)
        await wait_gone(child, program)


@pytest.mark.heavy_in_memory
async def test_waiting_is_no_part_of_the_run(cpu_queue: Queue, pids: Path, tmp_path: Path) -> None:
    """A job that waits for a process longer than its timeout has not timed out."""

    async def wait_and_run(soon: float) -> bool:
        gate = tmp_path / f"gate-{soon}"
        forget(pids)
        first = await tasks.wait_for_file.enqueue(str(gate), str(pids))
        await noted(pids)
        waiting = await tasks.where.using(timeout=soon).enqueue()
        spinning = await tasks.spin.using(timeout=soon).enqueue(str(pids))
        with pytest.raises(WaitTimeout):
            await waiting.result(timeout=1.5 * soon)
        gate.touch()
        assert await first == str(gate)
        with pytest.raises(JobTimeout):
            await spinning.result(timeout=PATIENCE)
        return await waiting.status() is JobState.DONE  # unless its run itself took too long

    async with Worker(cpu_queue, processes=1):
        await be_in_time(wait_and_run)


@pytest.mark.heavy_in_memory
async def test_processes_never_exceed_their_limit(
    cpu_queue: Queue, pids: Path, tmp_path: Path
) -> None:
    """Never more run at once than there may be processes, and the loop serves all others."""
    gate = tmp_path / "gate"
    async with Worker(cpu_queue, processes=2):
        jobs = [await tasks.wait_for_file.enqueue(str(gate), str(pids)) for _ in range(6)]
        running = await noted(pids, 2)
        assert [await (await tasks.quick.enqueue(n)) for n in range(50)] == list(range(50))
        assert await noted(pids) == running
        gate.touch()
        assert await asyncio.gather(*jobs) == [str(gate)] * 6
    assert set(await noted(pids, 6)) == set(running)


@pytest.mark.heavy_in_memory
async def test_loop_is_not_blocked(cpu_queue: Queue, pids: Path) -> None:
    """Jobs on the event loop continue while all processes are busy."""
    async with Worker(cpu_queue, processes=1, shutdown_timeout=0):
        await tasks.spin.enqueue(str(pids))
        await noted(pids)
        jobs = await cpu_queue.enqueue_many(tasks.quick.bind(n) for n in range(500))
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.gather(*jobs) == list(range(500))


@pytest.mark.heavy_in_memory
async def test_handed_back(cpu_queue: Queue, pids: Path, tmp_path: Path) -> None:
    """What runs past the shutdown's deadline is killed and runs elsewhere, at no attempt's cost."""
    gate = tmp_path / "gate"
    async with Worker(cpu_queue, processes=1, shutdown_timeout=0.05):
        job = await tasks.wait_for_file.using(retry=Retry(1)).enqueue(str(gate), str(pids))
        waiting = await tasks.wait_for_file.enqueue(str(gate), str(pids))
        (pid,) = await noted(pids)
    assert is_gone(pid)
    assert {await job.status(), await waiting.status()} == {JobState.QUEUED}
    gate.touch()
    async with Worker(cpu_queue, processes=1):
        assert await job == await waiting == str(gate)


@pytest.mark.heavy_in_memory
async def test_ended_within_the_deadline(cpu_queue: Queue, pids: Path, tmp_path: Path) -> None:
    """A worker that stops lets a task get to its end."""
    gate = tmp_path / "gate"
    worker = Worker(cpu_queue, processes=1)
    running = asyncio.create_task(worker.run())
    job = await tasks.wait_for_file.enqueue(str(gate), str(pids))
    await noted(pids)
    worker.stop()
    gate.touch()
    await running
    assert await job == str(gate)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_what_it_prints(redis_url: str, loop: str) -> None:
    """It appears where the worker's own output does; a program it starts has an empty input."""
    async with (
        Queue(redis_url, name="cpu") as queue,
        worker_program(
            redis_url, "--processes", "1", "--loop", loop, target="tests.support.cpu_jobs:queue"
        ) as worker,
    ):
        assert await (await queue.enqueue("say", "good morning")) == "good morning"
        await worker.wait_for_line("good morning")
        await worker.wait_for_line("''")
        worker.send_signal(signal.SIGTERM)
        assert await worker.wait_end() == 0


@pytest.mark.parametrize("task", ["spin", "stick"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_no_orphans(redis_url: str, pids: Path, task: str, loop: str) -> None:
    """Processes end with a worker that is killed, whatever they are busy with."""
    async with (
        Queue(redis_url, name="cpu") as queue,
        worker_program(
            redis_url, "--processes", "2", "--loop", loop, target="tests.support.cpu_jobs:queue"
        ) as worker,
    ):
        idle, _ = cast("list[int]", await (await queue.enqueue("where")))
        blocker = await queue.enqueue("wait_for_file", str(pids.parent / "gate"), str(pids))
        await queue.enqueue(task, str(pids))
        busy = await noted(pids, 2)
        (pids.parent / "gate").touch()
        await blocker
        assert idle in busy
        worker.send_signal(signal.SIGKILL)
        await wait_gone(idle, *busy)


async def test_signals_are_the_workers(redis_url: str, pids: Path) -> None:
    """SIGTERM and SIGINT to all processes at once drain: a task gets to its end."""
    gate = pids.parent / "gate"
    async with (
        Queue(redis_url, name="cpu") as queue,
        worker_program(redis_url, target="tests.support.cpu_jobs:queue") as worker,
    ):
        job = await queue.enqueue("wait_for_file", str(gate), str(pids))
        for pid in await noted(pids):
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
        worker.send_signal(signal.SIGTERM)
        await worker.wait_for_line("draining")
        gate.touch()
        assert await worker.wait_end() == 0
        assert await job == str(gate)
