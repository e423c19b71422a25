"""A worker that does one step when it is told to: no loops, no beats, no time of its own.

What it reads, and which of that it would run, is decided by the worker's own parts. Nothing is
really run: how a run ends is for the history to say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from aiostreamq.aio.listeners import Listeners
from aiostreamq.model.keys import RETURNED
from aiostreamq.queue import Queue
from aiostreamq.store.lane_reader import LaneReader
from aiostreamq.store.pauses import PauseStore
from aiostreamq.worker.fetch.held_source import HeldSource
from aiostreamq.worker.listener_events import WorkerListeners
from aiostreamq.worker.reroute.backlogs import Backlogs
from aiostreamq.worker.reroute.pauses import Pauses
from aiostreamq.worker.reroute.rerouter import Rerouter
from aiostreamq.worker.run.dispatcher import Dispatcher
from aiostreamq.worker.run.key_release import KeyRelease
from aiostreamq.worker.run.run_services import RunEnvironment
from tests.chaos.histories.job import LIMITS, TASKS
from tests.chaos.histories.whereabouts import state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiostreamq.model.delivery import Delivery, RetryRequest, Settlement
    from aiostreamq.model.keys import Spillway
    from aiostreamq.store.connection.clock import ServerClock
    from aiostreamq.store.held import Hold
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.store.reads import Read
    from aiostreamq.worker.protocols import Shelf
    from aiostreamq.worker.run.invoker import Invoker
    from aiostreamq.worker.run.run import Run
    from tests.support.store import Store

WEIGHTS = {"default": 2, "slow": 1}

#: More than there ever are.
MANY = 99


@dataclass
class Sorted:
    """What becomes of deliveries."""

    run: list[Delivery] = field(default_factory=list["Delivery"])
    unrun: list[Settlement] = field(default_factory=list["Settlement"])  #: ends without a run
    parked: list[Delivery] = field(default_factory=list["Delivery"])
    held: list[Hold] = field(default_factory=list["Hold"])  #: wait for limits
    put_back: list[tuple[Delivery, str]] = field(default_factory=list["tuple[Delivery, str]"])

    @property
    def fates(self) -> dict[str, str]:
        """The same, as the account says it, by job."""
        told = {one.job_id: "run" for one in self.run}
        told |= {one.job_id: "parked" for one in self.parked}
        told |= {one.job_id: "put back" for one, _ in self.put_back}
        told |= {one.delivery.job_id: "held" for one in self.held}
        for end in self.unrun:
            told[end.delivery.job_id] = state_of(end.outcome)
        return told


class SteppedWorker:
    """Reads from all lanes."""

    def __init__(self, store: Store, name: str, clock: ServerClock, *, is_strict: bool) -> None:
        self.name = name
        self.clock = clock  #: by which jobs expire
        self.lanes = list(WEIGHTS)  #: those that the next read is of
        self.pauses = Pauses(PauseStore(store.queue), self._heed)
        self._store = store
        self._intake = LaneReader(store.queue, WEIGHTS, strict=is_strict)
        self._intake.hear_bell()
        self._source: HeldSource | None = None

    async def read(self, most: int) -> Read:
        """Read what is new."""
        read = await self._intake.read(self._store.link, self.name, most, None)
        self._held_jobs().note(read)
        return read

    async def admit(self, most: int) -> Read:
        """Get held jobs whose limits have room."""
        source = self._held_jobs()
        read = await source.admit(self._store.link, most)
        source.close()
        return read

    @property
    def limited(self) -> list[str]:
        """The tasks with limits of which it takes held jobs."""
        return [task for task in ("sync", "book") if not self.pauses.has_task(task)]

    async def read_overflow(self, most: int, place: Spillway) -> Read:
        """Read what others had no room for."""
        return await self._intake.read_overflow(self._store.link, self.name, most, place)

    async def read_own(self) -> Read:
        """Read again all that was sent here and has not ended."""
        return await self._store.deliveries.read_own(self._store.link, self.name, MANY)

    async def sort(self, read: Read) -> Sorted:
        """Have the dispatcher say which deliveries it would run."""
        assert read.paused is not None
        self.pauses.notice(read.paused)
        found = Sorted()
        lines = _Lines(found, self._store.queue)
        dispatcher = self._dispatcher(found, lines)
        dispatcher.accept(read.deliveries, read.cancelled)
        await dispatcher.join()
        await dispatcher.cancel_all()
        await lines.join()
        return found

    def _heed(self) -> None:
        self.lanes = [lane for lane in WEIGHTS if not self.pauses.has_lane(lane)]
        self._intake.read_only(self.lanes)

    def _held_jobs(self) -> HeldSource:
        if self._source is None:
            self._source = HeldSource(
                self._store.queue, self.name, KNOWN.tasks, WEIGHTS, self.pauses, lambda: None, None
            )
            self._source.activate(is_for_all=False)
        return self._source

    def _dispatcher(self, found: Sorted, lines: Backlogs) -> Dispatcher:
        calls = cast("Invoker", _NoCalls(found.run))
        ways = _Ways(found, self._store.queue, self.pauses, lines)
        around = RunEnvironment(
            KNOWN,
            {},
            calls,
            self.clock,
            _Ends(found),
            ways,
            _NoSuspects(),
            KeyRelease(self._store.queue, self.name),
            lambda: False,
            WorkerListeners(Listeners(), KNOWN.name, self.name),
        )
        return Dispatcher(around, MANY, lambda: None)


class _Ends:
    """Notes what ends without having been run."""

    def __init__(self, found: Sorted) -> None:
        self._found = found

    def settle(self, settlement: Settlement) -> None:
        if settlement.delivery not in self._found.run:
            self._found.unrun.append(settlement)

    def retry(self, retrial: RetryRequest) -> None:
        raise AssertionError(f"nobody should want to retry {retrial}")


class _Ways(Rerouter):
    """Decides as a worker's exits do, and notes where they would lead."""

    def __init__(self, found: Sorted, broker: QueueStore, pauses: Pauses, lines: Backlogs) -> None:
        super().__init__(broker, "", WEIGHTS, pauses, cast("Shelf", self), lines)
        self._found = found

    def park(self, delivery: Delivery, task: str) -> None:
        assert task in TASKS
        self._found.parked.append(delivery)

    def requeue(self, deliveries: Sequence[Delivery], lane: str = RETURNED) -> None:
        self._found.put_back += [(delivery, lane) for delivery in deliveries]

    def refuse(self, delivery: Delivery, reason: str) -> None:
        raise AssertionError(f"nobody should refuse {delivery}: {reason}")


