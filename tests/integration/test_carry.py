"""The values of declared context variables arrive in tasks."""

import asyncio
from contextvars import ContextVar, copy_context
from typing import Any, cast

import pytest

from aiostreamq import JobFailed, PayloadError, Queue, Retry, UsageError, Worker
from tests.support import cpu_jobs
from tests.support.waiting import PATIENCE

request_id: ContextVar[str] = ContextVar("request_id")
tenant: ContextVar[object] = ContextVar("tenant", default="default")

VALUES = ["", "acme", 0, -1.5, True, None, [1, "a", None], {"a": {"b": [1]}}]


def seen() -> list[object]:
    """Return both values, as any code can see them."""
    return [request_id.get("unset"), tenant.get()]


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_any_json_arrives(queue: Queue, value: object) -> None:
    """A value that is set at the enqueue is set in a coroutine, a stream and a thread."""
    queue.carry(tenant)
    found: list[object] = []

    @queue.task
    async def coroutine() -> None:
        found.append(tenant.get())

    @queue.task
    async def stream():  # inferred
        found.append(tenant.get())
        yield 1

    @queue.task
    def thread() -> None:
        found.append(tenant.get())

    async def enqueue_all() -> None:
        tenant.set(value)
        for task in (coroutine, stream, thread):
            await (await task.enqueue())
        for job in await queue.enqueue_many([coroutine.bind()]):
            await job

    async with Worker(queue):
        await asyncio.create_task(enqueue_all())
    assert found == [value] * 4
    assert {type(one) for one in found} == {type(value)}


async def test_reach_a_process(redis_url: str) -> None:
    """They are set in a process too, and gone in the next job of that process."""
    cpu_jobs.queue.use_url(redis_url)
    async with cpu_jobs.queue as queue, Worker(queue, processes=1):

        async def enqueue() -> object:
            cpu_jobs.carried.set("acme")
            return await (await cpu_jobs.show_carried.enqueue())

        assert await asyncio.create_task(enqueue()) == "acme"
        assert await (await cpu_jobs.show_carried.enqueue()) == "unset"


async def test_unset_is_not_sent(queue: Queue) -> None:
    """A variable that is not set stays unset, and keeps its own default."""
    queue.carry(request_id, tenant)

    @queue.task
    async def show() -> list[object]:
        return seen()

    async def enqueue() -> list[object]:
        request_id.set("7")
        return await (await show.enqueue())

    async with Worker(queue):
        assert await (await show.enqueue()) == ["unset", "default"]
        assert await asyncio.create_task(enqueue()) == ["7", "default"]
        assert await (await show.enqueue()) == ["unset", "default"]


async def test_travel_on(queue: Queue) -> None:
    """Jobs of jobs have them, from coroutines and threads, with the values set in between."""
    queue.carry(request_id, tenant)
    loop = asyncio.get_running_loop()

    @queue.task
    async def leaf() -> list[object]:
        return seen()

    async def put() -> list[object]:
        return await (await leaf.enqueue())

    @queue.task
    async def parent() -> list[list[object]]:
        before = await put()
        tenant.set("other")
        return [before, await put()]

    @queue.task
    def thread() -> list[object]:
        return asyncio.run_coroutine_threadsafe(put(), loop).result(PATIENCE)

    async def enqueue() -> None:
        request_id.set("7")
        assert await (await parent.enqueue()) == [["7", "default"], ["7", "other"]]
        assert await (await thread.enqueue()) == ["7", "default"]

    async with Worker(queue):
        await asyncio.create_task(enqueue())
        assert await (await parent.enqueue()) == [["unset", "default"], ["unset", "other"]]


async def test_each_attempt_starts_with_them(queue: Queue) -> None:
    """A retry and a replay have the values of the enqueue, whatever a run has set."""
    queue.carry(request_id)
    found: list[object] = []

    @queue.task(retry=Retry(2, base=0.001))
    async def fail() -> None:
        found.append(request_id.get())
        request_id.set("spoiled")
        raise ValueError("no")

    async def enqueue() -> str:
        request_id.set("7")
        return (await fail.enqueue()).id

    async with Worker(queue):
        job = queue.job(await asyncio.create_task(enqueue()))
        with pytest.raises(JobFailed):
            await job.result(timeout=PATIENCE)
        await queue.dead_letters.replay(everything=True)
        with pytest.raises(JobFailed):
            await queue.job(job.id).result(timeout=PATIENCE)  # the other handle knows its end
    assert found == ["7"] * 4


@pytest.mark.parametrize("value", [{1}, (b"a",), {1: 2}, 1j, "\ud800"], ids=repr)
async def test_other_values_are_refused(queue: Queue, value: object) -> None:
    """A value that is not JSON refuses the enqueue, by the name of the variable."""
    queue.carry(tenant)

    @queue.task
    async def show() -> None: ...

    async def enqueue() -> None:
        tenant.set(value)
        for enqueuing in (show.enqueue(), queue.enqueue_many([show.bind()])):
            with pytest.raises(PayloadError, match="task 'show', context variable 'tenant': "):
                await enqueuing

    await asyncio.create_task(enqueue())
    assert [job async for job in queue.jobs()] == []


async def test_unknown_to_a_worker(store_url: str) -> None:
    """A worker that does not declare a variable runs the job without it."""
    producer, consumer = Queue(store_url, name="apart"), Queue(store_url, name="apart")
    producer.carry(tenant)

    @consumer.task
    async def show() -> object:
        return tenant.get()

    async def enqueue() -> object:
        tenant.set("acme")
        return await (await producer.enqueue("show"))

    async with producer, consumer, Worker(consumer):
        assert await asyncio.create_task(enqueue()) == "default"


@pytest.mark.parametrize("given", [None, "tenant", 7, copy_context()])
def test_only_context_variables(given: object) -> None:
    """Anything else is refused by `carry`."""
    with pytest.raises(UsageError, match="takes context variables, got"):
        Queue("memory://").carry(cast("ContextVar[Any]", given))


@pytest.mark.parametrize("name", ["", "x" * 129, "a\nb", "a\x00", "\ud800"], ids=ascii)
def test_names_that_cannot_travel(name: str) -> None:
    """A name that is empty, very long or not printable is refused by `carry`, and none is kept."""
    queue = Queue("memory://")
    with pytest.raises(UsageError, match=r"has an invalid name: .* 1 to 128 printable"):
        queue.carry(ContextVar(name))
    queue.carry(ContextVar("x" * 128), ContextVar("a name"), ContextVar("naïve"))


def test_two_of_one_name() -> None:
    """Values travel by name, so two variables of one name are refused; one may be given twice."""
    queue = Queue("memory://")
    queue.carry(tenant, request_id)
    queue.carry(tenant)
    with pytest.raises(UsageError, match="two context variables have the name 'tenant'"):
        queue.carry(ContextVar[str]("tenant"))
    Queue("memory://").carry(ContextVar[str]("tenant"))


async def test_function_apart_from_its_queue(redis_url: str) -> None:
    """A process that finds a function without its queue fails the job clearly."""
    queue = Queue(redis_url, name="functions")
    queue.carry(tenant)
    bare = queue.task(executor="process")(cpu_jobs.undecorated)

    async def enqueue() -> None:
        assert await (await bare.enqueue()) == "ran"
        tenant.set("acme")
        with pytest.raises(JobFailed, match=r"cannot set the context variables of queue\.carry"):
            await (await bare.enqueue())

    async with queue, Worker(queue, processes=1):
        await asyncio.create_task(enqueue())
