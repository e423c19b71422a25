"""Lives of worker processes, and how soon work is taken up again while they are short."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.chaos.fleet import Fault, Fleet
from tests.chaos.ledger import Book
from tests.support.processes import Program

#: Seconds that a worker must live after a start for the start to count as a recovery.
SURVIVES = 1.0


class Recovery(NamedTuple):
    """A run that a fault hit, until the job runs again on a worker that lives on."""

    seconds: float  #: since the fault
    deaths: int  #: workers that died with the job, the one that the fault hit among them


@dataclass(slots=True)
class Lives:
    """When each worker process of a fleet was ready and when it was killed."""

    fleet: Fleet
    began: dict[int, float] = field(default_factory=dict[int, float])  #: by process id
    ended: dict[int, float] = field(default_factory=dict[int, float])

    async def start(self) -> Program:
        """Start a worker; its life counts from when it was ready."""
        (worker,) = await self.fleet.start()
        self.began[worker.pid] = time.monotonic()
        return worker

    @property
    def ready(self) -> list[Program]:
        """The living that have been ready."""
        return [worker for worker in self.fleet.living if worker.pid in self.began]

    async def kill(self, worker: Program) -> Fault:
        """Kill a worker."""
        fault = await self.fleet.kill(worker)
        self.ended[worker.pid] = fault.at
        return fault

    def observed(self, begin: float, end: float) -> float:
        """Return for how many seconds between two moments at least one worker was there."""
        spans = sorted(
            (max(begin, began), min(end, self.ended.get(pid, end)))
            for pid, began in self.began.items()
        )
        seconds, until = 0.0, begin
        for start, stop in spans:
            seconds += max(0.0, stop - max(start, until))
            until = max(until, stop)
        return seconds

    def recoveries(self, book: Book, faults: Iterable[Fault]) -> list[Recovery]:
        """Return how long each run that a fault hit was away.

        It is back with the first later start on a worker that lives for a second after it. If the
        workers in between died, the job had to wait for the end of the lease of each.
        """
        found: list[Recovery] = []
        for fault in faults:
            for hit in book.in_flight(fault):
                back = [
                    start
                    for start in book.starts[hit.job]
                    if start.at > fault.at
                    and self.ended.get(start.pid, start.at + SURVIVES) >= start.at + SURVIVES
                ]
                if back:
                    deaths = back[0].delivery - hit.delivery
                    found.append(Recovery(back[0].at - fault.at, deaths))
        return found
