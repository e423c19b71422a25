"""What every test can ask for: servers, a store's address, and checks that watch over it."""

from __future__ import annotations

import gc
import signal
import uuid
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import pytest
from blockbuster import BlockBuster

import aiostreamq
from tests.support.cluster import Cluster
from tests.support.key_leaks import find_leaks
from tests.support.order import dealt
from tests.support.random_examples import register_profiles
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from redis.asyncio import Redis

register_profiles()

# Django 6 needs Python 3.12, and is installed only with the newest Python (scripts/test-newest).
collect_ignore = (
    []
    if find_spec("django")
    else [
        "frameworks/test_django.py",
        "frameworks/test_django_backend.py",
        "frameworks/django_project",
    ]
)

# The package imports these where first needed, maybe in the event loop. That happens once in a
# process and is no news, so here it happens before anyone watches for blocking calls.
for late in (
    "redis.asyncio",
    "fakeredis.aioredis",
    "pydantic",
    "anyio.to_thread",
    "aiostreamq.aio.listeners",
    "aiostreamq.client.blocking.blocking_queue",
    "aiostreamq.client.schedules.schedules",
):
    import_module(late)

# A shell ignores Ctrl-C for what it runs in the background, and the programs that the tests start
# would inherit that: some are ended by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Where the event loop may be blocked: (end of the file's path, function, reason).
MAY_BLOCK = (
    (
        "aiostreamq/store/scripts.py",
        "_file",
        "each script is read once in a process, 1 ms in all",
    ),
    (
        "aiostreamq/model/schedules/zones.py",
        "zone_of",
        "a time zone is one small file, read once in a process",
    ),
    (
        "aiostreamq/web/rendering.py",
        "_files_in",
        "templates and static files are read once in a process, 1 ms in all",
    ),
    ("redis/utils.py", "get_lib_version", "redis-py looks for its own version; a few stats"),
    ("fakeredis/model/_command_info.py", "_load_command_info", "fakeredis reads its table once"),
)

#: Finds blocking calls of the package. Made once: that takes longer than most tests.
WATCH = BlockBuster([aiostreamq])
for watched in WATCH.functions.values():
    for file, function, _reason in MAY_BLOCK:
        watched.can_block_in(file, function)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect the tests without looking for garbage, and never look through the tests for it.

    All of it stays to the end, and to look through it takes a third of the time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None]:
    """Leave it to `make nightly` to run in memory what is heavy there, and order the tests."""
    for item in items:
        params: dict[str, object] = getattr(getattr(item, "callspec", None), "params", {})
        if item.get_closest_marker("heavy_in_memory") and params.get("store_url") == "memory":
            item.add_marker(pytest.mark.nightly)
    yield  # others leave tests out, and mix the rest
    processes: int = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes > 1:
        items[:] = dealt(items, processes)


class LeakCheck(Protocol):
    """The type of `assert_no_leaks`."""

    async def __call__(self, client: Redis) -> None:
        """Fail if a key is left that never expires."""
        ...


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server that all tests share. A test that stops, kills or pauses one has its own."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_redis_server() -> Iterator[RedisServer]:
    """A server for this test alone, which may do with it what it likes."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that all tests share. Each moves the slots of queues of its own."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of the shared server, which is empty when the test starts."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture(params=["redis", "memory"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty store: the test runs on a real Redis and in memory."""
    if request.param == "memory":
        return f"memory://{uuid.uuid4()}"
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
def assert_no_leaks() -> LeakCheck:
    """Give a check that fails if a key never expires and is not permanent by design."""

    async def check(client: Redis) -> None:
        leaks = await find_leaks(client)
        assert not leaks, f"keys that never expire: {', '.join(leaks)}"

    return check


@pytest.fixture(autouse=True)
def no_blocking(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test in which the package makes a blocking call in the event loop.

    What the test itself does there, such as stopping a server, is its own affair.
    """
    if request.node.get_closest_marker("may_block"):
        yield
        return
    WATCH.activate()
    try:
        yield
    finally:
        WATCH.deactivate()
