"""The deliveries that a worker has received and not started."""

import asyncio
from collections import deque
from collections.abc import Collection, Iterator
from itertools import chain

from aiostreamq.model.delivery import Delivery, EntryRef

# Seconds for which a delivery can be on its way from Redis after a message about it has come.
ON_THE_WAY = 60.0


class Backlog:
    """Deliveries in the order in which they are to start: each kind in a line of its own."""

    def __init__(self, waiting: Collection[deque[Delivery]]) -> None:
        """Begin with nothing; *waiting* are the lines of what was looked at and has not started."""
        self.fresh: deque[Delivery] = deque()  #: not looked at
        self._looked_at = tuple(waiting)
        self._lines = (*waiting, self.fresh)

    def __bool__(self) -> bool:
        return any(self._lines)

    def __len__(self) -> int:
        return sum(map(len, self._lines))

    @property
    def has_looked_at(self) -> bool:
        """Whether any was looked at, and could not start."""
        return any(self._looked_at)

    def __iter__(self) -> Iterator[Delivery]:
        return chain.from_iterable(self._lines)

    def pop(self, stream: int, entry: bytes) -> Delivery | None:
        """Take a delivery out, None if it is not here."""
        for line in self._lines:
            for delivery in line:
                if delivery.entry == entry and delivery.stream == stream:
                    line.remove(delivery)
                    return delivery
        return None

    def pop_suspects(self) -> list[Delivery]:
        """Take out what was with workers when they died."""
        suspects = [delivery for delivery in self if delivery.deaths]
        for delivery in suspects:
            self.pop(delivery.stream, delivery.entry)
        return suspects

    def clear(self) -> list[Delivery]:
        """Take all out."""
        unstarted = list(self)
        for line in self._lines:
            line.clear()
        return unstarted


class Progress:
    """Wakes what waits for a job to end."""

    def __init__(self) -> None:
        self.is_awaited = False  #: whether anything waits
        self._made: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Wait until a job ends or `wake` is called. Cancelling is safe."""
        if self._made is None:
            self._made = asyncio.get_running_loop().create_future()
            self.is_awaited = True
        await asyncio.shield(self._made)

    def wake(self) -> None:
        """Let all waiters look again."""
        if self._made is not None:
            self._made.set_result(None)
            self._made = None
            self.is_awaited = False


class CancelMarks(dict[EntryRef, float]):
    """Cancelled jobs that may still be on their way here: when the message came, by their keys.

    A key is the number of the stream, and the entry. The oldest come first.
    """

    def put(self, key: EntryRef, now: float) -> None:
        """Mark one at *now* (monotonic), and forget old marks: those of other workers' jobs."""
        while self and next(iter(self.values())) < now - ON_THE_WAY:
            del self[next(iter(self))]
        self[key] = now

    def take(self, key: EntryRef) -> bool:
        """Remove the mark of a job; return whether there was one."""
        return self.pop(key, None) is not None
