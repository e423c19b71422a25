"""Pauses between tries: they grow, and each is drawn at random."""

import asyncio
import random


class Backoff:
    """Pauses that double from *first* up to *longest* seconds.

    Each is drawn between half and one and a half times its length, so that a fleet of
    processes does not try again all at once.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first = first
        self._longest = longest
        self._length = first

    def next(self) -> float:
        """Return the seconds of the next pause, and double the one after it."""
        pause = self._length * (0.5 + random.random())
        self._length = min(2 * self._length, self._longest)
        return pause

    def reset(self) -> None:
        """Begin again with the shortest pause."""
        self._length = self._first

    async def pause(self) -> None:
        """Sleep for the next pause. Cancelling is safe."""
        await asyncio.sleep(self.next())
