"""Workers that are killed, paused or blocked: nothing is lost, and nobody answers twice."""

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aiostreamq import JobDead
from aiostreamq.model.keys import GROUP, Keys
from tests.integration.recovery_app import block, crash, nap, queue
from tests.support.waiting import PATIENCE, wait_until
from tests.support.warm_start import Fork, start_python

#: Seconds: the least there is, where workers die, and more where one must not be taken for dead
#: because its machine has held it up.
LEASE, LONG_LEASE = 1.0, 3.0

pytestmark = pytest.mark.may_block("the tests start and kill processes")

Process = Fork | subprocess.Popen[bytes]
Start = Callable[..., Process]


@pytest.fixture(autouse=True)
async def address(redis_url: str) -> AsyncGenerator[None]:
    """The empty store that this process's view of the queue is in; it is closed at the end."""
    queue.use_url(redis_url)
    yield
    await queue.aclose()  # a test that is cut short may have left it open, for all after it


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """The file where each start and end of a body is written down."""
    return tmp_path / "ledger"


@pytest.fixture
def start_worker(redis_url: str, ledger: Path, tmp_path: Path) -> Iterator[Start]:
    """A function that starts a worker process, with a short lease unless it is given another."""
    started: list[Process] = []

    def start(lease: float = LEASE) -> Process:
        command = ["-m", "aiostreamq", "run", "tests.integration.recovery_app:queue"]
        options = ["--url", redis_url, "--lease", str(lease), "--concurrency", "20"]
        environment = os.environ | {"LEDGER": str(ledger)}
        with (tmp_path / f"worker{len(started)}.log").open("w") as log:
            file = log.fileno()
            process = start_python(
                command + options, stdout=file, stderr=file, environment=environment
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def lines(ledger: Path) -> list[list[str]]:
    """What the ledger says: job, attempt, process, event."""
    return [line.split() for line in ledger.read_text().splitlines()] if ledger.exists() else []


def events(ledger: Path, event: str) -> list[str]:
    """The jobs of which *event* is written down, once for each time."""
    return [job for job, _, _, what in lines(ledger) if what == event]


async def test_killed_workers_jobs_run_elsewhere(start_worker: Start, ledger: Path) -> None:
    """After kill -9 every job ends: others take it over, and nobody has to say so."""
    victim = start_worker()
    jobs = await queue.enqueue_many(nap.bind(0.3) for _ in range(20))
    await wait_until(lambda: len(events(ledger, "start")) == 20, "the jobs to start")
    survivor = start_worker()
    await wait_until((ledger.parent / "worker1.log").read_text, "the survivor")
    more = await queue.enqueue_many(nap.bind(5.0) for _ in range(10))
    await wait_until(lambda: len(events(ledger, "start")) == 30, "more to start")
    victim.kill()
    orphans = {job for job, _, pid, _ in lines(ledger) if pid == str(victim.pid)}
    orphans -= set(events(ledger, "end"))

    def are_taken_over() -> bool:
        return orphans <= {job for job, _, pid, _ in lines(ledger) if pid == str(survivor.pid)}

    await wait_until(are_taken_over, "the orphans to start elsewhere")
    await asyncio.gather(*jobs, *more)
    assert set(events(ledger, "end")) == {job.id for job in (*jobs, *more)}


async def test_paused_worker_cannot_answer_late(
    redis_url: str, start_worker: Start, ledger: Path
) -> None:
    """A worker stopped past its lease loses its jobs; what it says afterwards is refused."""
    zombie = start_worker()
    job = await nap.enqueue(3.0)
    await wait_until(lambda: events(ledger, "start") == [job.id], "the job to start")
    zombie.send_signal(signal.SIGSTOP)
    heir = start_worker()
    assert await job == heir.pid
    zombie.send_signal(signal.SIGCONT)
    log = ledger.parent / "worker0.log"
    await wait_until(lambda: "taken for dead" in log.read_text(), "it to notice")
    assert await queue.job(job.id) == heir.pid
    # It continues under a new name.
    heir.send_signal(signal.SIGTERM)
    heir.wait()
    assert await (await nap.enqueue(0.0)) == zombie.pid
    # And the old one is forgotten.
    keys = Keys("recovery")
    async with Redis.from_url(redis_url) as client:
        workers = set(await client.hkeys(keys.workers))
        consumers = await client.xinfo_consumers(keys.stream("default"), GROUP)
        assert {one["name"] for one in consumers} == workers


async def test_refusal_names_both_workers(start_worker: Start, ledger: Path) -> None:
    """Who comes back with an outcome too late is told of in the log, and who has the job."""
    zombie = start_worker()
    job = await nap.enqueue(3.0)
    await wait_until(lambda: events(ledger, "start") == [job.id], "the job to start")
    over = time.monotonic() + 3.0
    zombie.send_signal(signal.SIGSTOP)
    heir = start_worker()
    await wait_until(lambda: len(events(ledger, "start")) == 2, "the heir to start it")
    await wait_until(lambda: time.monotonic() > over, "the body to have ended by its clock")
    zombie.send_signal(signal.SIGCONT)
    log = ledger.parent / "worker0.log"
    await wait_until(lambda: "outcome refused" in log.read_text(), "the refusal")
    told = rf"worker \S+-{zombie.pid}-\w+ had lost the job, worker \S+-{heir.pid}-\w+ has "
    assert re.search(told, log.read_text())
    assert await job == heir.pid


async def test_blocked_loop_keeps_its_lease_and_is_reported(
    start_worker: Start, ledger: Path
) -> None:
    """A job that blocks past the lease is named with its stack, and runs once."""
    owner = start_worker(LONG_LEASE)
    job = await block.enqueue(2 * LONG_LEASE)
    await wait_until(lambda: events(ledger, "start") == [job.id], "the job to start")
    start_worker(LONG_LEASE)
    assert await job == owner.pid
    log = (ledger.parent / "worker0.log").read_text()
    assert "has been blocked for" in log
    assert f"job:block:{job.id}" in log
    assert "time.sleep(seconds)" in log
    assert events(ledger, "start") == [job.id]


async def test_job_that_kills_workers_is_given_up(start_worker: Start, ledger: Path) -> None:
    """After three workers it is dead, and the fourth lives."""
    job = await crash.enqueue()
    for _ in range(3):
        start_worker().wait(timeout=PATIENCE)
    last = start_worker()
    with pytest.raises(JobDead, match="delivered 3 times") as caught:
        await job
    workers = re.findall(r"[\w.-]+-[0-9a-f]{8} at 20\d\d-\d\d-\d\d [\d:]{8} UTC", str(caught.value))
    assert len(set(workers)) == 3
    assert events(ledger, "start") == [job.id] * 3
    assert last.poll() is None
