"""Sleeping until there is something to do, or until it is time to look."""

import asyncio
from contextlib import suppress


class Wakeup:
    """Ends the sleep of one task early.

    No wake-up is lost: one that comes while the task is at work ends its next sleep at once.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """End the present sleep, or the next one. From the event loop of the sleeper only."""
        self._event.set()

    async def wait(self, seconds: float | None) -> bool:
        """Sleep until woken, or for some *seconds* (None is without a limit).

        Cancelling is safe: the wake-up is kept for the next sleep.

        Returns:
            Whether it was woken.
        """
        was_woken = await wait_for_event(self._event, seconds)
        self._event.clear()
        return was_woken


async def wait_for_event(event: asyncio.Event, seconds: float | None) -> bool:
    """Wait until *event* is set, for some *seconds* at most; return whether it is set."""
    if event.is_set():
        return True
    if seconds is None:
        await event.wait()
        return event.is_set()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
