"""Each framework's helpers, in an application under its real server, asked by a real client."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from aiostreamq import JobState, Worker
from tests.examples.processes import environment, free_port, running
from tests.frameworks.tasks import queue as tasks_queue
from tests.support.nightly import mostly_nightly
from tests.support.warm_start import ROOT

if TYPE_CHECKING:
    from _pytest.mark import ParameterSet

FRAMEWORKS = ("fastapi", "starlette", "aiohttp", "litestar")
WITH_BACKGROUND = ("fastapi", "starlette")


def some_by_day(*names: str) -> "list[ParameterSet]":
    """Return the frameworks for `parametrize`, of which `make test` runs those named."""
    return mostly_nightly([(name,) for name in FRAMEWORKS], but=[(name,) for name in names])


def command_of(framework: str, port: str) -> tuple[str, ...]:
    """Return the arguments of `python` that serve the application of a framework."""
    app = f"tests.frameworks.{framework}_app"
    if framework == "aiohttp":
        return ("-m", "aiohttp.web", "-H", "127.0.0.1", "-P", port, f"{app}:make_app")
    return ("-m", "uvicorn", "--host", "127.0.0.1", "--port", port, f"{app}:app")


def client_of(port: int) -> httpx.AsyncClient:
    """Return a client that keeps no connection: a server closes those of failed requests."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, limits=limits)


