"""The streaming example: its clients drop and come back, under its real server."""

from __future__ import annotations

import json
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio

from aiostreamq import JobState, Queue
from tests.examples.processes import free_port, running, worker
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# The servers take a second to start, so all tests share them, and the event loop of their clients.
pytestmark = pytest.mark.asyncio(loop_scope="module")

QUEUE = "examples.fastapi_stream:queue"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a Redis that is not emptied between the tests."""
    with RedisServer() as server:
        yield server.url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(url: str) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Clients of two server processes; one worker runs."""
    async with AsyncExitStack() as stack:
        clients: list[httpx.AsyncClient] = []
        for _ in range(2):
            port = str(free_port())
            server = ("uvicorn", "--host", "127.0.0.1", "--port", port, "--no-access-log")
            serving = running(
                "-m",
                *server,
                "examples.fastapi_stream:app",
                url=url,
                until="Uvicorn running",
                ends_with=-signal.SIGTERM,
            )
            await stack.enter_async_context(serving)
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)
            clients.append(await stack.enter_async_context(client))
        await stack.enter_async_context(worker(QUEUE, url=url))
        yield clients


async def begin(client: httpx.AsyncClient, **order: object) -> str:
    """Order a story; returns where to listen."""
    answer = await client.post("/stories", json={"topic": "a fox"} | order)
    assert answer.status_code == 202
    path: str = answer.json()["events"]
    return path


async def listen(
    client: httpx.AsyncClient, path: str, after: str | None, most: int | None = None
) -> list[dict[str, Any]]:
    """Read events as a browser does, and drop the connection after *most* of them."""
    told: list[dict[str, Any]] = []
    headers = {"last-event-id": after} if after is not None else {}
    async with client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: dict[str, Any] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            if name:
                event[name] = json.loads(value) if name == "data" else value
            else:
                told.append(event)
                event = {}
            if len(told) == most:
                break
    return told


def words(told: list[dict[str, Any]]) -> list[str]:
    """The words of the story."""
    return [one["data"]["value"] for one in told if one["event"] == "chunk"]


async def test_client_that_drops_and_comes_back(servers: list[httpx.AsyncClient]) -> None:
    """However often it drops, and whichever server it comes back to, it gets each event once."""
    path = await begin(servers[0], words=120, pause=0.005)
    told: list[dict[str, Any]] = []
    most = 1
    while not told or told[-1]["event"] != "end":
        after = told[-1]["id"] if told else None
        told += await listen(servers[most % 2], path, after, most)
        most += 3
    assert most > 10, "it has come back"
    assert told[-1]["data"] == "done"
    whole = await listen(servers[1], path, None)
    assert told == whole
    assert len(words(whole)) == 120
    assert words(whole)[:7] == ["Once", "upon", "a", "time", "there", "was", "a"]
    fractions = [one["data"]["fraction"] for one in whole if one["event"] == "progress"]
    assert fractions == [n / 12 for n in range(12)]


async def test_words_are_streamed_while_the_job_runs(
    servers: list[httpx.AsyncClient], url: str
) -> None:
    """Words come while the job continues, and not all at its end."""
    path = await begin(servers[0], words=20, pause=0.2)
    first = await listen(servers[0], path, None, 2)
    async with Queue(url, name="stories") as same:
        assert await same.job(path.split("/")[2]).status() is JobState.RUNNING
    rest = await listen(servers[1], path, first[-1]["id"])
    assert words(first) == ["Once"]
    assert len(words(rest)) == 19


async def test_a_job_that_fails(servers: list[httpx.AsyncClient]) -> None:
    """What came before is there, then why it failed; the response ends as others do."""
    path = await begin(servers[0], topic="")
    for _ in range(2):  # while it runs, and after its end
        told = await listen(servers[0], path, None)
        assert words(told) == ["Once"]
        assert told[-1] == {"event": "failed", "data": "ValueError: a story needs a topic"}


async def test_what_cannot_be_followed(servers: list[httpx.AsyncClient]) -> None:
    """An unknown job, and an id that no event has, are refused before anything is sent."""
    client = servers[0]
    assert (await client.get("/stories/never-was/events")).status_code == 404
    path = await begin(client, words=1, pause=0)
    wrong = await client.get(path, headers={"last-event-id": "the-last"})
    assert wrong.status_code == 404
    assert "is not an event id" in wrong.json()["detail"]
