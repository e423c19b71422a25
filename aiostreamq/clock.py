"""The clocks of this process. The package looks at a clock here and nowhere else.

A test moves time by replacing these functions. Call them through the module, as in
`clock.monotonic()`: a name that was imported from it would keep the real clock. Code that
schedules a timer of an event loop asks that loop, with `of_loop`.
"""

import sys
import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

# Seconds that only grow; they may stand still while the machine sleeps. A partial, because
# freezegun replaces the functions of `time` in all modules: a job that freezes time would end all
# waits that have a timeout.
monotonic = partial(time.monotonic)
wall = time.time  #: seconds since 1970, as this machine has it


def lease_pause(seconds: float) -> float:
    """Return how long to sleep until the next beat, or the next look for dead workers."""
    return seconds


def of_loop(loop: "asyncio.AbstractEventLoop") -> float:
    """Return the time by which the timers of *loop* go, in seconds."""
    return loop.time()


def steady() -> float:
    """Return seconds that only grow, and also pass while the machine sleeps.

    `time.monotonic` stands still then, on Linux and on macOS.
    """
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.clock_gettime(time.CLOCK_MONOTONIC)
