"""How many jobs run at once, by the sizes of their payloads."""

import logging

import pytest

from aiostreamq.worker.held_bytes import HeldBytes

#: Average arguments, large results of how many ended jobs, unsettled results; and how many may run.
CASES: list[tuple[float, int, int, int, int]] = [
    # arguments, each result, jobs that ended, of which unsettled, width
    (0, 0, 0, 0, 100),
    (100, 0, 10, 0, 100),
    (9_000, 0, 10, 0, 100),
    (10_000, 0, 10, 0, 100),
    (20_000, 0, 10, 0, 50),
    (400_000, 0, 10, 0, 2),
    (5_000_000, 0, 10, 0, 1),
    (0, 20_000, 10, 0, 50),
    (0, 20_000, 10, 10, 40),
    (10_000, 10_000, 10, 10, 45),
    (0, 500_000, 1, 1, 1),
    (0, 500_000, 2, 2, 0),
    (100, 500_000, 4, 4, 0),
    (0, 5_000_000, 1, 1, 0),
    (0, 5_000_000, 1, 0, 1),
]


@pytest.mark.parametrize(("argument", "result", "ended", "unsettled", "width"), CASES)
def test_width(argument: float, result: int, ended: int, unsettled: int, width: int) -> None:
    """All payloads together fit into the bytes, and one job may run if nothing waits."""
    widths = [100]
    held = HeldBytes(1_000_000, 100, widths.append)
    for _ in range(ended):
        if result:
            held.add_result(result)
    held.look(argument, ended)
    held.remove_result(result * (ended - unsettled))
    assert held.width == widths[-1] == width
    # Everything is settled in the end, and jobs can run.
    held.remove_result(result * unsettled)
    assert held.width >= 1


def test_small_again(caplog: pytest.LogCaptureFixture) -> None:
    """It widens with smaller payloads, and warns once."""
    caplog.set_level(logging.INFO)
    held = HeldBytes(1_000_000, 100, lambda _: None)
    finished = 0
    for _ in range(2):
        finished += 1
        held.add_result(400_000)
        held.remove_result(400_000)
        held.look(0, finished)
        assert held.is_narrow
        assert held.has_results
        for _ in range(40):
            finished += 1
            held.look(0, finished)
        assert not held.is_narrow
        assert not held.has_results
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO"]
    assert "fewer than 100 jobs run at once" in caplog.text
