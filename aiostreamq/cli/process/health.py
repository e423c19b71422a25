"""`--health-port`: HTTP probes of a process manager.

Rules of this file:

- `/live` is answered by the event loop that runs the jobs, without asking anything else. A loop
  that is blocked for good does not answer, and a process manager restarts it. Redis being away
  does not count against it.
- `/ready` reports whether the worker takes jobs. It does not ask Redis either: a probe must not
  wait for the server that it reports on.
- A client gets one answer, a few kilobytes for its request, and a few seconds. A request changes
  nothing, and an answer holds nothing about jobs.
- `/metrics` exists only if it was asked for, with `--metrics`. It names queues and tasks. It asks
  Redis, and gives up in time.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

from aiostreamq.errors import UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.worker_state import HasState, WorkerState

logger = get_logger("aiostreamq.cli")

# Bytes. Probes send a line and some headers.
LONGEST_REQUEST = 8192

# Seconds from the connection to the end of the answer.
PATIENCE = 5.0

# Connections at a time, more than probes ever need. Further ones are closed at once.
MOST_CONNECTIONS = 64

#: Answers `/metrics`: takes the method and the `Accept` header, and returns the status, the body
#: and its type.
Metrics = Callable[[str, str], Awaitable[tuple[int, bytes, str]]]

_JSON = "application/json"

_WHY_NOT_READY = {
    WorkerState.STARTING: "the worker has not started to take jobs",
    WorkerState.CUT_OFF: "Redis has not answered for a whole lease",
    WorkerState.STUCK: "all threads are stuck: `def` tasks cannot run, `async def` tasks can",
    WorkerState.BLOCKED: "a task has blocked the event loop for a whole lease",
    WorkerState.DRAINING: "the worker is draining: it takes no more jobs",
    WorkerState.STOPPED: "the worker has ended",
}


@asynccontextmanager
async def serve_health(
    worker: HasState, host: str, port: int, metrics: Metrics | None = None
) -> AsyncGenerator[int]:
    """Answer `/live` and `/ready` for *worker* while the block runs, and yield the port.

    Args:
        worker: The worker to report on, started or not.
        host: The address to listen at.
        port: The port to listen at; 0 for any free one.
        metrics: Answers `/metrics`; by default there is no such path.

    Raises:
        UsageError: The address or port cannot be used.

    Cancelling closes the port and the answers under way.
    """
    answers = _Answers(worker, metrics)
    try:
        server = await asyncio.start_server(answers.serve, host, port, limit=LONGEST_REQUEST)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen at {host}, port {port}: {error}; choose another --health-port"
        ) from error
    listening: int = server.sockets[0].getsockname()[1]
    paths = "/live and /ready" if metrics is None else "/live, /ready and /metrics"
    logger.info("health: http://%s:%d%s", _in_url(host), listening, paths)
    try:
        yield listening
    finally:
        server.close()
        await answers.close()


class _Answers:
    """The open connections, each with its one answer."""

    def __init__(self, worker: HasState, metrics: Metrics | None) -> None:
        self._worker = worker
        self._metrics = metrics
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
            # The answer has been sent, or the client does not read it: nothing to wait for.
            writer.close()

    async def close(self) -> None:
        """Abort the answers under way, and wait for their end."""
        # Not cancelled: Python 3.11 reports a cancelled answer as an error.
        for writer in self._open.values():
            writer.transport.abort()
        if self._open:
            await asyncio.wait(self._open)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return  # the client left without a request
        except asyncio.LimitOverrunError:
            response = _in_json("GET", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, None)
        else:
            response = await self._response_to(request)
        writer.write(response)
        await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        # A connection that is closed with bytes unread is reset, and its answer is lost.
        while await reader.read(LONGEST_REQUEST):
            pass

    async def _response_to(self, request: bytes) -> bytes:
        method, status, body = self._answer_to(request)
        if self._metrics is None or status is not HTTPStatus.NOT_FOUND or not _is_scrape(request):
            return _in_json(method, status, body)
        number, content, content_type = await self._metrics(method, _accept_of(request))
        return _response(HTTPStatus(number), content, content_type, method)

    def _answer_to(self, request: bytes) -> tuple[str, HTTPStatus, dict[str, str] | None]:
        """Return the method of a request, and the answer; None is the usual body of a status."""
        line = request.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(line) != 3 or not line[2].startswith("HTTP/1."):
            return "GET", HTTPStatus.BAD_REQUEST, None
        method, target, _ = line
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
    body = {"status": state.value, "reason": _WHY_NOT_READY[state]}
    return HTTPStatus.SERVICE_UNAVAILABLE, body


def _is_scrape(request: bytes) -> bool:
    target = request.partition(b"\r\n")[0].split(b" ")[1]
    return target.partition(b"?")[0] == b"/metrics"


def _accept_of(request: bytes) -> str:
    """Return the `Accept` header; empty if there is none."""
    lines = request.decode("latin-1").split("\r\n")[1:]
    fields = [line.partition(":") for line in lines]
    return ",".join(value.strip() for name, _, value in fields if name.lower() == "accept")


def _in_json(method: str, status: HTTPStatus, body: dict[str, str] | None) -> bytes:
    content = json.dumps(body or {"status": status.phrase}).encode() + b"\n"
    return _response(status, content, _JSON, method)


def _response(status: HTTPStatus, content: bytes, content_type: str, method: str) -> bytes:
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        head.append("Allow: GET, HEAD")
    headers = "\r\n".join([*head, "", ""]).encode()
    return headers if method == "HEAD" else headers + content


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
