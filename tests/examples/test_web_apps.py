"""The web examples, each under its real server, with a real worker on a real Redis."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import httpx
import pytest
import pytest_asyncio

from tests.examples.processes import free_port, running, worker
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

# The servers take half a second to start, so all tests of an example share its server, and the
# event loop of its client.
pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = {"text": "to be or not to be"}
COUNTS = {"to": 2, "be": 2, "or": 1, "not": 1}

CONNECTIONS = 100

Answer = tuple[int, Any]  # status, and the JSON of the body


class Client(Protocol):
    """What is asked of an HTTP client here."""

    async def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request."""
        ...


class HttpxClient:
    """httpx's client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request."""
        answer = await self._client.request(method, path, json=body)
        return answer.status_code, answer.json()


class AiohttpClient:
    """aiohttp's client."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request."""
        async with self._session.request(method, path, json=body) as answer:
            return answer.status, await answer.json()


@asynccontextmanager
async def fastapi_client(port: int) -> AsyncGenerator[Client, None]:
    """A client for the FastAPI example."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield HttpxClient(client)


@asynccontextmanager
async def aiohttp_client(port: int) -> AsyncGenerator[Client, None]:
    """A client for the aiohttp example. It opens 100 connections at most, as it comes."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield AiohttpClient(session)


class App:
    """A running example, its client, and how to start its worker."""

    def __init__(self, client: Client, port: int, queue: str, url: str) -> None:
        self.ask = client.ask
        self.port = port
        self._queue = queue
        self._url = url

    def worker(self) -> AbstractAsyncContextManager[None]:
        """A worker process, as a context."""
        return worker(self._queue, url=self._url)

    async def wait_ended(self, job_id: str) -> dict[str, Any]:
        """Ask for a job until it has ended; returns how it stands then."""
        standing: dict[str, Any] = {}

        async def has_ended() -> bool:
            status, body = await self.ask("GET", f"/jobs/{job_id}")
            assert status == 200
            standing.update(body)
            return body["status"] not in {"queued", "running"}

        await wait_until(has_ended, f"job {job_id} to end")
        return standing


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a Redis that is not emptied between the tests."""
    with RedisServer() as server:
        yield server.url


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["fastapi", "aiohttp"])
async def app(request: pytest.FixtureRequest, url: str) -> AsyncIterator[App]:
    """One of the examples, serving; no worker runs yet."""
    port = str(free_port())
    on = ("--host", "127.0.0.1", "--port", port)
    async with AsyncExitStack() as stack:
        if request.param == "fastapi":
            server = ("uvicorn", *on, "--no-access-log", "examples.fastapi_app:app")
            until, connect, queue = "Uvicorn running", fastapi_client, "examples.fastapi_app:queue"
            code = -signal.SIGTERM  # uvicorn ends in order, then by the signal it was sent
        else:
            server = ("aiohttp.web", "-H", on[1], "-P", port, "examples.aiohttp_app:make_app")
            until, connect, queue = "Running on", aiohttp_client, "examples.aiohttp_app:queue"
            code = 0
        serving = running("-m", *server, url=url, until=until, ends_with=code)
        await stack.enter_async_context(serving)
        client = await stack.enter_async_context(connect(int(port)))
        yield App(client, int(port), queue, url)


async def test_job_is_accepted_and_read_later(app: App) -> None:
    """A job stands as queued until a worker comes, and has its value afterwards."""
    status, body = await app.ask("POST", "/jobs", TEXT)
    assert status == 202
    job_id = body["id"]
    status, standing = await app.ask("GET", f"/jobs/{job_id}")
    assert (status, standing["status"]) == (200, "queued")
    async with app.worker():
        standing = await app.wait_ended(job_id)
    assert (standing["status"], standing["value"]) == ("done", COUNTS)


async def test_job_is_awaited(app: App) -> None:
    """The result comes with the answer to the request."""
    async with app.worker():
        assert await app.ask("POST", "/counts", TEXT) == (200, COUNTS)


async def test_failed_task_is_an_error_of_the_caller(app: App) -> None:
    """A task that raises is the caller's fault, awaited or not, and no crash of the server."""
    async with app.worker():
        status, body = await app.ask("POST", "/counts", {"text": ""})
        assert (status, body["detail"]) == (422, "there are no words in this text")
        _, accepted = await app.ask("POST", "/jobs", {"text": " "})
        standing = await app.wait_ended(accepted["id"])
    assert standing["status"] == "failed"
    assert standing["error"] == "ValueError: there are no words in this text"


async def test_what_cannot_be_answered_is_refused(app: App) -> None:
    """An id that no job has, or that could not be one, is 404; what is not a text is 422."""
    for job_id in ("never-was", "not%20an%20id", "0" * 300):
        status, body = await app.ask("GET", f"/jobs/{job_id}")
        assert (status, job_id) == (404, job_id)
        assert "there is no job" in body["detail"]
    for wrong in ({}, {"text": 5}, {"tetx": "typo"}, [1]):
        assert (await app.ask("POST", "/jobs", wrong))[0] == 422, wrong


@pytest.mark.parametrize("requests", [1_000, pytest.param(5_000, marks=pytest.mark.nightly)])
async def test_no_request_fails_under_load(app: App, requests: int) -> None:
    """Thousands of requests over 100 connections, of every kind, are all answered right."""
    # aiohttp's client for both: httpx takes ten times as long over so many connections.
    async with app.worker(), aiohttp_client(app.port) as client:
        _, accepted = await app.ask("POST", "/jobs", TEXT)
        await app.wait_ended(accepted["id"])
        kinds = [
            ("POST", "/jobs", TEXT),
            ("POST", "/counts", TEXT),
            ("GET", f"/jobs/{accepted['id']}", None),
            ("POST", "/counts", TEXT),
            ("GET", "/jobs/never-was", None),
        ]
        asked = iter([kinds[n % len(kinds)] for n in range(requests)])
        answered: Counter[tuple[str, str, int]] = Counter()

        async def one_connection() -> None:
            for method, path, body in asked:
                status, told = await client.ask(method, path, body)
                answered[method, path, status] += 1
                if path == "/counts":
                    assert told == COUNTS

        await asyncio.gather(*(one_connection() for _ in range(CONNECTIONS)))
    each = requests // len(kinds)
    assert answered == {
        ("POST", "/jobs", 202): each,
        ("POST", "/counts", 200): 2 * each,
        ("GET", f"/jobs/{accepted['id']}", 200): each,
        ("GET", "/jobs/never-was", 404): each,
    }
