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

#: The scenarios to begin with.
LONGEST = ("test_model", "test_watch", "test_bytes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the scenarios the time they need, and have several processes begin with them."""
    here = Path(__file__).parent
    scenarios = [item for item in items if item.path.parent == here]
    for item in scenarios:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(TIME_LIMIT))
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes > 1:
        others = [item for item in items if item.path.parent != here]
        items[:] = _dealt(scenarios, others, processes)


def _dealt(
    scenarios: list[pytest.Item], others: list[pytest.Item], processes: int
) -> list[pytest.Item]:
    """Return the tests in an order of which each process gets a part.

    Each part has its scenarios among its first tests. A scenario takes up to a minute: were one
    left for the end, all other processes would wait. If all came first, they would take each
    other's time.
    """
    scenarios.sort(key=lambda item: item.path.stem not in LONGEST)
    size = -(-len(others) // processes)
    dealt: list[pytest.Item] = []
    for number in range(processes):
        part = others[number * size : (number + 1) * size]
        own = scenarios[number::processes]
        apart = len(part) * 2 // 3 // max(1, len(own))
        for place, scenario in enumerate(own):
            dealt += [scenario, *part[place * apart : (place + 1) * apart]]
        dealt += part[len(own) * apart :]
    return dealt


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
