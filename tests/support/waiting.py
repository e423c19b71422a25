"""Waiting for something to become true, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

#: Multiplies every timeout here, for slow machines.
TIME_SCALE = float(os.environ.get("AIOSTREAMQ_TEST_TIME_SCALE", "1"))

#: Seconds in which everything that a test waits for has come, on a machine with other things to do.
#: Only a test that fails takes so long.
PATIENCE = 15.0 * TIME_SCALE

#: Seconds to be in time for what a test then lets pass: the first may be over before a loaded
#: machine has come to it.
SOON = (0.1, 1.0, 5.0)

#: Seconds between two looks: short beside what is waited for, long beside one look. Waits that
#: have lasted for long look less often: a look may ask Redis, or read a file.
INTERVAL = 0.005
LONGEST_INTERVAL = 0.1
LOOKS = 30  #: about how many there are while a wait doubles its length


async def wait_until(
    condition: Callable[[], object | Awaitable[object]],
    what_for: str,
    *,
    timeout: float | None = None,
) -> None:
    """Look at *condition* again and again until it is true.

    Args:
        condition: A function, or a coroutine function, whose answer counts as true or false.
        what_for: Said when it never was: "waited 15 s for *what_for*".
        timeout: Seconds to wait at most where `PATIENCE` is not right: before `TIME_SCALE`.

    Raises:
        AssertionError: The condition was false up to the end.
    """
    limit = PATIENCE if timeout is None else timeout * TIME_SCALE
    started = time.monotonic()
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return
        waited = time.monotonic() - started
        if waited >= limit:
            msg = f"waited {limit:g} s for {what_for}"
            raise AssertionError(msg)
        await asyncio.sleep(max(INTERVAL, min(waited / LOOKS, LONGEST_INTERVAL)))


async def be_in_time(attempt: Callable[[float], Awaitable[T | None]]) -> T:
    """Do what must be done within a short time, with more of it where that was too little.

    Args:
        attempt: Told how many seconds there are; its answer is none, or false, if it was too late.

    Returns:
        The first other answer.
    """
    for soon in SOON:
        if answer := await attempt(soon):
            return answer
    msg = f"it was too late each time, last with {SOON[-1]:g} s"
    raise AssertionError(msg)
