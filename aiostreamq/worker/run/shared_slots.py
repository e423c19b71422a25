"""Slots that the workers of several queues share, so that their jobs count together."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from aiostreamq.worker.run.slots import Slots

if TYPE_CHECKING:
    from collections import deque

    from aiostreamq.model.delivery import Delivery
    from aiostreamq.worker.run.backlog import Progress

# Seconds that a job may wait here for a slot that another queue has taken since it was sent. Then
# it is handed back, so that another process can run it.
PATIENCE = 1.0


class SlotUser(Protocol):
    """The dispatcher of one worker, which starts jobs as slots come free."""

    slots: Slots
    fresh: "deque[Delivery]"  #: deliveries that were not looked at yet

    @property
    def finished(self) -> int:
        """How many runs have ended."""
        ...

    @property
    def progress(self) -> "Progress":
        """Wakes its waiters when a job ends."""
        ...

    def refill(self) -> None:
        """Start what may start, as there is more room."""
        ...

    def hand_back_fresh(self) -> None:
        """Hand back what was not looked at yet."""
        ...


class SlotPool:
    """The slots of all workers of a group.

    Each worker can always run one job, whatever the others do: they may await that very job. So
    one slot more can be taken for each queue after the first.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._members: dict[SlotUser, SharedSlots] = {}

    def new_slots(self, *settings: Any) -> "SharedSlots":
        """Return the slots of one worker; *settings* are those of `Slots`."""
        return SharedSlots(self, *settings)

    def left_for(self, slots: "SharedSlots") -> int:
        """Return how many slots the other workers leave."""
        return self.total - sum(one.used for one in self._members.values() if one is not slots)

    async def watch(self, dispatcher: SlotUser) -> None:
        """Let the other workers start jobs when *dispatcher* frees slots, until cancelled."""
        slots = dispatcher.slots
        assert isinstance(slots, SharedSlots)
        self._members[dispatcher] = slots
        try:
            while True:
                finished, used = dispatcher.finished, slots.used
                await self._wait(dispatcher)
                # Not after each wake: this wakes the others, which would wake this one again.
                if dispatcher.finished != finished or slots.used < used:
                    self._refill_others(dispatcher)
        finally:
            del self._members[dispatcher]
            self._refill_others(dispatcher)

    async def _wait(self, dispatcher: SlotUser) -> None:
        """Wait for a free slot of *dispatcher*, and hand back what waits for one too long."""
        first = dispatcher.fresh[0] if dispatcher.fresh else None
        with suppress(TimeoutError):
            async with asyncio.timeout(None if first is None else PATIENCE):
                await dispatcher.progress.wait()
                return
        if dispatcher.fresh and dispatcher.fresh[0] is first:
            dispatcher.hand_back_fresh()

    def _refill_others(self, dispatcher: SlotUser) -> None:
        for one in list(self._members):
            if one is not dispatcher:
                one.refill()


class SharedSlots(Slots):
    """The slots of one worker of a group: how many there are depends on the other workers."""

    def __init__(self, pool: SlotPool, *settings: Any) -> None:
        """Describe the slots; *settings* are those of `Slots`."""
        self._pool = pool
        self._own = 0  # the capacity while the other workers run nothing
        super().__init__(*settings)

    @property
    def capacity(self) -> int:
        """How many may run now."""
        lent = max(0, self._own - self._width)
        return min(self._own, max(1, self._pool.left_for(self)) + lent)

    @capacity.setter
    def capacity(self, own: int) -> None:
        self._own = own

    @property
    def used(self) -> int:
        """How many jobs run and await no other."""
        return len(self._running) - len(self._waits)
