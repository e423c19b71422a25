"""Cancelled jobs that are here: found by messages, and by asking when one may be lost."""

import asyncio
from typing import TYPE_CHECKING, Protocol

from aiostreamq.aio.wakeup import Wakeup
from aiostreamq.errors import BrokerError
from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiostreamq.model.delivery import Delivery, EntryRef
    from aiostreamq.store.cancellation import Cancellation
    from aiostreamq.store.control_stream import ControlMessage

logger = get_logger("aiostreamq.worker")

# Seconds before the next look if Redis refused this one.
PAUSE = 5.0


class Running(Protocol):
    """A job that runs."""

    @property
    def delivery(self) -> "Delivery":
        """Its delivery."""
        ...


class Cancels(Protocol):
    """The part of the dispatcher that is needed here."""

    @property
    def backlog(self) -> "Iterable[Delivery]":
        """Delivered, not started."""
        ...

    @property
    def running(self) -> "Mapping[EntryRef, Running]":
        """Started, not ended, by stream and entry."""
        ...

    def cancel(self, stream: int, entry: bytes) -> None:
        """End a job as cancelled."""
        ...


class Canceller:
    """Takes messages of cancel.lua to the dispatcher, and asks if some may have been missed."""

    def __init__(self, cancellation: "Cancellation", dispatcher: Cancels) -> None:
        self._cancellation = cancellation
        self._dispatcher = dispatcher
        self._wakeup = Wakeup()

    def cancel_named(self, message: "ControlMessage") -> None:
        """Cancel the jobs that a message names. Jobs of other workers are among them."""
        for stream, entry in self._cancellation.entries_in(message):
            self._dispatcher.cancel(stream, entry)

    def wake(self) -> None:
        """Look now: messages may be lost, so ask about all jobs that are here."""
        self._wakeup.wake()

    async def run(self) -> None:
        """Ask whenever woken, until cancelled."""
        while True:
            await self._wakeup.wait(None)
            try:
                await self._ask()
            except BrokerError:
                logger.exception("cancelled jobs could not be looked up, retrying")
                await asyncio.sleep(PAUSE)
                self._wakeup.wake()

    async def _ask(self) -> None:
        here = [run.delivery for run in self._dispatcher.running.values()]
        here += self._dispatcher.backlog
        cancelled = await self._cancellation.cancelled_among([one.job_id for one in here])
        for delivery in here:
            if delivery.job_id in cancelled:
                self._dispatcher.cancel(delivery.stream, delivery.entry)
