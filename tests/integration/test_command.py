"""The command line, as a process of its own."""

import json
import re
import signal
from pathlib import Path

import pytest

import aiostreamq
from aiostreamq import Job, JobState, Queue
from tests.support.processes import ROOT, Program, worker_program
from tests.support.waiting import wait_until

# Looked up once: it is read from the installed package, which blocks.
VERSION = aiostreamq.__version__


async def is_running(job: Job[object]) -> bool:
    """Say whether a worker has it."""
    return await job.status() is JobState.RUNNING


async def test_banner(redis_url: str) -> None:
    """It says what runs where: version, Redis, queue, lanes, concurrency, tasks."""
    async with worker_program(
        redis_url, "--concurrency", "7", "--name", "till", "--burst"
    ) as worker:
        assert await worker.wait_end() == 0
    told = worker.printed
    assert f"aiostreamq {VERSION} on " in told
    assert re.search(r"on (Redis|Valkey) \d+\.\d+", told)
    assert re.search(r"queue +jobs, lanes default", told)
    assert re.search(r"worker +till-[0-9a-f]+, concurrency 7", told)
    assert re.search(r"tasks \(5\) +add, block_for_file, fail, wait_for_file, who", told)
    assert f"at {redis_url.removeprefix('redis://').removesuffix('/0')}, database 0" in told
    settings = re.search(r"settings +(.*)", told)
    assert settings
    assert settings[1].startswith("concurrency 7 (--concurrency), loop ")
    assert "lease 15 s (default)" in settings[1]
    assert "url (--url)" in settings[1]


async def test_burst(redis_url: str) -> None:
    """It runs what there is and ends."""
    async with Queue(redis_url, name="jobs") as queue:
        jobs = [await queue.enqueue("add", n, 1) for n in range(30)]
        async with worker_program(redis_url, "--burst") as worker:
            assert await worker.wait_end() == 0
        assert [await job for job in jobs] == [n + 1 for n in range(30)]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_sigterm_drains_the_worker(redis_url: str, tmp_path: Path, loop: str) -> None:
    """On SIGTERM it lets running jobs end, loses none, and ends in good order."""
    async with (
        Queue(redis_url, name="jobs") as queue,
        worker_program(redis_url, "--loop", loop) as worker,
    ):
        await worker.wait_for_line("tasks (5)")
        assert await (await queue.enqueue("add", 1, 2)) == 3
        slow = await queue.enqueue("wait_for_file", str(tmp_path / "gate"))
        await wait_until(lambda: is_running(slow), "the job to run")
        worker.send_signal(signal.SIGTERM)
        await worker.wait_for_line("draining")
        late = await queue.enqueue("add", 1, 2)
        (tmp_path / "gate").touch()
        assert await worker.wait_end() == 0
        assert await slow == str(tmp_path / "gate")
        # A read that was under way may have brought it; then it was run, else it waits.
        assert await late.status() in {JobState.QUEUED, JobState.DONE}


@pytest.mark.parametrize("task", ["wait_for_file", "block_for_file"])
async def test_second_signal(redis_url: str, tmp_path: Path, task: str) -> None:
    """It leaves at once; the job has not ended."""
    async with Queue(redis_url, name="jobs") as queue, worker_program(redis_url) as worker:
        job = await queue.enqueue(task, str(tmp_path / "gate"))
        await wait_until(lambda: is_running(job), "the job to run")
        worker.send_signal(signal.SIGINT)
        await worker.wait_for_line("draining")
        worker.send_signal(signal.SIGINT)
        await worker.wait_end()
        assert "leaving at once" in worker.printed
        assert await job.status() in {JobState.RUNNING, JobState.QUEUED}


async def test_json_logs(redis_url: str) -> None:
    """Every line is a JSON object, the banner included."""
    async with Queue(redis_url, name="jobs") as queue:
        await queue.enqueue("fail", "no tea")
        await queue.enqueue("no.such.task")
        async with worker_program(redis_url, "--burst", "--log-format", "json") as worker:
            assert await worker.wait_end() == 0
    logged = [json.loads(line) for line in worker.lines]
    banner = logged[0]
    assert banner["message"].startswith("aiostreamq ")
    assert (banner["queue"], banner["processes"]) == ("jobs", 1)
    assert {"fail", "add"} <= set(banner["tasks"])
    assert "lease 15 s (default)" in banner["settings"]
    assert all({"at", "level", "logger", "message"} <= set(one) for one in logged)
    failed = next(one for one in logged if one.get("task") == "fail")
    assert failed["attempt"] == 1
    assert failed["job_id"]
    assert failed["level"] == "error"
    assert failed["message"] == "job failed with ValueError: no tea"
    assert failed["traceback"].endswith("ValueError: no tea")


