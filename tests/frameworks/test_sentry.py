"""Sentry, with its real SDK and a transport that keeps what it gets."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest
import sentry_sdk
from sentry_sdk.transport import Transport

from aiostreamq import Drop, JobDropped, JobFailed, Queue, UsageError, Worker
from aiostreamq.contrib.sentry import instrument
from tests.frameworks.test_opentelemetry import app_queue
from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sentry_sdk.envelope import Envelope

WHERE = ("on_loop", "in_thread", "in_process")


class Kept(Transport):
    """A transport that keeps events and transactions."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[dict[str, Any]] = []
        self.gate = threading.Event()
        self.gate.set()

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep it."""
        self.gate.wait(PATIENCE)
        for item in envelope.items:
            if item.type in {"event", "transaction"} and item.payload.json is not None:
                self.sent.append(item.payload.json)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the transactions, or the errors."""
        return [one for one in self.sent if (one.get("type") == "transaction") == (kind != "error")]

    async def wait_for(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait for a number of them."""
        await wait_until(lambda: len(self.of(kind)) >= count, f"{count} of {kind}")
        found = self.of(kind)
        assert len(found) == count, found
        return found


@pytest.fixture
def sentry() -> Iterator[Kept]:
    """Begin with Sentry, and end it."""
    transport = Kept()
    scope = sentry_sdk.get_global_scope()
    before = scope.client
    sentry_sdk.init(
        "http://a@localhost/1",
        transport=transport,
        traces_sample_rate=1.0,
        auto_enabling_integrations=False,
    )
    yield transport
    scope.set_client(before)


@pytest.fixture
async def queue(store_url: str) -> AsyncIterator[Queue]:
    """An open queue with the tasks of the application."""
    async with app_queue(store_url) as queue:
        yield queue


def data_of(transaction: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a transaction."""
    return transaction["contexts"]["trace"]["data"]


@pytest.mark.parametrize("task", WHERE)
async def test_transaction_of_a_job(queue: Queue, sentry: Kept, task: str) -> None:
    """A run continues the trace of the enqueue, which is a span there; log lines name it."""
    instrument(queue)
    async with Worker(queue, processes=1) as worker:
        with sentry_sdk.start_transaction(op="http.server", name="request"):
            job = await queue.enqueue(task)
        _, lines, headers = await job  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        name = worker.name
        found = await sentry.wait_for("transaction", 2)
    request, run = sorted(found, key=lambda one: one["transaction"] != "request")
    [published] = request["spans"]
    assert (published["op"], published["description"]) == ("queue.publish", task)
    assert published["data"]["messaging.destination.name"] == "observed"
    about = run["contexts"]["trace"]
    assert (run["transaction"], about["op"]) == (task, "queue.process")
    assert about["trace_id"] == request["contexts"]["trace"]["trace_id"]
    assert about["parent_span_id"] == published["span_id"]
    assert about["status"] == "ok"
    data = data_of(run)
    assert data["messaging.message.id"] == job.id
    assert data["messaging.destination.name"] == "observed"
    assert data["messaging.message.retry.count"] == 0
    assert 0 <= data["messaging.message.receive.latency"] < PATIENCE * 1000
    expected = {"task": task, "job_id": job.id, "attempt": 1, "worker": name}
    assert lines == [expected | {"trace_id": about["trace_id"]}] * 2
    assert about["trace_id"] in headers["sentry-trace"]
    assert sentry.of("error") == []


@pytest.mark.parametrize("every_attempt", [False, True])
@pytest.mark.parametrize("task", ["fail", "fail_in_thread", "fail_in_process"])
async def test_exceptions(queue: Queue, sentry: Kept, task: str, every_attempt: bool) -> None:
    """An exception is reported once, at the last attempt, unless each is asked for."""
    instrument(queue, every_attempt=every_attempt)
    attempts = 3 if task == "fail" else 1
    async with Worker(queue, processes=1):
        job = await queue.enqueue(task)
        with pytest.raises(JobFailed):
            await job
        runs = await sentry.wait_for("transaction", attempts)
        errors = await sentry.wait_for("error", attempts if every_attempt else 1)
    assert {run["contexts"]["trace"]["status"] for run in runs} == {"internal_error"}
    counts = [data_of(run)["messaging.message.retry.count"] for run in runs]
    assert sorted(counts) == list(range(attempts))
    for error in errors:
        value = error["exception"]["values"][-1]
        assert (value["type"], value["value"]) == ("ValueError", "no tea")
        assert value["mechanism"] == {"type": "aiostreamq", "handled": False}
        assert error["tags"] == {"aiostreamq.queue": "observed", "aiostreamq.task": task}
        assert error["contexts"]["aiostreamq"]["job_id"] == job.id
    last = errors[-1]
    assert last["contexts"]["aiostreamq"]["attempt"] == attempts
    [run] = [one for one in runs if data_of(one)["messaging.message.retry.count"] == attempts - 1]
    assert last["contexts"]["trace"]["trace_id"] == run["contexts"]["trace"]["trace_id"]
    assert ("stacktrace" in last["exception"]["values"][-1]) is (task != "fail_in_process")
    if task == "fail_in_process":
        assert "in fail_in_process" in last["extra"]["traceback"]


async def test_control_flow_is_not_reported(queue: Queue, sentry: Kept) -> None:
    """A job that a task drops has not failed."""

    @queue.task
    async def drop() -> None:
        raise Drop("not needed")

    instrument(queue)
    async with Worker(queue):
        with pytest.raises(JobDropped):
            await (await drop.enqueue())
        [run] = await sentry.wait_for("transaction")
    assert run["contexts"]["trace"]["status"] == "ok"
    assert sentry.of("error") == []


async def test_scopes_are_apart(queue: Queue, sentry: Kept) -> None:
    """The report of a job has its own tags and lines, and none of another one."""
    instrument(queue)
    both = asyncio.Barrier(2)

    @queue.task
    async def fail_as(name: str) -> None:
        sentry_sdk.set_tag("name", name)
        logging.getLogger("observed").warning("about %s", name)
        await both.wait()
        raise ValueError(name)

    async with Worker(queue):
        jobs = [await fail_as.enqueue(name) for name in ("ann", "bob")]
        await asyncio.gather(*jobs, return_exceptions=True)
        errors = await sentry.wait_for("error", 2)
    for error in errors:
        name = error["exception"]["values"][-1]["value"]
        assert error["tags"]["name"] == name
        crumbs = [one["message"] for one in error["breadcrumbs"]["values"]]
        assert [one for one in crumbs if one.startswith("about")] == [f"about {name}"]


async def test_bulk(queue: Queue, sentry: Kept) -> None:
    """A chunk of `enqueue_many` is one span."""
    instrument(queue)
    task = queue.tasks["on_loop"]
    async with Worker(queue):
        with sentry_sdk.start_transaction(op="http.server", name="request"):
            jobs = await queue.enqueue_many([task.bind() for _ in range(5)])
        await asyncio.gather(*jobs)
        found = await sentry.wait_for("transaction", 6)
    [request] = [one for one in found if one["transaction"] == "request"]
    [span] = request["spans"]
    assert span["data"]["messaging.batch.message_count"] == 5
    runs = [one for one in found if one is not request]
    assert {run["contexts"]["trace"]["parent_span_id"] for run in runs} == {span["span_id"]}


async def test_without_init(queue: Queue) -> None:
    """Nothing is done."""
    instrument(queue)
    async with Worker(queue):
        _, _, headers = await (await queue.enqueue("on_loop"))  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
    assert headers == {}


def test_twice(queue: Queue) -> None:
    """A queue that is reported twice would send all twice."""
    instrument(queue)
    with pytest.raises(UsageError, match="reported already"):
        instrument(queue)


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3)])
async def test_hook_that_raises(queue: Queue, error: BaseException) -> None:
    """A sampler or a transport that raises fails no job."""

    def sampler(_: object) -> float:
        raise error

    scope = sentry_sdk.get_global_scope()
    before = scope.client
    sentry_sdk.init(
        "http://a@localhost/1",
        transport=Kept(),
        traces_sampler=sampler,
        auto_enabling_integrations=False,
    )
    try:
        instrument(queue)
        async with Worker(queue) as worker:
            assert await (await queue.enqueue("on_loop"))
            with pytest.raises(JobFailed):
                await (await queue.enqueue("fail_in_thread"))
            assert await (await queue.enqueue("in_thread"))
            assert worker.is_ready
    finally:
        scope.set_client(before)


async def test_transport_that_hangs(queue: Queue, sentry: Kept) -> None:
    """It delays no job."""
    instrument(queue)
    sentry.gate.clear()
    try:
        async with Worker(queue):
            for _ in range(3):
                assert await (await queue.enqueue("on_loop"))
                with pytest.raises(JobFailed):
                    await (await queue.enqueue("fail_in_thread"))
    finally:
        sentry.gate.set()
    await sentry.wait_for("transaction", 6)
    await sentry.wait_for("error", 3)
