"""Protocols: the services of a worker as they see each other; `assembly` connects them."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence, Sized

    from aiostreamq.model.delivery import (
        Delivery,
        EntryRef,
        HoldRequest,
        RetryRequest,
        Settlement,
        Wanted,
    )
    from aiostreamq.model.envelope import Envelope
    from aiostreamq.model.keys import Spillway
    from aiostreamq.model.task import TaskSpec


class SuspectRun(Protocol):
    """The context in which a suspect runs."""

    async def __aenter__(self) -> None:
        """Wait until it may begin."""
        ...

    async def __aexit__(self, *_: object) -> None:
        """Be through with it."""
        ...

    def close(self) -> None:
        """End it, whether or not it has begun. May be repeated."""
        ...


class SuspectGate(Protocol):
    """Decides when jobs may run that were with workers that died."""

    is_closed: bool  #: nothing may start

    def admit(self, delivery: "Delivery") -> SuspectRun:
        """Say that such a job is about to be run; returns what it is to be run in."""
        ...


class Refills(Protocol):
    """Starts the next job when one has ended."""

    is_filling: bool  #: it is starting jobs at this moment, and continues by itself
    is_stopped: bool  #: nothing starts any more

    @property
    def fresh(self) -> "Sized":
        """Deliveries that were not looked at yet."""
        ...

    @property
    def backlog(self) -> object:
        """All that has not started; true if there is anything."""
        ...

    def fill(self) -> None:
        """Start what may start."""
        ...


class Outcomes(Protocol):
    """Takes the ends of runs."""

    def settle(self, settlement: "Settlement") -> None:
        """Take the end of a job."""
        ...

    def retry(self, retrial: "RetryRequest") -> None:
        """Take what is to run again."""
        ...


class Reroutes(Protocol):
    """Takes the jobs that may not run here."""

    paused: set[str]  #: empty as long as nothing is

    def park(self, delivery: "Delivery", task: str) -> None:
        """Take a job whose task is not known here."""
        ...

    def take_if_paused(self, delivery: "Delivery", spec: "TaskSpec") -> bool:
        """Take a job if it is paused."""
        ...

    def take_if_unserved(self, delivery: "Delivery", lane: str) -> bool:
        """Take a job if its lane is not served here."""
        ...

    def take_if_limited(self, delivery: "Delivery", envelope: "Envelope", spec: "TaskSpec") -> bool:
        """Take a job if limits of its task have not let it pass."""
        ...

    def hold_again(self, request: "HoldRequest", envelope: "Envelope", spec: "TaskSpec") -> None:
        """Take a job that has run, and waits for one of its limits again."""
        ...

    def requeue(self, deliveries: "Sequence[Delivery]") -> None:
        """Take jobs that other workers can run sooner."""
        ...

    def overflow(self, place: "Spillway", deliveries: "Sequence[Delivery]") -> None:
        """Take jobs for which there is nothing free."""
        ...

    def refuse(self, delivery: "Delivery", reason: str) -> None:
        """Take an entry that is not a job."""
        ...


class Holdings(Protocol):
    """Knows what this worker was sent and Redis does not know to be over."""

    @property
    def refused(self) -> int:
        """How many have ended here while Redis refuses to take their end."""
        ...

    def keys(self) -> "set[EntryRef]":
        """Return them, each as (number of its stream, entry)."""
        ...

    async def join(self) -> None:
        """Wait until Redis knows of all that has ended here or was moved away."""
        ...


class ResultMeter(Protocol):
    """Knows how many bytes of large results wait to be settled."""

    unsettled: int  #: bytes

    def add_result(self, size: int) -> None:
        """Note that a large result waits to be settled."""
        ...

    def remove_result(self, size: int) -> None:
        """Note that large results of *size* bytes wait no more."""
        ...


class Wakes(Protocol):
    """Wakes its waiters."""

    async def wait(self) -> None:
        """Wait until there is a reason to look again."""
        ...

    def wake(self) -> None:
        """Let all waiters look again."""
        ...


class Runs(Protocol):
    """Runs deliveries, a bounded number at once."""

    @property
    def concurrency(self) -> int:
        """How many may run at once."""
        ...

    @property
    def fetched(self) -> int:
        """How many deliveries were not looked at yet."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        ...

    @property
    def progress(self) -> Wakes:
        """Wakes its waiters when a job ends."""
        ...

    @property
    def running(self) -> "Sized":
        """Started, not ended."""
        ...

    @property
    def finished(self) -> int:
        """How many have ended since the start."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether nothing may start for now, however many slots are free."""
        ...

    def accept(self, deliveries: "list[Delivery]", cancelled: "Sequence[Delivery]" = ()) -> None:
        """Take deliveries over. Those of *cancelled* jobs must not run."""
        ...


class Spill(Protocol):
    """Knows what may have overflowed elsewhere."""

    def reopen(self) -> None:
        """Something may have overflowed unheard."""
        ...

    def wanted(self) -> "Wanted | None":
        """Return what to read now, None for nothing."""
        ...

    def most_to_read(self, fetched: int, count: int) -> int:
        """How many of *count* jobs to read, if *fetched* are read and not yet looked at."""
        ...

    def note(self, wanted: "Wanted", *, asked: int, found: int) -> None:
        """Note how many were asked for, and how many were found."""
        ...


class Halts(Protocol):
    """Knows what is paused."""

    paused: set[str]  #: always the same set

    def has_lane(self, lane: str) -> bool:
        """Whether a lane is paused."""
        ...

    def has_task(self, task: str) -> bool:
        """Whether a task is paused."""
        ...


class Shelf(Protocol):
    """Sets jobs aside by their task."""

    unparked: "set[EntryRef]"  #: on their way

    def park(self, delivery: "Delivery", task: str) -> None:
        """Take a job."""
        ...

    async def join(self) -> None:
        """Wait until all that was taken is set aside."""
        ...


class Rules(Protocol):
    """The rules of the limits in the code of a worker."""

    rules: dict[str, str]  #: by the token of the limit

    async def declare(self) -> None:
        """Have Redis know them."""
        ...
