"""The memory of a program that enqueues more than it could hold."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import pytest

from aiostreamq import Call, Job, Queue, Task
from tests.support.nightly import mostly_nightly

MIB = 1 << 20

#: Payloads of a MiB in one call of `enqueue_many`.
LARGE = 100

#: Calls before them whose arguments are small: how large those are says nothing.
SMALL = 3000

#: MiB that a call may take beside what its caller holds. Writing one string of a MiB takes 18 for
#: a moment: orjson reserves room as if each of its characters had to be escaped, and doubles it.
MOST = 32


@dataclass
class Document:
    """An argument that is not plain JSON."""

    text: str


Make = Callable[[int], Any]
Door = Callable[[Queue, Iterator[Call[None]]], Awaitable[int]]

PAYLOADS: dict[str, Make] = {
    "str": lambda size: "x" * size,
    "list": lambda size: [str(place % 10) * 1024 for place in range(max(1, size // 1024))],
    "dict": lambda size: {"inside": {"of": ["it", "x" * size]}},
    "dataclass": lambda size: Document("x" * size),
}


async def each(calls: Iterator[Call[None]]) -> AsyncIterator[Call[None]]:
    """Give the calls as an async iterable."""
    for call in calls:
        yield call


async def iterable(queue: Queue, calls: Iterator[Call[None]]) -> int:
    """Enqueue from an iterable."""
    return len(await queue.enqueue_many(calls))


async def async_iterable(queue: Queue, calls: Iterator[Call[None]]) -> int:
    """Enqueue from an async iterable."""
    return len(await queue.enqueue_many(each(calls)))


async def sync_door(queue: Queue, calls: Iterator[Call[None]]) -> int:
    """Enqueue in a thread."""
    return len(await asyncio.to_thread(queue.sync.enqueue_many, calls))


@pytest.mark.parametrize(
    ("door", "kind"),
    mostly_nightly(
        product((iterable, async_iterable, sync_door), PAYLOADS),
        but=[
            (iterable, "str"),
            (iterable, "dataclass"),
            (async_iterable, "list"),
            (sync_door, "dict"),
        ],
    ),
)
async def test_a_few_chunks(redis_url: str, door: Door, kind: str) -> None:
    """Payloads are held until Redis has them, and only those of some chunks are taken."""
    make = PAYLOADS[kind]
    async with Queue(redis_url, max_payload=2 * MIB) as queue:

        async def work(value: Any) -> None: ...

        work.__annotations__["value"] = type(make(1))
        store = cast("Task[[object], None]", queue.task(work))

        def calls() -> Iterator[Call[None]]:
            for _ in range(SMALL):
                yield store.bind(make(1))
            for _ in range(LARGE):
                yield store.bind(make(MIB))

        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            assert await door(queue, calls()) == SMALL + LARGE
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak - before < MOST * MIB


async def test_error_of_the_iterable(store_url: str) -> None:
    """It is raised as it is, and the calls before it are enqueued: the jobs of other chunks too."""
    async with Queue(store_url) as queue:

        @queue.task
        async def work(number: int) -> None: ...

        def calls(count: int, error: Exception) -> Iterator[Call[None]]:
            for number in range(count):
                yield work.using(delay=3600, id=f"{count}-{number}").bind(number)
            raise error

        for count in (0, 1, 700):
            for error in (ValueError("bad"), AttributeError("bad"), KeyError("bad")):
                with pytest.raises(type(error), match="bad"):
                    await queue.enqueue_many(calls(count, error))
                jobs: list[Job[object]] = [queue.job(f"{count}-{n}") for n in range(count)]
                for job in jobs[-1:]:
                    assert (await job.status()).value == "delayed"
