"""The warnings about a server: eviction, persistence, version and clock."""

import pytest

from aiostreamq.store.connection.server import Server, facts_of
from aiostreamq.store.inspect.server_check import Condition, advice_on

GOOD = Server((7, 0, 15), "Redis 7.0.15")


def advice(condition: Condition) -> str:
    """The one line that there is."""
    (line,) = advice_on(condition)
    return line


def test_all_is_well() -> None:
    """Nobody is told anything."""
    assert not advice_on(Condition(GOOD, "noeviction", True, True, 0.2, 0.01))


def test_unknown_settings_cause_no_complaint() -> None:
    """What is not known is no reason to complain."""
    assert not advice_on(Condition())


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_eviction_of_all_keys(policy: str) -> None:
    """It takes jobs."""
    line = advice(Condition(eviction=policy))
    assert "throw jobs away" in line
    assert policy in line
    assert "`maxmemory-policy noeviction`" in line


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-lfu", "volatile-random"])
def test_eviction_of_what_expires(policy: str) -> None:
    """It takes results; jobs that wait do not expire."""
    line = advice(Condition(eviction=policy))
    assert "throw results away" in line
    assert policy in line


@pytest.mark.parametrize(
    ("appends", "snapshots", "is_told"),
    [
        (False, False, True),
        (True, False, False),
        (False, True, False),
        (True, True, False),
        (False, None, False),  # a host that hides its save points
        (None, False, False),
        (None, None, False),
    ],
)
def test_persistence(appends: bool | None, snapshots: bool | None, is_told: bool) -> None:
    """Either way of keeping will do; where one is not known, it may be there."""
    told = advice_on(Condition(appends=appends, snapshots=snapshots))
    assert len(told) == is_told
    assert all("keeps nothing on disk" in line and "`appendonly yes`" in line for line in told)


@pytest.mark.parametrize(
    ("version", "is_told"), [((6, 2, 14), True), ((7, 0, 0), False), ((7, 2), False), ((8,), False)]
)
def test_version(version: tuple[int, ...], is_told: bool) -> None:
    """Below what is recommended, what is missing there is named."""
    told = advice_on(Condition(Server(version, "Redis x")))
    assert len(told) == is_told
    assert all("Redis x has no script flags (allow-oom)" in line for line in told)


@pytest.mark.parametrize(
    ("ahead", "doubt", "told"),
    [
        (0.9, 0.0, None),
        (-1.0, 0.0, None),
        (1.1, 0.0, "1.1 s behind"),
        (-90.0, 0.0, "90.0 s ahead of"),
        (1.1, 0.2, None),
        (1.3, 0.2, "1.3 s behind"),
    ],
)
def test_clocks(ahead: float, doubt: float, told: str | None) -> None:
    """More than a second counts, where the answer did not take so long that it may be less."""
    lines = advice_on(Condition(ahead=ahead, doubt=doubt))
    assert len(lines) == (told is not None)
    assert told is None or f"this machine's clock is {told} that of Redis" in lines[0]


def test_everything_at_once() -> None:
    """Each has its line."""
    old = Server((6, 2), "Redis 6.2.0")
    lines = advice_on(Condition(old, "allkeys-lru", False, False, 5.0, 0.0))
    assert len(lines) == 4
    assert not any("\n" in line for line in lines)


def test_facts() -> None:
    """Headings and empty lines are no facts; a value may have colons."""
    info = b"# Memory\r\nmaxmemory_policy:noeviction\r\n\r\n# X\r\nos:Linux: 6.1\r\n"
    assert facts_of(info) == {"maxmemory_policy": "noeviction", "os": "Linux: 6.1"}
