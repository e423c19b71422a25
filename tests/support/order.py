"""In which order several processes run the tests, so that all of them end at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

#: Files of the tests to begin with: a minute each, on a machine that has other things to do.
LONGEST = ("test_steering", "test_model", "test_watch", "test_bytes")

#: Other files whose tests take many seconds each, most of which is waiting.
LONG = ("test_supervisor", "test_zoo", "test_recovery", "test_frameworks")


def is_long(test: pytest.Item) -> bool:
    """Return whether a test takes many seconds."""
    return test.path.parent.name == "chaos" or test.path.stem in LONG


def dealt(tests: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """Return the tests in an order of which each process gets a part.

    Each part has its long tests among its first ones. If one were left for the end, all other
    processes would wait for it. If all came first, they would take each other's time.
    """
    long = sorted(filter(is_long, tests), key=lambda test: test.path.stem not in LONGEST)
    others = [test for test in tests if not is_long(test)]
    size = -(-len(others) // processes)
    found: list[pytest.Item] = []
    for number in range(processes):
        part = others[number * size : (number + 1) * size]
        own = long[number::processes]
        apart = len(part) * 2 // 3 // max(1, len(own))
        for place, test in enumerate(own):
            found += [test, *part[place * apart : (place + 1) * apart]]
        found += part[len(own) * apart :]
    return found
