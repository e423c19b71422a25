"""How many deliveries to read: for the free slots, and a little more if jobs are quick.

And no more than a reply of about a megabyte holds, by the payloads of recent reads.
"""

from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.model.prefetch import Throughput, read_count
from aiostreamq.store.reads import ReadSize

if TYPE_CHECKING:
    from aiostreamq.store.reads import Read
    from aiostreamq.worker.held_bytes import HeldBytes
    from aiostreamq.worker.protocols import Holdings, Runs, Spill

# Bytes of a delivery up to which payloads do not matter.
SMALL = 2000


class ReadGauge:
    """Measures the room of a worker."""

    def __init__(
        self, dispatcher: "Runs", holdings: "Holdings", overflow: "Spill", held: "HeldBytes"
    ) -> None:
        """Begin without knowing how quick jobs are.

        Args:
            dispatcher: Its slots bound the reading.
            holdings: Jobs whose end Redis refuses take room like those that run.
            overflow: Bounds how many may come that need a thread or process.
            held: Learns the sizes of payloads.
        """
        self.size = ReadSize()  #: how many entries a reply may have
        self._dispatcher = dispatcher
        self._holdings = holdings
        self._overflow = overflow
        self._held = held
        self._pace = Throughput()
        self._is_small = False  # payloads are small, and reads have all the entries they need

    @property
    def slots_left(self) -> int:
        """How many slots are free. Fewer than 0 if runs have taken back slots that they lent."""
        return self._dispatcher.concurrency - len(self._dispatcher.running)

    def room(self) -> int:
        """Return how many deliveries to read now; 0 is none."""
        dispatcher = self._dispatcher
        self._pace.look(dispatcher.finished, clock.monotonic())
        if dispatcher.is_closed:
            return 0
        concurrency, fetched = dispatcher.concurrency, dispatcher.fetched
        busy = len(dispatcher.running) + self._holdings.refused
        ahead = 0 if self._held.is_narrow else self._pace.prefetch(concurrency)
        count = min(read_count(concurrency, busy, fetched, ahead), self.size.most)
        return max(0, min(count, self._overflow.most_to_read(fetched, count)))

    def note(self, read: "Read", size: int) -> None:
        """Note what a read has brought, in a reply of *size* bytes; 0 if it was not encoded."""
        entries = len(read.deliveries) + len(read.unreadable)
        if not size:
            size = sum(len(one.envelope) for one in read.deliveries)
        if not entries or (
            self._is_small and size <= SMALL * entries and not self._held.has_results
        ):
            return
        self.size.note(entries, size)
        self._held.look(self.size.average, self._dispatcher.finished)
        grown = self.size.most >= 2 * self._dispatcher.concurrency
        self._is_small = self.size.average <= SMALL and grown and not self._held.is_narrow
