"""An open queue: its connections, and the event loop that they belong to.

Separate from `QueueClient`, so that importing aiostreamq and registering tasks
imports neither asyncio nor anything that talks to Redis.
"""

import asyncio
from typing import TYPE_CHECKING

from aiostreamq.client.results.waiter import ResultWaiter
from aiostreamq.client.sessions.enqueuing import Enqueuing
from aiostreamq.store.schedules import ScheduleStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.client.listener_events import QueueTelemetry
    from aiostreamq.client.protocols import JobHome
    from aiostreamq.client.sessions.locking import Locking
    from aiostreamq.model.options import QueuePolicy
    from aiostreamq.store.connection.server import Server
    from aiostreamq.store.queue import QueueStore


class Session:
    """The connections of an open queue, and the event loop that they belong to."""

    def __init__(
        self,
        stores: "Sequence[QueueStore]",
        home: "JobHome",
        policy: "QueuePolicy",
        telemetry: "QueueTelemetry",
    ) -> None:
        """Prepare; nothing connects yet.

        Args:
            stores: The stores of the queue. A queue has one, until queues have partitions.
            home: The queue, for the handles of its jobs.
            policy: The limits of the queue.
            telemetry: Reports what is enqueued.
        """
        self.loop = asyncio.get_running_loop()
        self.stores = stores
        self.store = stores[0]
        self.schedules = ScheduleStore(self.store)
        self.enqueue_timeout = policy.enqueue_timeout  #: seconds to retry
        self.waiter = ResultWaiter(self.store, home.spec_of)
        self.enqueuing = Enqueuing(self.store, self.waiter, home, policy, telemetry)
        self._locking: Locking | None = None

    @property
    def locking(self) -> "Locking":
        """The locks that are held here or waited for."""
        if self._locking is None:
            # Imported at the first use: few programs have locks.
            from aiostreamq.client.sessions.locking import Locking

            self._locking = Locking(self.store, self.waiter)
        return self._locking

    async def open(self) -> "Server":
        """Connect, and check that the server supports what the queue needs.

        Raises:
            As `QueueClient.open`.
        """
        servers = [await store.open() for store in self.stores]
        await self.enqueuing.batchers.open()
        return servers[0]

    def is_here(self) -> bool:
        """Return whether this belongs to the running event loop."""
        return self.loop is asyncio.get_running_loop()

    async def join(self) -> None:
        """Wait until all that was enqueued so far has been sent, and give up all locks.

        Cancelling is safe.
        """
        if self._locking is not None:
            await self._locking.give_up()
        await self.enqueuing.batchers.join()

    def close_now(self) -> None:
        """Close the connections; waiting code gets QueueUnavailable. Does nothing if closed."""
        if self._locking is not None:
            self._locking.close()
        for store in self.stores:
            store.close()
        self.enqueuing.batchers.close()
        self.waiter.close()

    async def wait_closed(self) -> None:
        """Wait until everything has stopped after `close_now`."""
        if self._locking is not None:
            await self._locking.wait_closed()
        await self.waiter.wait_closed()

    def abandon(self) -> None:
        """Drop the connections of an event loop that has ended; waiting code is not notified."""
        for store in self.stores:
            store.close(is_loop_gone=True)
        self.enqueuing.batchers.close(is_loop_gone=True)
        self.waiter.abandon()
