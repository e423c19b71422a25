"""This machine's steady clock."""

import sys
import time

import pytest

from aiostreamq import clock

SLEPT = 3600.0


def test_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a producer on a laptop that was closed would lag behind Redis by as long."""
    awake = time.monotonic()
    clocks = {time.CLOCK_MONOTONIC: awake + (SLEPT if sys.platform == "darwin" else 0.0)}
    if sys.platform == "linux":
        clocks[time.CLOCK_BOOTTIME] = awake + SLEPT
    monkeypatch.setattr(time, "clock_gettime", clocks.__getitem__)
    assert clock.steady() == awake + SLEPT
