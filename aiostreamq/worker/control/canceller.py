"""Hearing which jobs are to be cancelled, and seeing to those that are here."""

import asyncio
from typing import TYPE_CHECKING, Protocol

from aiostreamq.errors import BrokerError
from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiostreamq.model.delivery import Delivery, EntryRef
    from aiostreamq.store.cancellation import Cancellation
    from aiostreamq.store.control_stream import ControlMessage

logger = get_logger("aiostreamq.worker")

# Seconds before it is asked again after Redis refused.
PAUSE = 5.0


class Running(Protocol):
    """A job that runs."""

    @property
    def delivery(self) -> "Delivery":
        """Which one."""
        ...


class Cancels(Protocol):
    """What must be known of the executor."""

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
    """Takes the words of cancel.lua to the executor, and asks where some may have been missed."""

    def __init__(self, steering: "Cancellation", executor: Cancels) -> None:
        self._steering = steering
        self._executor = executor
        self._asked = asyncio.Event()

    def cancel_named(self, word: "ControlMessage") -> None:
        """Cancel what a word names. Other workers' jobs are among it."""
        for stream, entry in self._steering.entries_in(word):
            self._executor.cancel(stream, entry)

    def wake(self) -> None:
        """Words may have been said unheard: ask about all that is here."""
        self._asked.set()

    async def run(self) -> None:
        """Ask whenever there is a reason to, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self._ask()
            except BrokerError:
                logger.exception("could not ask which jobs are cancelled, trying on")
                await asyncio.sleep(PAUSE)
                self._asked.set()

    async def _ask(self) -> None:
        here = [run.delivery for run in self._executor.running.values()]
        here += self._executor.backlog
        cancelled = await self._steering.cancelled_among([one.job_id for one in here])
        for delivery in here:
            if delivery.job_id in cancelled:
                self._executor.cancel(delivery.stream, delivery.entry)