class _Lines(Backlogs):
    """Decides as a worker does where a job waits for its limits, and notes it."""

    def __init__(self, found: Sorted, broker: QueueStore) -> None:
        super().__init__(broker, lambda: None)
        self._found = found

    async def _send(self, batch: list[Hold]) -> None:
        self._found.held += batch


class _NoCalls:
    """Notes what is called, and lets it return at once."""

    def __init__(self, called: list[Delivery]) -> None:
        self._called = called

    async def call(self, run: Run, _begin: Callable[[Run], None]) -> bytes:
        self._called.append(run.delivery)
        return b"1"


class _NoSuspects:
    """Lets everything run at once."""

    is_closed = False

    def admit(self, delivery: Delivery) -> _Turn:
        assert delivery.deaths
        return _Turn()


class _Turn:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...

    def close(self) -> None: ...


def _tasks() -> Queue:
    queue = Queue("memory://", lanes=WEIGHTS)

    async def run() -> None:
        """Never called."""

    async def book(account: str) -> None:
        """Never run."""

    async def sync(tenant: str, tokens: int = 1) -> None:
        """Never called."""

    for name in ("size", "weigh"):
        queue.task(name=name, lane=TASKS[name])(run)
    queue.task(name="sync", lane=TASKS["sync"], limits=LIMITS)(sync)
    queue.task(name="book", lane=TASKS["book"], ordered="account")(book)
    return queue


KNOWN = _tasks()
