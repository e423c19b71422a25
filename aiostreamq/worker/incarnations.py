"""The incarnations of a worker, one after the other: a worker that was taken for dead begins again.

Each has a name of its own, so what comes late to an old one stays refused.
"""

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from aiostreamq.aio.own_tasks import spawn
from aiostreamq.client.core import core_of
from aiostreamq.model.worker_state import WorkerState
from aiostreamq.worker.runtime import WorkerRuntime

if TYPE_CHECKING:
    from aiostreamq.aio.listeners import Listeners
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.listener_events import TelemetryEvent
    from aiostreamq.worker.settings import SlotSharing, WorkerSettings


class Incarnations:
    """Begins an incarnation, sees it to its end, and begins the next one if that is needed."""

    def __init__(
        self,
        queue: "QueueClient",
        called: str,
        settings: "WorkerSettings",
        listeners: "Listeners[TelemetryEvent]",
    ) -> None:
        """Prepare the first one.

        Args:
            queue: The queue whose jobs are run.
            called: The first part of all names.
            settings: How the worker works.
            listeners: Get the events of the worker.
        """
        self._queue = queue
        self._called = called
        self._settings = settings
        self._listeners = listeners
        self.name = self._new_name()  #: the name of the present one
        self.runtime: WorkerRuntime | None = None  #: the one that began last
        self._finished_before = 0  # by those before that one

    def share_slots(self, pool: "SlotSharing") -> None:
        """Share the slots of *pool* with workers of other queues. Before the first one begins."""
        self._settings = replace(self._settings, slot_pool=pool)

    @property
    def finished(self) -> int:
        """How many runs have ended in all of them."""
        return self._finished_before + (self.runtime.finished if self.runtime else 0)

    @property
    def running(self) -> int:
        """How many jobs run in the present one. May be read from any thread."""
        return len(self.runtime.running) if self.runtime else 0

    @property
    def state(self) -> WorkerState:
        """The state of the present one. May be read from any thread."""
        return WorkerState.STARTING if self.runtime is None else self.runtime.state

    async def begin(self, *, burst: bool) -> None:
        """Begin one under the present name; the queue is open. Its burst ends it, with *burst*."""
        stores = core_of(self._queue).session().stores
        runtime = WorkerRuntime(self._queue, stores, self.name, self._settings, self._listeners)
        await runtime.start(burst=burst)
        self._finished_before = self.finished
        self.runtime = runtime

    async def live(self, stopped: asyncio.Event, hurry: asyncio.Event, *, burst: bool) -> None:
        """See the present one to its end, and those that follow it.

        Args:
            stopped: Set when the worker is to drain.
            hurry: Set when the time to drain is counted.
            burst: Whether they end when no job is left.

        Raises:
            BrokerError: Redis refuses for good.
        """
        assert self.runtime is not None
        while await _live_until_over(self.runtime, stopped, hurry):
            self.name = self._new_name()
            await self.begin(burst=burst)

    def stop_reading(self) -> None:
        """Have the present one, if there is one, begin no further read."""
        if self.runtime is not None:
            self.runtime.stop_reading()

    def abort(self) -> None:
        """End the present one, if there is one, without waiting for it."""
        if self.runtime is not None:
            self.runtime.abort()

    def _new_name(self) -> str:
        return f"{self._called}-{os.urandom(4).hex()}"


async def _live_until_over(
    runtime: WorkerRuntime, stopped: asyncio.Event, hurry: asyncio.Event
) -> bool:
    """See *runtime* to its end; return whether it was taken for dead and another must begin."""
    ends = {spawn(stopped.wait()), spawn(runtime.wait_over())}
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.end()
    if runtime.is_lost:
        await runtime.aclose()
        return not stopped.is_set()
    if not stopped.is_set():
        hurry.set()  # it ends by itself: on an error, or after a burst
    await runtime.drain(hurry)
    return False
