"""Taking in the reply to a read."""

from typing import TYPE_CHECKING

from aiostreamq.logs import get_logger
from aiostreamq.model.english import counted
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.store.connection.link import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiostreamq.model.delivery import Delivery, EntryRef
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
        self._newest: dict[int, bytes] = {}  # the last entry of each stream, by its number

    def look(self, read: "Read") -> None:
        """Begin to doubt if *read* goes back in a stream: its group was created again."""
        deliveries, newest = read.deliveries, self._newest
        if deliveries[0].stream == deliveries[-1].stream:  # as mostly: no look at each job
            ends: Sequence[tuple[Delivery, Delivery]] = ((deliveries[0], deliveries[-1]),)
        else:
            ends = [(one, one) for one in deliveries]
        for first, last in ends:
            before = newest.get(first.stream)
            if before is not None and not is_later(first.entry, before):
                self.is_doubtful = True
            newest[last.stream] = last.entry

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


def is_later(entry: bytes, other: bytes) -> bool:
    """Whether the id of a stream entry is greater than another.

    >>> is_later(b"1764000000000-10", b"1764000000000-9"), is_later(b"9-10", b"10-9")
    (True, False)
    """
    ms, _, number = entry.partition(b"-")
    other_ms, _, other_number = other.partition(b"-")
    return (int(ms), int(number)) > (int(other_ms), int(other_number))


def leave_out(read: "Read", known: "set[EntryRef]") -> None:
    """Take out of *read* what is *known* here already."""
    read.deliveries = [one for one in read.deliveries if (one.stream, one.entry) not in known]
    read.unreadable = [one for one in read.unreadable if one not in known]
