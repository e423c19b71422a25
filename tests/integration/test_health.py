"""`/live` and `/ready`, over real sockets."""

import asyncio
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aiostreamq import Queue, UsageError, Worker, WorkerState
from aiostreamq.cli.process import health
from aiostreamq.cli.process.health import serve_health
from tests.support.http import Answer, ask, parse, send
from tests.support.processes import Program, worker_program
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until


class Told:
    """A worker that is in the state that a test gives it."""

    state = WorkerState.READY


@pytest.fixture
def worker() -> Told:
    """What is asked about."""
    return Told()


@pytest.fixture
async def port(worker: Told) -> AsyncIterator[int]:
    """Where it is asked about."""
    async with serve_health(worker, "127.0.0.1", 0) as port:
        yield port


@pytest.mark.parametrize("state", WorkerState)
async def test_probes_answer_by_the_state_of_the_worker(
    worker: Told, port: int, state: WorkerState
) -> None:
    """Live always; ready only in that state, and else with the reason."""
    worker.state = state
    live = await ask(port, "/live")
    assert (live.status, live.told) == (200, {"status": "live"})
    ready = await ask(port, "/ready")
    assert ready.status == (200 if state is WorkerState.READY else 503)
    assert ready.told["status"] == state
    assert ("reason" in ready.told) is (state is not WorkerState.READY)
    assert ready.headers["content-type"] == "application/json"
    assert ready.headers["cache-control"] == "no-store"
    assert ready.headers["content-length"] == str(len(ready.body))


async def test_head(worker: Told, port: int) -> None:
    """The same without the body."""
    got, head = await ask(port, "/ready"), await ask(port, "/ready", "HEAD")
    assert head == Answer(got.status, got.headers, b"")
    worker.state = WorkerState.CUT_OFF
    assert (await ask(port, "/ready", "HEAD")).status == 503


async def test_query(port: int) -> None:
    """What follows the path does not matter."""
    assert (await ask(port, "/ready?verbose=1")).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/live/", 404),
        ("POST", "/nothing", 404),
        ("POST", "/live", 405),
        ("DELETE", "/ready", 405),
        ("OPTIONS", "*", 404),
    ],
)
async def test_what_is_not_served(port: int, method: str, path: str, status: int) -> None:
    """Other paths are not found, other methods not allowed."""
    answer = await ask(port, path, method)
    assert answer.status == status
    assert answer.headers.get("allow") == ("GET, HEAD" if status == 405 else None)


@pytest.mark.parametrize(
    "request_line", [b"", b"GET", b"GET /live", b"GET  /live HTTP/1.1", b"\xff\x00 / SPDY/9"]
)
async def test_no_http(port: int, request_line: bytes) -> None:
    """It is told so, and the next one is served."""
    assert parse(await send(port, request_line + b"\r\n\r\n")).status == 400
    assert (await ask(port, "/live")).status == 200


async def test_too_much(port: int) -> None:
    """A request of any length is answered without being held in memory."""
    reply = await send(port, b"GET /live HTTP/1.1\r\n" + b"X: y\r\n" * 200_000)
    assert parse(reply).status == 431
    assert (await ask(port, "/live")).status == 200


async def test_too_slow(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not get to the end of a request is cut off, and keeps nobody from being served."""
    for patience in (3600, 0.1):
        monkeypatch.setattr(health, "PATIENCE", patience)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /live HT")
        if patience > PATIENCE:
            assert (await ask(port, "/live")).status == 200
        else:
            async with asyncio.timeout(PATIENCE):
                assert await reader.read() == b""
        writer.close()


async def test_too_many(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond some connections nobody is let in, until one of them is gone."""
    monkeypatch.setattr(health, "MOST_CONNECTIONS", 3)
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]

    async def is_turned_away() -> bool:
        try:
            return await send(port, b"GET /live HTTP/1.1\r\n\r\n") == b""
        except OSError:
            return True

    await wait_until(is_turned_away, "the three to be counted")
    for _, writer in held:
        writer.close()

    async def is_served() -> bool:
        return not await is_turned_away()

    await wait_until(is_served, "the three to be gone")


