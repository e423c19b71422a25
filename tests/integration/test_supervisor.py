"""`aiostreamq run` with several worker processes, and what becomes of their jobs."""

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiostreamq import Job, Queue
from tests.integration.supervised_app import block, block_once, grow, nap, queue
from tests.support.http import ask
from tests.support.notify_socket import NotifySocket
from tests.support.processes import Program, worker_program
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.may_block("the tests start and kill processes")

APP = "tests.integration.supervised_app:queue"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file where each start and end of a nap is written down."""
    path = tmp_path / "ledger"
    path.touch()
    monkeypatch.setenv("LEDGER", str(path))
    return path


@pytest.fixture
async def url(redis_url: str, ledger: Path) -> AsyncIterator[str]:
    """The address of Redis, with this process's view of the queue open on it."""
    queue.use_url(redis_url)
    async with queue:
        yield redis_url


def supervised(url: str, *options: str, target: str = APP) -> Program:
    """Return the command, not started yet, with some patience for what it leaves.

    The lease is short, but not so that one is taken for dead whom its machine has held up.
    """
    return worker_program(url, "--lease", "3", "--shutdown-timeout", "30", *options, target=target)


def pids(program: Program, event: str = "is ready") -> list[int]:
    """Return the workers of which *event* has been logged, as often as it was."""
    said = (re.search(rf"worker \d+ \(process (\d+)\) {event}", line) for line in program.lines)
    return [int(found[1]) for found in said if found]


def supervisor_pid(program: Program) -> int:
    """Return the process id of the supervisor."""
    found = re.search(r"supervisor \(process (\d+)\)", program.printed)
    assert found
    return int(found[1])


async def wait_ready(program: Program, count: int) -> list[int]:
    """Wait until *count* workers have been ready; returns them all."""
    await wait_until(lambda: len(pids(program)) >= count, f"{count} workers")
    return pids(program)


def events(ledger: Path, event: str) -> Counter[str]:
    """Count how often *event* is written down of each job."""
    lines = (line.split() for line in ledger.read_text().splitlines())
    return Counter(job for job, _, _, what in lines if what == event)


def where(ledger: Path, job: Job[int]) -> list[int]:
    """Return the processes in which *job* has started."""
    lines = (line.split() for line in ledger.read_text().splitlines())
    return [int(pid) for job_id, _, pid, what in lines if job_id == job.id and what == "start"]


def is_alive(pid: int) -> bool:
    """Say whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_killed_worker_is_replaced(url: str, ledger: Path) -> None:
    """Another process takes its slot, and its job is run again."""
    async with supervised(url, "--workers", "2") as program:
        await wait_ready(program, 2)
        job = await nap.enqueue(1.0)
        await wait_until(lambda: where(ledger, job), "the job to start")
        victim = where(ledger, job)[0]
        os.kill(victim, signal.SIGKILL)
        line = await program.wait_for_line("was killed by SIGKILL")
        assert f"(process {victim})" in line
        assert await job != victim
        workers = await wait_ready(program, 3)
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0
    assert len(set(workers)) == 3
    assert events(ledger, "start") == {job.id: 2}
    assert events(ledger, "end") == {job.id: 1}


async def test_crash_loop(
    url: str, ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that crashes at every start is given up, when the others have drained."""
    monkeypatch.setenv("ONLY_ONE", str(tmp_path / "only-one"))
    target = "tests.integration.crashing_app:queue"
    async with supervised(url, "--workers", "2", target=target) as program:
        steady = (await wait_ready(program, 1))[0]
        job = await nap.enqueue(1.0)
        await wait_until(lambda: pids(program, "ended with exit code 1"), "a crash")
        long = await nap.enqueue(2.0)
        assert await job == steady
        assert await program.wait_end() == 1
    assert pids(program) == [steady]
    assert len(set(pids(program, "ended with exit code 1"))) == 5
    assert "RuntimeError: there is one already" in program.printed, "why it crashed"
    given_up = next(line for line in program.lines if "Giving up" in line)
    assert "CRITICAL" in given_up
    assert "crash number 5 in a row" in given_up
    assert pids(program, "has drained and ended") == [steady]
    assert events(ledger, "start") == events(ledger, "end") == {job.id: 1, long.id: 1}


