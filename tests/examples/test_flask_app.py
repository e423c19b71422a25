"""The example of Flask under gunicorn, which forks its workers after it has loaded the example."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

from aiostreamq import Queue
from tests.docs.page import blocks_of
from tests.examples.processes import free_port, running, worker
from tests.support.waiting import wait_until
from tests.support.warm_start import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

TEXT = {"text": "Abba!"}
COUNTS = {"a": 2, "b": 2}
TARGET = "examples.flask_app"


@asynccontextmanager
async def serving(url: str, *options: str) -> AsyncGenerator[httpx.AsyncClient, None]:
    """Serve the example; yield a client."""
    port = free_port()
    command = ("gunicorn", *options, "--bind", f"127.0.0.1:{port}", "--no-control-socket")
    async with (
        running("-m", *command, f"{TARGET}:app", url=url, until="Booting worker"),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        yield client


async def asked(client: httpx.AsyncClient, method: str, path: str, body: Any = None) -> Any:
    """Send a request; return the status and the JSON."""
    answer = await client.request(method, path, json=body)
    return answer.status_code, answer.json()


PRELOADED = ("--preload", "--workers", "2", "--threads", "8")


async def test_jobs(redis_url: str) -> None:
    """Requests enqueue, wait, look and cancel, in each of the processes that were forked."""
    async with serving(redis_url, *PRELOADED) as client:
        status, accepted = await asked(client, "POST", "/jobs", TEXT)
        assert status == 202
        path = f"/jobs/{accepted['id']}"
        assert (await asked(client, "GET", path))[1]["state"] == "queued"
        status, other = await asked(client, "POST", "/jobs", TEXT)
        cancelled = await asked(client, "DELETE", f"/jobs/{other['id']}")
        assert cancelled == (200, {"id": other["id"], "state": "queued"})
        async with worker(f"{TARGET}:queue", url=redis_url):
            answers = await asyncio.gather(
                *(asked(client, "POST", "/count", TEXT) for _ in range(100))
            )
            assert all((one[0], one[1]["counts"]) == (200, COUNTS) for one in answers)
            assert len({one[1]["id"] for one in answers}) == 100

            async def is_done() -> bool:
                return (await asked(client, "GET", path))[1]["counts"] == COUNTS

            await wait_until(is_done, "the first job to be done")
            status, refused = await asked(client, "POST", "/count", {"text": " "})
            assert status == 422
            assert "no letters" in refused["error"]


async def test_wrong_requests(redis_url: str) -> None:
    """A wrong request gets its answer from the handler, and makes no job."""
    async with serving(redis_url) as client:
        bodies: tuple[object, ...] = (None, [], {}, {"text": 1})
        for body in bodies:
            assert (await asked(client, "POST", "/jobs", body))[0] == 400
        assert (await asked(client, "GET", "/jobs/unknown"))[0] == 404
        assert (await asked(client, "DELETE", "/jobs/unknown"))[0] == 404
    async with Queue(redis_url, name="letters") as queue:
        assert [job async for job in queue.jobs()] == []


def test_documentation_shows_the_example() -> None:
    """The code of Flask in the documentation is that of the example."""
    example = (ROOT / "examples" / "flask_app.py").read_text()
    for page in ("web-frameworks", "sync-code"):
        shown = blocks_of((ROOT / "docs" / "how-to" / f"{page}.md").read_text())
        blocks = [block.text for block in shown if "-> Answer" in block.text]
        assert blocks
        for block in blocks:
            assert all(part in example for part in block.strip().split("\n\n\n"))