async def test_end_with_connections_open(worker: Told) -> None:
    """It closes what has not been asked yet, and the port is free."""
    async with serve_health(worker, "127.0.0.1", 0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await ask(port, "/live")
    async with asyncio.timeout(PATIENCE):
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(OSError, match=r"refused|failed"):
        await send(port, b"")


async def test_port_is_taken(worker: Told, port: int) -> None:
    """That is a mistake of whoever chose it, and is told with what to do."""
    with pytest.raises(UsageError, match=rf"port {port}: .*choose another --health-port"):
        async with serve_health(worker, "127.0.0.1", port):
            pass
    with pytest.raises(UsageError, match="port 70000"):
        async with serve_health(worker, "127.0.0.1", 70_000):
            pass


def has_ipv6() -> bool:
    """Say whether this machine has the loopback address of IPv6."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_ipv6(worker: Told, caplog: pytest.LogCaptureFixture) -> None:
    """Another family of addresses is given by its host."""
    caplog.set_level("INFO")
    async with serve_health(worker, "::1", 0) as port:
        reader, writer = await asyncio.open_connection("::1", port)
        writer.write(b"GET /live HTTP/1.1\r\n\r\n")
        assert parse(await reader.read()).status == 200
        writer.close()
    assert f"http://[::1]:{port}/live" in caplog.text


async def port_of(program: Program) -> int:
    """Where a worker process answers."""
    line = await program.wait_for_line("health: http://")
    found = re.search(r"http://127\.0\.0\.1:(\d+)/live", line)
    assert found, line
    return int(found[1])


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_process(redis_url: str, tmp_path: Path, loop: str) -> None:
    """A worker process is ready when it works, and live but not ready while it drains."""
    options = ("--health-port", "0", "--health-host", "127.0.0.1", "--loop", loop)
    async with (
        Queue(redis_url, name="jobs") as queue,
        worker_program(redis_url, *options) as program,
    ):
        port = await port_of(program)

        async def is_ready() -> bool:
            return (await ask(port, "/ready")).status == 200

        await wait_until(is_ready, "the worker to be ready")
        await queue.enqueue("wait_for_file", str(tmp_path / "gate"))
        job = await queue.enqueue("who")
        await job
        program.send_signal(signal.SIGTERM)
        await program.wait_for_line("draining")
        answer = await ask(port, "/ready")
        assert (answer.status, answer.told["status"]) == (503, "draining")
        assert (await ask(port, "/live")).status == 200
        (tmp_path / "gate").touch()
        assert await program.wait_end() == 0


@pytest.mark.may_block("the test kills a server")
async def test_process_without_redis(own_redis_server: RedisServer) -> None:
    """Redis away: live, not ready. Back: ready."""
    options = ("--health-port", "0", "--health-host", "127.0.0.1", "--lease", "1")
    async with worker_program(own_redis_server.url, *options) as program:
        port = await port_of(program)
        await program.wait_for_line("tasks (")

        async def status() -> int:
            return (await ask(port, "/ready")).status

        async def is_ready() -> bool:
            return await status() == 200

        async def is_not_ready() -> bool:
            return await status() == 503

        await wait_until(is_ready, "the worker to be ready")
        own_redis_server.kill()
        await wait_until(is_not_ready, "it to notice")
        assert (await ask(port, "/live")).status == 200
        assert (await ask(port, "/ready")).told["status"] == "cut_off"
        own_redis_server.start()
        await wait_until(is_ready, "it to be ready again")


async def test_blocked_loop_does_not_answer(redis_url: str, tmp_path: Path) -> None:
    """The silence is the answer. When the loop turns again, so does `/live`."""
    (tmp_path / "stuck.py").write_text(
        "import pathlib, time\n"
        "from aiostreamq import Queue\n"
        "queue = Queue(name='stuck')\n"
        "@queue.task\n"
        "async def block(started: str, gate: str) -> None:\n"
        "    pathlib.Path(started).touch()\n"
        "    while not pathlib.Path(gate).exists():\n"
        "        time.sleep(0.005)\n"
    )
    started, gate = tmp_path / "started", tmp_path / "gate"
    command = ("-m", "aiostreamq", "run", "stuck:queue", "--url", redis_url)
    options = ("--health-port", "0", "--health-host", "127.0.0.1")
    async with (
        Queue(redis_url, name="stuck") as queue,
        Program(*command, *options, where=tmp_path) as program,
    ):
        port = await port_of(program)
        assert (await ask(port, "/live")).status == 200
        job = await queue.enqueue("block", str(started), str(gate))
        await wait_until(started.exists, "the loop to be blocked")
        asking = asyncio.create_task(ask(port, "/live"))
        done, _ = await asyncio.wait([asking], timeout=0.3)
        assert not done
        gate.touch()
        assert (await asking).status == 200
        await job


async def test_port_of_a_process_is_taken() -> None:
    """It says so in one line and exits with 2, before it has asked for Redis."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        options = ("--health-port", port, "--health-host", "127.0.0.1")
        async with worker_program("redis://127.0.0.1:1", *options) as program:
            assert await program.wait_end() == 2
    assert "choose another --health-port" in program.printed
    assert "Traceback" not in program.printed


async def test_port_from_the_environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both options have their variables."""
    monkeypatch.setenv("AIOSTREAMQ_HEALTH_PORT", "0")
    monkeypatch.setenv("AIOSTREAMQ_HEALTH_HOST", "127.0.0.1")
    async with worker_program(redis_url) as program:
        assert (await ask(await port_of(program), "/live")).status == 200


async def test_embedded(redis_url: str) -> None:
    """A worker inside a program can have one too."""
    async with (
        Queue(redis_url) as queue,
        Worker(queue) as worker,
        serve_health(worker, "127.0.0.1", 0) as port,
    ):
        assert (await ask(port, "/ready")).status == 200