@pytest.mark.parametrize(
    ("seize", "blocker"), [(False, "job:block_once:"), (True, "code that lets no thread run")]
)
async def test_worker_that_is_blocked_for_good(
    url: str, ledger: Path, seize: bool, blocker: str
) -> None:
    """When its lease is over it is killed and replaced; who turns its loop is left alone."""
    options = ("--workers", "2", "--shutdown-timeout", "0", "--lease", "1")
    async with supervised(url, *options) as program:
        workers = await wait_ready(program, 2)
        job = await block_once.enqueue(seize)
        await wait_until(lambda: where(ledger, job), "the job to start")
        (victim,) = where(ledger, job)
        assert await job in set(workers) - {victim}
        await wait_until(lambda: pids(program, "has not turned"), "it to be killed")
        told = rf"its event loop for 1\d s \(blocked by {blocker}"
        assert re.search(told, program.printed), program.printed
        await wait_ready(program, 3)
        assert pids(program, "has not turned") == pids(program, "was killed") == [victim]
        assert await (await nap.enqueue(0.0)) in set(pids(program)) - {victim}
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0
    assert where(ledger, job)[0] == victim


@pytest.mark.parametrize(
    "sign", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)]
)
async def test_drain(url: str, ledger: Path, sign: signal.Signals) -> None:
    """A signal lets all jobs that run get to their end, and loses none of the others."""
    async with supervised(url, "--workers", "2", "--concurrency", "5") as program:
        workers = await wait_ready(program, 2)
        jobs = await queue.enqueue_many(nap.bind(0.1) for _ in range(400))
        await wait_until(lambda: len(events(ledger, "end")) > 20, "some to end")
        program.send_signal(sign)
        assert await program.wait_end() == 0
    assert sorted(pids(program, "has drained and ended")) == sorted(workers)
    assert events(ledger, "start") == events(ledger, "end")
    assert len(events(ledger, "start")) < len(jobs), "it was to end before the last job"
    async with supervised(url, "--workers", "2", "--burst") as program:
        assert await program.wait_end() == 0
    assert (
        events(ledger, "start") == events(ledger, "end") == dict.fromkeys((j.id for j in jobs), 1)
    )
    assert "no job is left" in program.printed


async def test_signal_to_all_processes(url: str, ledger: Path) -> None:
    """A terminal and a service manager tell all at once; that is still the first signal."""
    async with supervised(url, "--workers", "2") as program:
        workers = await wait_ready(program, 2)
        job = await nap.enqueue(1.0)
        await wait_until(lambda: where(ledger, job), "the job to start")
        for pid in (*workers, supervisor_pid(program), *workers):
            os.kill(pid, signal.SIGINT)
        assert await program.wait_end() == 0
    assert await job in workers
    assert events(ledger, "end") == {job.id: 1}
    assert len(pids(program)) == 2, "those that have drained are not replaced"


async def test_second_signal(url: str, ledger: Path) -> None:
    """It leaves at once, and says that this was not in order."""
    async with supervised(url, "--workers", "2") as program:
        await wait_ready(program, 2)
        job = await nap.enqueue(60.0)
        await wait_until(lambda: where(ledger, job), "the job to start")
        program.send_signal(signal.SIGTERM)
        await wait_until(lambda: program.printed.count("draining") == 3, "all to drain")
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 1
    assert "leaving at once" in program.printed
    assert not events(ledger, "end")


async def test_second_signal_to_a_blocked_worker(url: str, ledger: Path) -> None:
    """One whose event loop hears nothing is killed."""
    async with supervised(url, "--max-jobs", "1000") as program:
        (worker,) = await wait_ready(program, 1)
        job = await block.enqueue()
        await wait_until(lambda: events(ledger, "start"), "the job to start")
        program.send_signal(signal.SIGTERM)
        await program.wait_for_line("draining")
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 1
    assert pids(program, "has not ended within 5 s and is killed") == [worker]
    assert events(ledger, "start") == {job.id: 1}


async def test_worker_that_is_asked_to_drain_is_replaced(url: str, ledger: Path) -> None:
    """One that drains because somebody asked it to is replaced too, and is no crash."""
    async with supervised(url, "--workers", "2") as program:
        workers = await wait_ready(program, 2)
        os.kill(workers[0], signal.SIGTERM)
        await wait_ready(program, 3)
        assert pids(program, "has drained and ended by itself") == [workers[0]]
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0
    assert "ERROR" not in program.printed


