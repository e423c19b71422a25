"""What the scenarios can ask for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.chaos.app import queue
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.report import Report
from tests.chaos.scale import TIME_LIMIT
from tests.support.redis_server import RedisServer

_report = Report()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the scenarios the time they need."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TIME_LIMIT))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the line of each scenario."""
    if _report.lines:
        terminalreporter.section("chaos")
    for line in _report.lines:
        terminalreporter.line(str(line))


@pytest.fixture
def report() -> Report:
    """Where a scenario's line goes."""
    return _report


@pytest.fixture
def server(own_redis_server: RedisServer) -> RedisServer:
    """The Redis of one scenario, which may do with it what it likes."""
    return own_redis_server


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """The book of one scenario."""
    directory = tmp_path / "ledger"
    directory.mkdir()
    return Ledger(directory)


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[Redis]:
    """Looks into Redis from outside."""
    async with Redis.from_url(server.url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def load(server: RedisServer) -> AsyncIterator[Load]:
    """The producer, in this process."""
    queue.use_url(server.url)
    await queue.open()
    yield Load()
    await queue.aclose()


@pytest.fixture
async def fleet(server: RedisServer, ledger: Ledger) -> AsyncIterator[Fleet]:
    """Worker processes, none at first."""
    async with Fleet(server.url, ledger.environment) as fleet:
        yield fleet


@pytest.fixture
def ending(client: Redis, fleet: Fleet, ledger: Ledger, report: Report) -> Ending:
    """How it ends."""
    return Ending(client, fleet, ledger, report)
