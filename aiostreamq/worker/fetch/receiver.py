"""Taking in the reply to a read."""

from typing import TYPE_CHECKING

from aiostreamq.logs import get_logger
from aiostreamq.model.english import counted
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.store.connection.link import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiostreamq.model.delivery import EntryRef
    from aiostreamq.store.deliveries import Deliveries
    from aiostreamq.store.reads import Read
    from aiostreamq.worker.protocols import Holdings, Runs

logger = get_logger("aiostreamq.worker")


class Receiver:
    """Gives each part of a reply to the service that it concerns."""

    def __init__(
        self,
        deliveries: "Deliveries",
        consumer: str,
        dispatcher: "Runs",
        holdings: "Holdings",
        notice: "Callable[[Mapping[str, int]], None]",
    ) -> None:
        """Prepare to receive.

        Args:
            deliveries: The deliveries of the queue.
            consumer: The worker's name.
            dispatcher: Takes the deliveries.
            holdings: The deliveries that are known here.
            notice: Takes the pauses that a read has met.
        """
        #: whether a read may bring what is here already: groups were created again, and start over
        self.is_doubtful = False
        self._deliveries = deliveries
        self._consumer = consumer
        self._dispatcher = dispatcher
        self._holdings = holdings
        self._notice = notice

    async def take(self, read: "Read") -> None:
        """Give away all that *read* has brought."""
        if read.paused is not None:
            self._notice(read.paused)
        if read.deliveries:
            self._dispatcher.accept(read.deliveries, read.cancelled)
        if read.unreadable:
            await self._dead_letter(read.unreadable)

    def sort_out(self, read: "Read") -> None:
        """Leave out what is here already. The first read that brings nothing ends the doubt."""
        self.is_doubtful = bool(read.deliveries)
        leave_out(read, self._holdings.keys())

    async def _dead_letter(self, unreadable: "list[EntryRef]") -> None:
        entries = counted(len(unreadable), "stream entry")
        logger.error("moved to the dead letters, as it is not a job: %s", entries)
        outcome = encode_unreadable("the fields are not those of a job")
        try:
            await self._deliveries.dead_letter_unreadable(unreadable, outcome, self._consumer)
        except CommandError:
            # They stay this worker's until it ends; its jobs cannot wait for that.
            logger.exception(
                "stream entries that are not jobs could not be moved to the dead letters"
            )


def leave_out(read: "Read", known: "set[EntryRef]") -> None:
    """Take out of *read* what is *known* here already."""
    read.deliveries = [one for one in read.deliveries if (one.stream, one.entry) not in known]
    read.unreadable = [one for one in read.unreadable if one not in known]
