"""How many deliveries to read: for the free slots, and a little more if jobs are quick."""

from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.model.prefetch import Throughput, read_count

if TYPE_CHECKING:
    from aiostreamq.worker.ports import Holdings, Runs, Spill


class ReadGauge:
    """Measures the room of a worker."""

    def __init__(self, executor: "Runs", holdings: "Holdings", overflow: "Spill") -> None:
        """Begin without knowing how quick jobs are.

        Args:
            executor: Its slots bound the reading.
            holdings: Jobs whose end Redis refuses take room like those that run.
            overflow: Bounds how many may come that need a thread or process.
        """
        self._executor = executor
        self._holdings = holdings
        self._overflow = overflow
        self._pace = Throughput()

    @property
    def slots_left(self) -> int:
        """How many slots are free. Fewer than 0 if runs have taken back slots that they lent."""
        return self._executor.concurrency - len(self._executor.running)

    def room(self) -> int:
        """Return how many deliveries to read now; 0 is none."""
        executor = self._executor
        self._pace.look(executor.finished, clock.monotonic())
        if executor.is_closed:
            return 0
        concurrency, fetched = executor.concurrency, executor.fetched
        busy = len(executor.running) + self._holdings.refused
        count = read_count(concurrency, busy, fetched, self._pace.prefetch(concurrency))
        return max(0, min(count, self._overflow.most_to_read(fetched, count)))
