"""Waiting for something to become true, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Multiplies every timeout here, for slow machines.
TIME_SCALE = float(os.environ.get("AIOSTREAMQ_TEST_TIME_SCALE", "1"))

#: Seconds between two looks: short beside what is waited for, long beside one look.
INTERVAL = 0.005


async def wait_until(
    condition: Callable[[], object | Awaitable[object]], what_for: str, *, timeout: float = 5.0
) -> None:
    """Look at *condition* again and again until it is true.

    Args:
        condition: A function, or a coroutine function, whose answer counts as true or false.
        what_for: Said when it never was: "waited 5 s for *what_for*".
        timeout: Seconds to wait at most; the time a failing test takes.

    Raises:
        AssertionError: The condition was false up to the end.
    """
    deadline = time.monotonic() + timeout * TIME_SCALE
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return
        if time.monotonic() >= deadline:
            msg = f"waited {timeout * TIME_SCALE:g} s for {what_for}"
            raise AssertionError(msg)
        await asyncio.sleep(INTERVAL)
