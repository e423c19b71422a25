"""The fixtures of aiostreamq for pytest. They change nothing in tests that do not ask for them.

A package of its own, because pytest imports it in every run: aiostreamq is imported when the
first fixture is used. All fixtures are plain functions and need no event loop, so they work with
pytest-asyncio in either mode, with anyio's plugin, and without any plugin.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiostreamq import Queue
    from aiostreamq.testing import Clock, IsolatedQueue, PrivateRedis


@pytest.fixture
def queue_under_test() -> "Queue":
    """The queue that the other fixtures isolate: a new one. Override it to return your own."""
    from aiostreamq import Queue

    return Queue()


@pytest.fixture
def isolated_queue(queue_under_test: "Queue") -> "Iterator[IsolatedQueue]":
    """The queue under test, on an empty Redis in memory."""
    from aiostreamq.testing import isolated

    test = isolated(queue_under_test).begin()
    yield test
    test.end()


@pytest.fixture
def queue_clock(isolated_queue: "IsolatedQueue") -> "Clock":
    """The clock of `isolated_queue`: time passes by `advance` only."""
    return isolated_queue.stop_clock()


@pytest.fixture(scope="session")
def private_redis() -> "Iterator[PrivateRedis]":
    """A real server for the tests of this process. Skips the test if none is installed."""
    from aiostreamq.testing import PrivateRedis, find_server

    if find_server() is None:
        pytest.skip("there is no redis-server or valkey-server on PATH")
    with PrivateRedis() as server:
        yield server


@pytest.fixture
def isolated_redis_queue(
    queue_under_test: "Queue", private_redis: "PrivateRedis"
) -> "Iterator[IsolatedQueue]":
    """The queue under test, on a real server that is empty."""
    from aiostreamq.testing import isolated

    private_redis.flush()
    test = isolated(queue_under_test, private_redis.url).begin()
    yield test
    test.end()
