"""The end of a burst: jobs of a dead worker are waited for, those of a living one are not."""

import asyncio
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.model.worker_liveness import SilentHolders

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiostreamq.store.workers import WorkerRegistry

# Seconds between two looks at the workers that hold deliveries.
INTERVAL = 0.1

# Seconds beyond a lease. A dead worker is found within a tick after its lease.
MARGIN = 1.0


class BurstWait:
    """Decides whether a burst worker that has nothing left to do stays a little longer.

    Only such a worker may be there to recover the jobs of another one that died.
    """

    def __init__(
        self, registry: "WorkerRegistry", name: str, lanes: "Iterable[str]", lease: float
    ) -> None:
        """Prepare.

        Args:
            registry: The workers of the queue.
            name: The name of this worker.
            lanes: The lanes that it serves.
            lease: Its lease in seconds; it waits for this long and a second at most.
        """
        self._registry = registry
        self._name = name
        self._lanes = tuple(lanes)
        self._holders = SilentHolders(lease + MARGIN)

    async def may_get_jobs(self) -> bool:
        """Return whether another worker holds deliveries and shows no sign of life.

        Ask before the read that finds nothing: jobs that have just been recovered are no longer
        held, and the read finds them.
        """
        holders = await self._registry.holders(self._name, self._lanes)
        return self._holders.may_return(holders, clock.monotonic())

    async def pause(self) -> None:
        """Wait until the next look."""
        await asyncio.sleep(INTERVAL)

    def forget(self) -> None:
        """Begin a new wait: there were jobs again."""
        self._holders.forget()