async def test_environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options may come from the environment."""
    monkeypatch.setenv("AIOSTREAMQ_CONCURRENCY", "3")
    monkeypatch.setenv("AIOSTREAMQ_URL", redis_url)
    monkeypatch.setenv("AIOSTREAMQ_BURST", "1")
    monkeypatch.setenv("AIOSTREAMQ_LOG_JOBS", "no")
    async with Program("-m", "aiostreamq", "run", "tests.support.jobs:queue") as worker:
        assert await worker.wait_end() == 0
    assert "concurrency 3" in worker.printed
    assert "burst (AIOSTREAMQ_BURST)" in worker.printed
    assert "log jobs off (AIOSTREAMQ_LOG_JOBS)" in worker.printed
    assert "concurrency 3 (AIOSTREAMQ_CONCURRENCY)" in worker.printed
    assert "url (AIOSTREAMQ_URL)" in worker.printed


async def test_empty_variables(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They count as not set, whatever the option is."""
    options = ("LANES", "MAX_JOBS", "MAX_RSS", "LEASE", "LOOP", "LOG_CONFIG", "HEALTH_PORT")
    for option in ("URL", "CONCURRENCY", "WORKERS", "NAME", "LOG_LEVEL", "IMPORT", *options):
        monkeypatch.setenv(f"AIOSTREAMQ_{option}", "")
    async with worker_program(redis_url, "--burst") as worker:
        assert await worker.wait_end() == 0
    assert "concurrency 100 (default)" in worker.printed


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("CONCURRENCY", "0", "--concurrency '0': give a whole number, 1 or more"),
        ("HEALTH_PORT", "99999999", "--health-port '99999999': give a whole number, 0 to 65535"),
        ("LOOP", "nolo", "--loop 'nolo': give one of auto, asyncio, uvloop"),
        ("MAX_WORKER_DEATHS", "0", "--max-worker-deaths '0': give a whole number, 1 or more"),
        (
            "LOOP_BLOCK_WARNING",
            "a bit",
            "--loop-block-warning 'a bit': invalid duration; give seconds",
        ),
        ("LEASE", "0.1", "--lease '0.1' is too short: give 1 s or more"),
        ("BURST", "maybe", "--burst 'maybe': give 1 or 0"),
    ],
)
async def test_mistake_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    """It is told as if it had been typed, with the name of the variable."""
    monkeypatch.setenv(f"AIOSTREAMQ_{variable}", value)
    async with worker_program("redis://127.0.0.1:1") as worker:
        assert await worker.wait_end() == 2
    assert told in worker.printed
    assert f"(from AIOSTREAMQ_{variable})" in worker.printed
    assert "Traceback" not in worker.printed


@pytest.mark.parametrize("command", ["run", "info"])
async def test_invalid_url_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """The error names the variable, whatever the command is."""
    monkeypatch.setenv("AIOSTREAMQ_URL", "localhost:6379")
    async with Program("-m", "aiostreamq", command, "tests.support.jobs:queue") as program:
        assert await program.wait_end() == 2
    assert "(from AIOSTREAMQ_URL)" in program.printed
    assert "Traceback" not in program.printed


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "tests.support.jobs"), "write package.module:name"),
        (("run", "tests.support.jbos:queue"), "no module 'tests.support.jbos'"),
        (("run", "tests.support.jobs:queu"), "its queues are queue"),
        (("run", "tests.support.jobs:VERSION"), "is a str, not a Queue: its queues are queue"),
        (("run", "tests.support.jobs:add"), "is an AsyncTask, not a Queue: its queues are queue"),
        (("run", "./tests/support/jobs:queue"), "give the module, tests.support.jobs:queue"),
        (("run", "tests/support/jobs.py:queue"), "give the module, tests.support.jobs:queue"),
        (("run", str(ROOT / "tests/support/jobs.py:queue")), "tests.support.jobs:queue"),
        (("run", "conftest.py:queue"), "give the module, conftest:queue"),
        (("run", ".tests.support.jobs:queue"), "give the module, tests.support.jobs:queue"),
        (
            ("run", "/nowhere/app.py:queue"),
            "change to the folder /nowhere and give the module, app:",
        ),
        (("run", "redis://localhost:6379"), "the target is a URL"),
        (("run", "tests.support.jobs:queue", "--import", "tests.support.jbos"), "no module"),
        (("run", "tests.support.jobs:queue", "--import", "tests/support/jobs.py"), "the module,"),
        (("run", "tests.support.jobs:queue", "--log-config", "/nowhere"), "there is no such file"),
        (
            ("run", "tests.support.jobs:queue", "--log-level", "loud"),
            "--log-level 'loud': give debug",
        ),
        (("run", "tests.support.jobs:queue", "--concurrency", "0"), "--concurrency '0': give"),
        (("run", "tests.support.jobs:queue", "--processes", "many"), "--processes 'many': give"),
        (
            ("run", "tests.support.jobs:queue", "--shutdown-timeout", "-1"),
            "--shutdown-timeout '-1'",
        ),
        (("run", "tests.support.jobs:queue", "--health-port", "65536"), "--health-port '65536'"),
        (("run", "tests.support.jobs:queue", "--log-format", "xml"), "--log-format 'xml': give"),
        (("run", "tests.support.jobs:queue", "--url", "http://x"), "invalid Redis URL"),
        (("walk",), "invalid choice"),
        ((), "usage: aiostreamq"),
    ],
)
async def test_mistakes(arguments: tuple[str, ...], told: str) -> None:
    """A wrong command line is told in one message, without a traceback, and exits with 2."""
    async with Program("-m", "aiostreamq", *arguments) as program:
        assert await program.wait_end() == 2
    assert told in program.printed
    assert "Traceback" not in program.printed


async def test_memory() -> None:
    """A worker on memory:// warns that other programs cannot enqueue."""
    async with worker_program("memory://", "--burst") as worker:
        assert await worker.wait_end() == 0
    assert worker.printed.count("WARNING") == 1
    assert "other programs cannot enqueue here" in worker.printed


async def test_version() -> None:
    """It is told on one line, without a queue."""
    async with Program("-m", "aiostreamq", "--version") as program:
        assert await program.wait_end() == 0
    assert program.lines == [f"aiostreamq {VERSION}"]


async def test_no_redis() -> None:
    """Where there is no Redis that is what is said."""
    async with worker_program("redis://127.0.0.1:1") as worker:
        assert await worker.wait_end() == 1
    assert "Redis could not be reached" in worker.printed
    assert "Traceback" not in worker.printed
