"""What a worker tells systemd, heard at a real datagram socket."""

import logging
import os
import signal
import sys
import uuid
from pathlib import Path

import pytest

from aiostreamq import Queue, WorkerState
from aiostreamq.cli.process.systemd import notify_systemd, watchdog_seconds
from tests.support.notify_socket import NotifySocket
from tests.support.processes import Program, worker_program
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until


class Told:
    """A worker that is in the state that a test gives it."""

    state = WorkerState.STARTING


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where systemd listens, as the environment of this process tells it."""
    path = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    return path


async def test_through_a_life(address: str) -> None:
    """Ready once, however often it is cut off; stopping when it drains; a status for each."""
    worker = Told()
    states = (
        WorkerState.READY,
        WorkerState.CUT_OFF,
        WorkerState.READY,
        WorkerState.DRAINING,
        WorkerState.STOPPED,
    )
    with NotifySocket(address) as heard:
        async with notify_systemd(worker):
            await wait_until(lambda: heard.lines == ["STATUS=starting"], "the first status")
            for state in states:
                before = len(heard.lines)
                worker.state = state
                await wait_until(lambda before=before: len(heard.lines) > before, f"{state}")
            assert [line for line in heard.lines if not line.startswith("STATUS=")] == [
                "READY=1",
                "STOPPING=1",
            ]
            assert heard.count("STATUS=takes jobs") == 2
            assert heard.lines.index("READY=1") == 2
    assert heard.count("WATCHDOG=1") == 0


async def test_end_without_a_drain(address: str) -> None:
    """It is stopping all the same."""
    with NotifySocket(address) as heard:
        async with notify_systemd(Told()):
            pass
        await wait_until(lambda: heard.count("STOPPING=1") == 1, "the end")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")
async def test_abstract_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name after an "@" is no file."""
    address = f"@aiostreamq-test-{uuid.uuid4()}"
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    worker = Told()
    worker.state = WorkerState.READY
    with NotifySocket(address) as heard:
        async with notify_systemd(worker):
            await wait_until(lambda: heard.count("READY=1") == 1, "it to be ready")


async def test_watchdog(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign of life comes again and again."""
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with NotifySocket(address) as heard:
        async with notify_systemd(Told()):
            await wait_until(lambda: heard.count("WATCHDOG=1") >= 5, "signs of life")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        (None, None, None),
        ("", None, None),
        ("0", None, None),
        ("soon", None, None),
        ("30000000", None, 30.0),
        ("500000", "own", 0.5),
        ("500000", "parent", None),
    ],
)
def test_watchdog_seconds(
    monkeypatch: pytest.MonkeyPatch, usec: str | None, pid: str | None, seconds: float | None
) -> None:
    """Only what is asked of this process counts."""
    ids = {"own": str(os.getpid()), "parent": str(os.getppid())}
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", ids.get(pid or ""))):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert watchdog_seconds() == seconds


async def test_missing_notify_socket_is_logged_once(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """That is told once, harms nothing, and what was to be said is said as soon as it can be."""
    caplog.set_level(logging.WARNING)
    worker = Told()
    worker.state = WorkerState.READY
    async with notify_systemd(worker):
        await wait_until(lambda: "cannot notify systemd" in caplog.text, "the warning")
        with NotifySocket(address) as heard:
            await wait_until(lambda: heard.count("READY=1") == 1, "it to be told")
    assert caplog.text.count("cannot notify systemd") <= 2  # once more after the listener has gone


async def test_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    async with notify_systemd(Told()):
        pass


@pytest.mark.may_block("the test kills a server")
async def test_process(own_redis_server: RedisServer, tmp_path: Path, address: str) -> None:
    """A worker process says when it works and when it drains."""
    with NotifySocket(address) as heard:
        async with (
            Queue(own_redis_server.url, name="jobs") as queue,
            worker_program(own_redis_server.url) as program,
        ):
            await wait_until(lambda: heard.count("READY=1") == 1, "it to work")
            await queue.enqueue("wait_for_file", str(tmp_path / "gate"))
            await (await queue.enqueue("who"))
            assert heard.count("STOPPING=1") == 0
            program.send_signal(signal.SIGTERM)
            await wait_until(lambda: heard.count("STOPPING=1") == 1, "it to drain")
            (tmp_path / "gate").touch()
            assert await program.wait_end() == 0
        assert heard.count("READY=1") == heard.count("STOPPING=1") == 1


async def test_process_that_cannot_start(address: str) -> None:
    """It is never ready."""
    with NotifySocket(address) as heard:
        async with worker_program("redis://127.0.0.1:1") as program:
            assert await program.wait_end() == 1
        assert heard.count("READY=1") == 0


async def test_blocked_loop_shows_no_life(
    redis_url: str, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog of systemd sees what it is for."""
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    (tmp_path / "wedged.py").write_text(
        "import pathlib, time\n"
        "from aiostreamq import Queue\n"
        "queue = Queue(name='wedged')\n"
        "@queue.task\n"
        "async def block(started: str, gate: str) -> None:\n"
        "    pathlib.Path(started).touch()\n"
        "    while not pathlib.Path(gate).exists():\n"
        "        time.sleep(0.005)\n"
    )
    started, gate = tmp_path / "started", tmp_path / "gate"
    command = (
        "-m",
        "aiostreamq",
        "run",
        "wedged:queue",
        "--url",
        redis_url,
        "--loop-block-warning",
        "1",
    )
    with NotifySocket(address) as heard:
        async with (
            Queue(redis_url, name="wedged") as queue,
            Program(*command, where=tmp_path) as program,
        ):
            await wait_until(lambda: heard.count("WATCHDOG=1") >= 3, "signs of life")
            job = await queue.enqueue("block", str(started), str(gate))
            await wait_until(started.exists, "the loop to be blocked")
            before = heard.count("WATCHDOG=1")
            await program.wait_for_line("has been blocked for")
            assert heard.count("WATCHDOG=1") <= before + 1  # one may just have been sent
            gate.touch()
            await job
            await wait_until(lambda: heard.count("WATCHDOG=1") > before + 1, "life")
