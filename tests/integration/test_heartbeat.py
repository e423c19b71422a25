"""The thread that shows that a worker lives continues as long as that does, and no longer."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import orjson
import pytest

from aiostreamq import Queue, Worker
from aiostreamq.aio.listeners import Listeners
from aiostreamq.client.core import core_of
from aiostreamq.model.worker_liveness import PROTOCOL
from aiostreamq.store.workers import WorkerRegistry, reader_role
from aiostreamq.worker.leases import heartbeat
from aiostreamq.worker.leases.heartbeat import BlockReporter, Heartbeat
from aiostreamq.worker.listener_events import WorkerListeners
from tests.support.waiting import PATIENCE, wait_until

LEASE = 1.0


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    """An open queue on a real Redis: in memory there is no thread."""
    async with Queue(redis_url) as queue:
        yield queue


async def heart_of(queue: Queue, about: Callable[[], bytes]) -> Heartbeat:
    """Return the heart of a worker that has joined, not started yet."""
    broker = core_of(queue).session().store
    await WorkerRegistry(broker).join("beating", int(LEASE * 1000))
    listeners = WorkerListeners(Listeners(), queue.name, "beating")
    return Heartbeat(broker, "beating", LEASE, BlockReporter(1.0, listeners), lambda: None, about)


def beats_no_more() -> bool:
    """Whether no thread beats."""
    return "aiostreamq:beat" not in [thread.name for thread in threading.enumerate()]


async def test_all_threads_of_the_program_are_taken(queue: Queue) -> None:
    """A program that blocks in all the threads it has can stop its worker all the same."""
    go_on, loop = threading.Event(), asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    async with asyncio.timeout(PATIENCE):
        async with Worker(queue):
            blocked = loop.run_in_executor(None, go_on.wait)
            # What would have to wait for a thread has its turn when this one is free again.
            late = loop.call_later(PATIENCE / 2, go_on.set)
        assert not go_on.is_set(), "it has waited for a thread"
    late.cancel()
    go_on.set()
    await blocked


@pytest.mark.may_block("the thread hangs, that is the point")
async def test_hangs(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker does not wait for ever for a thread that hangs, and says so."""
    monkeypatch.setattr(heartbeat, "END_TIME", 0.1)
    is_hanging, go_on = threading.Event(), threading.Event()

    def hang() -> bytes:
        is_hanging.set()
        go_on.wait()
        return b""

    heart = await heart_of(queue, hang)
    heart.start()
    await wait_until(is_hanging.is_set, "the thread to hang")
    async with asyncio.timeout(PATIENCE):
        await heart.aclose()
    assert "has not ended within 0.1 s" in caplog.text
    go_on.set()
    await wait_until(beats_no_more, "the thread to end")


async def test_ended_before_it_has_begun(queue: Queue) -> None:
    """A heart that is told to end at once ends, however far its thread has come."""
    for _ in range(20):
        heart = await heart_of(queue, bytes)
        heart.start()
        heart.close()
    await wait_until(beats_no_more, "the threads to end")


async def test_whatever_fails(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """It beats on after any error: to stop would cost the worker all that it runs."""
    told: list[int] = []

    def fail_once() -> bytes:
        told.append(1)
        if len(told) == 1:
            raise RuntimeError("of no kind that is known")
        return b""

    heart = await heart_of(queue, fail_once)
    heart.start()
    await wait_until(lambda: len(told) > 1, "the next beat")
    await heart.aclose()
    assert "of no kind that is known" in caplog.text


async def test_beat_says_where_its_worker_reads(queue: Queue) -> None:
    """Others end that connection before they take over; the description has the protocol."""
    broker = core_of(queue).session().store
    async with Worker(queue, lease=LEASE) as worker:

        async def is_known() -> bool:
            field = f"worker:{worker.name}"
            reader_id = cast("bytes | None", await broker.call("HGET", broker.keys.leases, field))
            clients = cast("bytes", await broker.call("CLIENT", "LIST")).decode()
            readers = [line for line in clients.splitlines() if reader_role(worker.name) in line]
            return [line.partition(" ")[0] for line in readers] == [
                f"id={(reader_id or b'').decode()}"
            ]

        await wait_until(is_known, "a beat after the first read")
        about = cast("bytes", await broker.call("GET", broker.keys.worker(worker.name)))
        assert orjson.loads(about)["protocol"] == PROTOCOL
