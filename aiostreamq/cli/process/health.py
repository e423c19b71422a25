"""`--health-port`: two questions that a process manager may ask over HTTP.

Rules of this file:

- `/live` is answered by the event loop that runs the jobs, and asks nothing of
  anybody. So a loop that is blocked for good does not answer, and that is the
  answer: restart it. A Redis that is away is no reason to.
- `/ready` says whether the worker takes jobs. It asks nothing of Redis either: a
  probe must not wait for what it reports on.
- Whoever connects gets one answer, a few kilobytes to ask it in, and a few
  seconds. What is asked changes nothing, and the answers tell nothing of the jobs.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

from aiostreamq.errors import UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.worker_state import HasState, WorkerState

logger = get_logger("aiostreamq.cli")

# Bytes. Probes send a line and some headers.
LONGEST_REQUEST = 8192

# Seconds from connecting to having the answer.
PATIENCE = 5.0

# More than any number of probes; whoever connects on top of those is turned away.
MOST_CONNECTIONS = 64

_WHY_NOT_READY = {
    WorkerState.STARTING: "the worker has not begun to take jobs",
    WorkerState.CUT_OFF: "Redis has not answered for a whole lease",
    WorkerState.STUCK: "all threads are stuck: no `def` task can run, others do",
    WorkerState.BLOCKED: "a task has blocked the event loop for a whole lease",
    WorkerState.DRAINING: "the worker is draining: it takes no more jobs",
    WorkerState.STOPPED: "the worker has ended",
}


@asynccontextmanager
async def serve_health(worker: HasState, host: str, port: int) -> AsyncGenerator[int]:
    """Answer `/live` and `/ready` for *worker* while the block runs; gives the port.

    Args:
        worker: Whose state is told. It need not have been started.
        host: The address to listen at.
        port: 0 takes any that is free.

    Raises:
        UsageError: The address cannot be listened at.

    Cancelling ends the listening and the answers under way.
    """
    answers = _Answers(worker)
    try:
        server = await asyncio.start_server(answers.serve, host, port, limit=LONGEST_REQUEST)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen at {host}, port {port}: {error}; choose another --health-port"
        ) from error
    listening: int = server.sockets[0].getsockname()[1]
    logger.info("health: http://%s:%d/live and /ready", _in_url(host), listening)
    try:
        yield listening
    finally:
        server.close()
        await answers.close()


class _Answers:
    """The connections that are open, each with its one answer."""

    def __init__(self, worker: HasState) -> None:
        self._worker = worker
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection and close it."""
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        self._open[task] = writer
        try:
            with suppress(TimeoutError, OSError):
                async with asyncio.timeout(PATIENCE):
                    await self._answer(reader, writer)
        finally:
            del self._open[task]
            # What is written has been sent, or its reader does not read: nothing to wait for.
            writer.close()

    async def close(self) -> None:
        """End what is under way."""
        # Not cancelled: Python 3.11 reports a cancelled answer as an error.
        for writer in self._open.values():
            writer.transport.abort()
        if self._open:
            await asyncio.wait(self._open)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return  # it left without having asked
        except asyncio.LimitOverrunError:
            status, body = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, None
            method = "GET"
        else:
            method, status, body = self._judge(request)
        writer.write(_response(status, body or {"status": status.phrase}, method))
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        # Closed with bytes unread, the connection would be reset, and the answer
        # with it.
        while await reader.read(LONGEST_REQUEST):
            pass

    def _judge(self, request: bytes) -> tuple[str, HTTPStatus, dict[str, str] | None]:
        """The method of a request, and what to answer; no body is the usual one of the status."""
        words = request.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return "GET", HTTPStatus.BAD_REQUEST, None
        method, target, _ = words
        path = target.partition("?")[0]
        if path not in {"/live", "/ready"}:
            return method, HTTPStatus.NOT_FOUND, None
        if method not in {"GET", "HEAD"}:
            return method, HTTPStatus.METHOD_NOT_ALLOWED, None
        if path == "/live":
            return method, HTTPStatus.OK, {"status": "live"}
        return method, *_readiness(self._worker.state)


def _readiness(state: WorkerState) -> tuple[HTTPStatus, dict[str, str]]:
    if state is WorkerState.READY:
        return HTTPStatus.OK, {"status": state.value}
    told = {"status": state.value, "reason": _WHY_NOT_READY[state]}
    return HTTPStatus.SERVICE_UNAVAILABLE, told


def _response(status: HTTPStatus, body: dict[str, str], method: str) -> bytes:
    content = json.dumps(body).encode() + b"\n"
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        head.append("Allow: GET, HEAD")
    written = "\r\n".join([*head, "", ""]).encode()
    return written if method == "HEAD" else written + content


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
