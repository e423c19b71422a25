"""What contract tests can ask for."""

from collections.abc import AsyncIterator

import pytest

from tests.support.limits import Limits
from tests.support.schedules import Scene
from tests.support.store import Store


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """An empty queue, on a real Redis and in memory."""
    async with Store(store_url) as store:
        yield store


@pytest.fixture
async def scene(store: Store) -> Scene:
    """The schedules of an empty queue."""
    return Scene(store)


@pytest.fixture
async def limits(store: Store) -> Limits:
    """The limits of an empty queue."""
    limits = Limits(store)
    await limits.open()
    return limits
