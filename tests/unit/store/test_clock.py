"""This machine's steady clock."""

import sys
import time

import pytest

from aiostreamq.store.connection.clock import steady_ms

SLEPT = 3600.0


def test_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a producer on a laptop that was closed would be behind Redis by as long."""
    awake = time.monotonic()
    clocks = {time.CLOCK_MONOTONIC: awake + (SLEPT if sys.platform == "darwin" else 0.0)}
    if sys.platform == "linux":
        clocks[time.CLOCK_BOOTTIME] = awake + SLEPT
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)
    assert steady_ms() == (awake + SLEPT) * 1000