async def test_killed_supervisor_leaves_no_workers(url: str, ledger: Path) -> None:
    """Its workers see its end, drain, and end too."""
    async with supervised(url, "--workers", "2") as program:
        workers = await wait_ready(program, 2)
        job = await nap.enqueue(0.5)
        await wait_until(lambda: where(ledger, job), "the job to start")
        program.send_signal(signal.SIGKILL)
        assert await job in workers
        assert await program.wait_end() == -signal.SIGKILL
        await wait_until(lambda: not any(map(is_alive, workers)), "the workers to end")
    assert program.printed.count("the supervisor is gone: draining") == 2


async def test_max_jobs(url: str, ledger: Path) -> None:
    """Processes are replaced one after the other, and every job runs once."""
    options = ("--workers", "2", "--max-jobs", "40", "--concurrency", "8")
    async with supervised(url, *options) as program:
        await wait_ready(program, 2)
        jobs = await queue.enqueue_many(nap.bind(0.08) for _ in range(160))
        await wait_ready(program, 4)  # on a loaded machine the others may be through by then
        jobs += await queue.enqueue_many(nap.bind(0.08) for _ in range(40))
        ran = Counter(await asyncio.gather(*jobs))
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0
    once = dict.fromkeys((job.id for job in jobs), 1)
    assert events(ledger, "start") == events(ledger, "end") == once
    replaced = pids(program, "is replaced: it has run")
    assert len(replaced) >= 2
    assert set(ran) > set(replaced[:2]), "others have worked too"
    assert "ERROR" not in program.printed


async def test_long_job_in_a_process_that_is_replaced(url: str, ledger: Path) -> None:
    """It gets the time that it needs, whatever a shutdown would give it."""
    options = ("--max-jobs", "1", "--shutdown-timeout", "0")
    async with supervised(url, *options) as program:
        (worker,) = await wait_ready(program, 1)
        long = await nap.enqueue(3.0)
        await nap.enqueue(0.0)
        await wait_ready(program, 2)
        await program.wait_for_line("draining")
        assert await long == worker
        await program.wait_for_line(f"process {worker}) has drained and ended")
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0
    assert events(ledger, "start")[long.id] == 1


async def test_max_rss(url: str) -> None:
    """A process that has taken too much is replaced, also where it is the only one."""
    async with supervised(url, "--max-rss", "200mb") as program:
        (small,) = await wait_ready(program, 1)
        assert await (await grow.enqueue(20)) == small
        assert await (await grow.enqueue(200)) == small
        line = await program.wait_for_line("is replaced")
        assert re.search(rf"process {small}\) is replaced: it takes 2\d\d MB of memory", line)
        await program.wait_for_line(f"process {small}) has drained and ended")
        assert await (await grow.enqueue(1)) == pids(program)[-1] != small
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0


async def test_reload(redis_url: str, tmp_path: Path) -> None:
    """A change of code restarts the workers; broken code waits for the next change."""
    app = tmp_path / "app.py"

    def write(value: str) -> None:
        app.write_text(
            "from aiostreamq import Queue\n"
            "queue = Queue(name='reloaded')\n"
            "@queue.task\n"
            f"async def value() -> str: return {value}\n"
        )

    write("'first'")
    options = ("run", "app:queue", "--url", redis_url, "--workers", "2", "--reload")
    async with (
        Queue(redis_url, name="reloaded") as other,
        Program("-m", "aiostreamq", *options, where=tmp_path) as program,
    ):
        await wait_ready(program, 2)
        assert await (await other.enqueue("value")) == "first"
        write("'second version'")
        await program.wait_for_line("app.py changed: starting again")
        await wait_ready(program, 4)
        assert await (await other.enqueue("value")) == "second version"
        write("(")
        await program.wait_for_line("it starts again when code changes")
        assert "SyntaxError" in program.printed
        (tmp_path / "notes.txt").write_text("no code")
        job = await other.enqueue("value")
        write("'the third version'")
        assert await job == "the third version"
        await wait_ready(program, 6)
        program.send_signal(signal.SIGINT)
        assert await program.wait_end() == 0
    assert "notes.txt" not in program.printed
    assert program.printed.count("starting again") == 3


