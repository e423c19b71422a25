"""The page about following jobs: its server-sent events, under a real server with a real client."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from aiostreamq import Job, Queue, Worker
from tests.docs.page import blocks_of
from tests.examples.processes import free_port, running

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "follow-jobs.md"


async def tell(words: int, *, fails: bool = False) -> AsyncIterator[str]:
    """Stream, and fail in the end."""
    for _ in range(words):
        yield "word"
    if fails:
        raise ValueError("no more")


@pytest.fixture
async def client(redis_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the page's application."""
    (app,) = [
        block.text for block in blocks_of(PAGE.read_text()) if block.text.startswith("# app.py")
    ]
    (tmp_path / "sse_of_the_page.py").write_text(app)
    port = str(free_port())
    server = ("uvicorn", "--host", "127.0.0.1", "--port", port, "--no-access-log")
    async with (
        running(
            *("-m", *server, "sse_of_the_page:app"),
            url=redis_url,
            cwd=tmp_path,
            until="Uvicorn running",
            ends_with=-signal.SIGTERM,
        ),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        yield client


async def listen(client: httpx.AsyncClient, job_id: str) -> list[tuple[str, object]]:
    """Read all that is sent of a job: the names of the events, and their data."""
    answer = await client.get(f"/jobs/{job_id}/events")  # raises if the response breaks off
    assert answer.status_code == 200
    told: list[tuple[str, object]] = []
    for event in answer.text.rstrip("\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.splitlines())
        told.append((fields["event"], json.loads(fields["data"])))
    return told


async def test_each_end_sends_its_event(client: httpx.AsyncClient, redis_url: str) -> None:
    """A job that failed, was cancelled, keeps no result or is unknown ends with `failed`."""
    async with Queue(redis_url, name="stories") as queue:
        task = queue.task(tell)
        done = await task.enqueue(2)
        failing = await task.enqueue(1, fails=True)
        later = await task.using(delay="1h").enqueue(1)
        await later.cancel()
        async with Worker(queue):
            assert [name for name, _ in await listen(client, done.id)] == ["chunk"] * 2 + ["end"]
            assert await ends(client, failing) == (["chunk"], "ValueError: no more")
            assert await ends(client, later) == ([], "The job was cancelled before it ended.")
        for job in (done, failing):  # also when all is over
            assert (await listen(client, job.id))[-1][0] in {"end", "failed"}
        names, why = await ends(client, queue.job("unknown"))
        assert names == []
        assert "No job has this id" in why


async def ends(client: httpx.AsyncClient, job: Job[object] | Job[None]) -> tuple[list[str], str]:
    """Read of a job that failed: what came before the end, and what that says."""
    *before, (name, why) = await listen(client, job.id)
    assert name == "failed"
    return [name for name, _ in before], str(why)
