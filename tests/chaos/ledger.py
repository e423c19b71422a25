"""The book that is kept outside Redis and workers: what ran, where, when and how far.

Each process appends to a file of its own, a line an event and one `write` a line, so that a
`kill -9` between any two instructions leaves all that has happened, and nothing half written.
Times are the machine's monotonic clock, which all its processes share.
"""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aiostreamq import Context

if TYPE_CHECKING:
    from tests.chaos.fleet import Fault

#: Names the directory to the worker processes.
VARIABLE = "AIOSTREAMQ_CHAOS_LEDGER"

#: Seconds in which the outcome of a body is on its way to Redis, on a loaded machine.
SETTLING = 1.0

_file: list[int] = []  # of this process, once it has written


class Event(NamedTuple):
    """One line: something happened to a run of a job."""

    job: str
    delivery: int
    attempt: int
    pid: int
    worker: str
    kind: str  #: "start", "end" (got to its end), "cut" (cancelled) or "fail" (raised)
    at: float


def note(context: Context, kind: str) -> None:
    """Write an event of this process down."""
    pid = os.getpid()
    if not _file:
        path = Path(os.environ[VARIABLE], str(pid))
        _file.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    about = f"{context.job_id} {context.delivery} {context.attempt} {pid} {context.worker}"
    os.write(_file[0], f"{about} {kind} {time.monotonic()}\n".encode())


@contextmanager
def noted(context: Context) -> Generator[None]:
    """Write down the start of a body and how it ended."""
    note(context, "start")
    try:
        yield
    except Exception:
        note(context, "fail")
        raise
    except BaseException:
        note(context, "cut")
        raise
    note(context, "end")


class Ledger:
    """What all processes of a scenario have written.

    Args:
        directory: Where their files are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def environment(self) -> dict[str, str]:
        """What a worker process needs to be told."""
        return {VARIABLE: str(self._directory)}

    def events(self) -> list[Event]:
        """Return all events in the order of time."""
        lines = [
            line for path in self._directory.iterdir() for line in path.read_text().split("\n")
        ]
        return sorted((_parsed(line) for line in lines if line), key=lambda event: event.at)

    def book(self) -> "Book":
        """Return what there is so far, to ask questions of."""
        return Book(self.events())

    def count(self, kind: str) -> int:
        """Return how many events of a kind there are so far."""
        return sum(path.read_text().count(f" {kind} ") for path in self._directory.iterdir())


class Book:
    """All events of a scenario, and what follows from them."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.starts = self._by_job("start")
        self.ends = self._by_job("end")

    def _by_job(self, kind: str) -> dict[str, list[Event]]:
        found: defaultdict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            if event.kind == kind:
                found[event.job].append(event)
        return dict(found)

    @property
    def started_again(self) -> int:
        """How many starts there were beyond the first of each job."""
        return sum(len(starts) - 1 for starts in self.starts.values())

    @property
    def ended_again(self) -> int:
        """How many bodies got to their end after another of the same job had: duplicates."""
        return sum(len(ends) - 1 for ends in self.ends.values())

    def lost(self, accepted: Collection[str], outcomes: Collection[str] = ()) -> set[str]:
        """Return the jobs that Redis had taken and that neither ended nor have an outcome."""
        return set(accepted) - self.ends.keys() - set(outcomes)

    def in_flight(self, fault: "Fault", settling: float = 0.0) -> list[Event]:
        """Return the starts of the runs that a process had when it was hit.

        With *settling*, those count too whose body had ended less than so many seconds before:
        their outcomes may not have been on their way yet.
        """
        pid, at = fault.pid, fault.at
        over = {
            (event.job, event.delivery)
            for event in self.events
            if event.pid == pid and event.kind != "start" and event.at <= at - settling
        }
        return [
            event
            for event in self.events
            if event.kind == "start"
            and event.pid == pid
            and event.at <= at
            and (event.job, event.delivery) not in over
        ]

    def hit(self, faults: "Iterable[Fault]") -> list[Event]:
        """Return the starts of the runs that faults may have kept from telling their outcome."""
        return [run for fault in faults for run in self.in_flight(fault, SETTLING)]

    def recoveries(self, faults: "Iterable[Fault]") -> list[float]:
        """Return the seconds after which each run that a fault hit was started elsewhere.

        None for a run whose outcome got away in time, and none where its next delivery was hit
        by another fault before it could start.
        """
        return [
            start.at - fault.at
            for fault in faults
            for hit in self.in_flight(fault, SETTLING)
            for start in self.starts[hit.job]
            if start.delivery == hit.delivery + 1
        ]

    def deliveries(self) -> Counter[int]:
        """Return how many starts were of a job's first, second, ... delivery."""
        return Counter(event.delivery for event in self.events if event.kind == "start")


def _parsed(line: str) -> Event:
    job, delivery, attempt, pid, worker, kind, at = line.split()
    return Event(job, int(delivery), int(attempt), int(pid), worker, kind, float(at))