async def test_state_of_all(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes and systemd hear from the supervisor, once for all workers."""
    with NotifySocket(str(tmp_path / "notify")) as systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
        options = ("--workers", "2", "--health-port", "0", "--health-host", "127.0.0.1")
        async with supervised(url, *options) as program:
            line = await program.wait_for_line("health: http://")
            found = re.search(r":(\d+)/live", line)
            assert found
            port = int(found[1])
            assert (await ask(port, "/live")).status == 200
            workers = await wait_ready(program, 2)
            ready = await ask(port, "/ready")
            assert (ready.status, ready.told) == (200, {"status": "ready"})
            await wait_until(lambda: systemd.count("READY=1"), "systemd to hear of it")
            job = await nap.enqueue(3.0)
            os.kill(workers[0], signal.SIGTERM)  # one that drains does not make the others less
            assert (await ask(port, "/ready")).status == 200
            program.send_signal(signal.SIGTERM)
            await program.wait_for_line("draining: running jobs may finish; signal again")
            assert (await ask(port, "/ready")).told["status"] == "draining"
            assert await job in workers
            assert await program.wait_end() == 0
        await wait_until(lambda: systemd.count("STOPPING=1"), "systemd to hear of the end")
    assert systemd.count("READY=1") == systemd.count("STOPPING=1") == 1
    assert program.printed.count("health: http://") == 1


async def test_cut_off(ledger: Path, own_redis_server: RedisServer) -> None:
    """Workers that Redis does not answer are not ready, and are left at work."""
    options = ("--workers", "2", "--lease", "1", "--health-port", "0", "--health-host", "127.0.0.1")
    async with supervised(own_redis_server.url, *options) as program:
        found = re.search(r":(\d+)/live", await program.wait_for_line("health: http://"))
        assert found
        port = int(found[1])
        await wait_ready(program, 2)
        own_redis_server.pause()

        async def says(status: str) -> bool:
            return (await ask(port, "/ready")).told["status"] == status

        await wait_until(lambda: says("cut_off"), "them to notice")
        assert (await ask(port, "/live")).status == 200
        own_redis_server.resume()
        await wait_until(lambda: says("ready"), "them to go on")
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0
    assert len(pids(program)) == 2


async def test_blocked_is_not_ready(url: str) -> None:
    """A worker whose event loop does not turn takes no jobs, whatever it has said last."""
    options = ("--max-jobs", "1000", "--health-port", "0", "--health-host", "127.0.0.1")
    async with supervised(url, *options) as program:
        found = re.search(r":(\d+)/live", await program.wait_for_line("health: http://"))
        assert found
        port = int(found[1])
        (worker,) = await wait_ready(program, 1)

        async def says(status: str) -> bool:
            return (await ask(port, "/ready")).told["status"] == status

        await wait_until(lambda: says("ready"), "it to take jobs")
        os.kill(worker, signal.SIGSTOP)
        await wait_until(lambda: says("blocked"), "that to be seen")
        told = await ask(port, "/ready")
        assert (told.status, (await ask(port, "/live")).status) == (503, 200)
        os.kill(worker, signal.SIGCONT)
        await wait_until(lambda: says("ready"), "it to go on")
        program.send_signal(signal.SIGTERM)
        assert await program.wait_end() == 0
    assert pids(program) == [worker]


async def test_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options may come from the environment, and are not taken for the workers' own."""
    monkeypatch.setenv("AIOSTREAMQ_WORKERS", "3")
    monkeypatch.setenv("AIOSTREAMQ_MAX_JOBS", "1000")
    monkeypatch.setenv("AIOSTREAMQ_MAX_RSS", "1gb")
    async with supervised(url, "--burst") as program:
        assert await program.wait_end() == 0
    assert len(set(pids(program))) == 3
    assert program.printed.count("supervisor (process") == 1
    assert program.printed.count("tasks (4)") == 1, "the banner is shown once"
    assert re.search(r"worker +3 processes, concurrency 100", program.printed)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--workers", "0"), "--workers '0': give a whole number, 1 or more"),
        (("--max-jobs", "0"), "--max-jobs '0': give a whole number, 1 or more"),
        (("--max-rss", "512"), "--max-rss '512': invalid size"),
        (("--max-rss", "1mb"), "before its first job; give more than that"),
        (("--reload", "--burst"), "--reload and --burst exclude each other"),
        (("--workers", "3", "--concurrency", "0"), "--concurrency '0': give"),
        (("--workers", "3", "--url", "memory://"), "a memory:// queue lives in one process"),
    ],
)
async def test_mistakes(url: str, options: tuple[str, ...], told: str) -> None:
    """A wrong option is told once and alone, however many workers there are, and exits with 2."""
    async with supervised(url, *options) as program:
        assert await program.wait_end() == 2
    assert program.printed.count(told) == 1
    assert "Traceback" not in program.printed
    assert "supervisor" not in program.printed