class App:
    """A running application and its client."""

    def __init__(self, framework: str, client: httpx.AsyncClient) -> None:
        self.framework = framework
        self.client = client

    async def enqueue(self, task: str, *arguments: object) -> str:
        """Enqueue a call; return the id of the job."""
        answer = await self.client.post(f"/jobs/{task}", json=arguments)
        assert answer.is_success, answer.text
        job_id: str = answer.json()["id"]
        return job_id

    async def events(self, job_id: str, after: str | None = None) -> list[tuple[str, Any, str]]:
        """Read the events of a job: their names, data and ids."""
        headers = {} if after is None else {"last-event-id": after}
        answer = await self.client.get(f"/jobs/{job_id}/events", headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        found: list[tuple[str, Any, str]] = []
        for event in answer.text.rstrip("\n").split("\n\n"):
            fields = dict(line.split(": ", 1) for line in event.splitlines())
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
        return found


@pytest.fixture
def framework(request: pytest.FixtureRequest) -> str:
    """Return the name of a framework."""
    name: str = request.param
    return name


def serving(
    framework: str, url: str, port: int, monkeypatch: pytest.MonkeyPatch, *, embedded: bool = True
) -> AbstractAsyncContextManager[None]:
    """Serve the application of a framework."""
    if embedded:
        monkeypatch.setenv("EMBEDDED", "1")
    return running(
        *command_of(framework, str(port)),
        url=url,
        until="Running on" if framework == "aiohttp" else "Uvicorn running",
        ends_with=0 if framework == "aiohttp" else -signal.SIGTERM,
    )


@pytest.fixture
async def app(
    framework: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[App]:
    """An application with a worker in its process."""
    port = free_port()
    async with (
        serving(framework, redis_url, port, monkeypatch),
        client_of(port) as client,
    ):
        yield App(framework, client)


async def check_handlers_find_their_queues(app: App) -> None:
    """The helpers give a handler the queue that is meant for it."""
    names = (await app.client.get("/names")).json()
    assert names[:2] == ["frameworks", "other"]
    if app.framework == "fastapi":
        assert names[2] == "hello"  # the application's own state is there too
        assert (await app.client.post("/mounted/jobs/add", json=[1, 2])).status_code == 200
        assert (await app.client.get("/unknown")).status_code == 500


async def check_events_of_a_job(app: App) -> None:
    """Each event is sent with its id; the end has the result, a failure its error."""
    events = await app.events(await app.enqueue("stream", 2))
    assert [name for name, _, _ in events] == ["progress", "chunk", "chunk", "end"]
    assert events[0][1]["message"] == "streaming"
    assert [data["value"] for _, data, _ in events[1:3]] == [{"text": "line 0"}, {"text": "line 1"}]
    assert events[-1] == ("end", None, "")
    assert await app.events(await app.enqueue("add", 1, 2)) == [("end", 3, "")]
    for job_id, error in (
        (await app.enqueue("add", 1, "2"), "JobFailed"),
        (await app.enqueue("forget"), "ResultNotKept"),
    ):
        *_, (name, data, _) = await app.events(job_id)
        assert (name, data["error"]) == ("failed", error)
        assert data["message"]


async def check_browser_continues_where_it_was(app: App) -> None:
    """`Last-Event-ID` skips what was read; an invalid one, or an unknown job, is refused."""
    job_id = await app.enqueue("stream", 3)
    events = await app.events(job_id)
    for place, (_, _, event_id) in enumerate(events[:-1]):
        assert await app.events(job_id, after=event_id) == events[place + 1 :]
    wrong = {"last-event-id": "never"}
    assert (await app.client.get(f"/jobs/{job_id}/events", headers=wrong)).status_code == 400
    assert (await app.client.get("/jobs/unknown/events")).status_code == 404


async def check_client_that_goes_away(app: App) -> None:
    """The sending ends with the connection, and the server works on."""
    job_id = await app.enqueue("stream", 10_000)
    async with app.client.stream("GET", f"/jobs/{job_id}/events") as answer:
        async for _ in answer.aiter_bytes():
            break
    assert (await app.client.get("/names")).status_code == 200
    assert (await app.events(job_id))[-1][0] == "end"


async def check_jobs_are_enqueued_after_the_response(app: App) -> None:
    """Background calls become jobs; a wrong call is an error of the request."""
    if app.framework not in WITH_BACKGROUND:
        return
    numbers = [1, 2, 3] if app.framework == "fastapi" else [1]
    answer = await app.client.post("/later", json=numbers)
    assert answer.json() == {"count": len(numbers)}
    assert (await app.client.post("/wrong")).status_code == 500
    for number in numbers:
        assert await app.events(f"later-{number}") == [("end", number + 1, "")]


CHECKS = (
    check_handlers_find_their_queues,
    check_events_of_a_job,
    check_browser_continues_where_it_was,
    check_client_that_goes_away,
    check_jobs_are_enqueued_after_the_response,
)


@pytest.mark.parametrize("framework", some_by_day("fastapi", "aiohttp"), indirect=True)
async def test_application(app: App) -> None:
    """All that the helpers promise, with one server: it takes a second to start."""
    for check in CHECKS:
        await check(app)


@pytest.mark.parametrize("framework", some_by_day("starlette"), indirect=True)
async def test_embedded_worker_drains(
    framework: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is events to end lets the jobs of its worker end first."""
    port = free_port()
    async with (
        client_of(port) as client,
        serving(framework, redis_url, port, monkeypatch),
    ):
        app = App(framework, client)
        await app.enqueue("add", 1, 1)
        job_id = await app.enqueue("last", "x")
    tasks_queue.use_url(redis_url)
    async with tasks_queue:
        job = tasks_queue.job(job_id)
        # The job may have been enqueued and not begun: then it waits, and is not lost.
        if await job.status() is JobState.QUEUED:
            async with Worker(tasks_queue):
                assert await job == "x"
        assert await job == "x"


@pytest.mark.parametrize("framework", some_by_day("aiohttp"), indirect=True)
def test_server_does_not_start_without_redis(framework: str) -> None:
    """If Redis cannot be reached, the server says so and ends."""
    url = f"redis://127.0.0.1:{free_port()}"
    ended = subprocess.run(
        [sys.executable, *command_of(framework, str(free_port()))],
        env=environment(url) | {"PATH": os.environ["PATH"]},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "QueueUnavailable" in ended.stderr
