"""Pages of streams, and payloads that are asked for one by one: bounded by number and by bytes."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sized

import pytest

from aiostreamq.model.delivery import Settlement
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.store.dead_letters import DeadLetterStore, Span
from aiostreamq.store.inspect.walk import Walk
from aiostreamq.store.pages import PAGE, ask_each
from aiostreamq.store.reads import READ_BYTES, ReadSize
from tests.support.store import HOUR_MS, Store, outcome_of

COUNT = 150

Pages = Callable[[Store], AsyncGenerator[Sized, None]]


def entries(store: Store) -> AsyncGenerator[Sized, None]:
    """Read the jobs of a lane."""
    return Walk(store.queue).entries(store.keys.stream(DEFAULT_LANE))


def newest_first(store: Store) -> AsyncGenerator[Sized, None]:
    """Read the jobs of a lane from its end."""
    return Walk(store.queue).newest_first(store.keys.stream(DEFAULT_LANE), "-")


def newest_letters(store: Store) -> AsyncGenerator[Sized, None]:
    """Read the dead letters, newest first."""
    return DeadLetterStore(store.queue).newest_first(Span(), COUNT)


def oldest_letters(store: Store) -> AsyncGenerator[Sized, None]:
    """Read the dead letters, oldest first."""
    return DeadLetterStore(store.queue).oldest_first(Span())


@pytest.mark.parametrize("read", [entries, newest_first, newest_letters, oldest_letters])
async def test_pages_of_small_entries(store: Store, read: Pages) -> None:
    """Pages stay short, however many small entries have come: large ones may follow."""
    await store.enqueue(*(f"{number}" for number in range(COUNT)))
    if read in {newest_letters, oldest_letters}:
        held = await store.read(count=COUNT)
        ends = [Settlement(one, HOUR_MS, outcome_of(one), is_dead=True) for one in held]
        await store.deliveries.settle(ends, "w1")
    sizes = [len(page) async for page in read(store)]
    assert sum(sizes) == COUNT
    assert max(sizes) == PAGE


@pytest.mark.parametrize("small", [0, 1, 100])
@pytest.mark.parametrize("length", [10, 100_000, 2 * READ_BYTES])
async def test_calls_that_arrive_together(small: int, length: int) -> None:
    """As many go at once as a megabyte holds, by what the last ones have brought."""
    lengths = [10] * small + [length] * 40
    under_way, most = 0, [0] * len(lengths)

    async def ask(number: int) -> bytes:
        nonlocal under_way
        under_way += 1
        await asyncio.sleep(0)
        most[number] = under_way
        await asyncio.sleep(0)
        under_way -= 1
        return b"x" * lengths[number]

    answers = await ask_each(ask, range(len(lengths)), len, ReadSize())
    assert list(map(len, answers)) == lengths
    assert max(most) <= PAGE
    behind = most[small + PAGE :]  # the first of these is small if others of its batch were
    assert max(behind) <= max(1, 2 * READ_BYTES // length)
