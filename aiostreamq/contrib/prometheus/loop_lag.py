"""The lag of an event loop: how late it calls its timers."""

import asyncio
from typing import TYPE_CHECKING

from aiostreamq import clock

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds between two measurements: few enough to cost nothing, and enough for a histogram.
INTERVAL = 0.5


class LoopLag:
    """Measures the loop in which it was asked to last, as long as that runs."""

    def __init__(self, observe: "Callable[[float], None]") -> None:
        """Prepare; *observe* gets each lag, in seconds."""
        self._observe = observe
        self._loop: asyncio.AbstractEventLoop | None = None

    def measure(self) -> None:
        """Measure the running loop from now on."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._wait(loop)

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(INTERVAL, self._note, loop, clock.monotonic() + INTERVAL)

    def _note(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if loop is self._loop:
            self._observe(max(0.0, clock.monotonic() - due))
            self._wait(loop)
