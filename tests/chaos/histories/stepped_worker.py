"""A worker that does one step when it is told to: no loops, no beats, no time of its own.

What it reads, and which of that it would run, is decided by the worker's own parts. Nothing is
really run: how a run ends is for the history to say.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from aiostreamq.queue import Queue
from aiostreamq.store.intake import Intake
from aiostreamq.store.steering import Steering
from aiostreamq.worker.executor import Executor
from aiostreamq.worker.pauses import Pauses
from tests.chaos.histories.job import TASKS
from tests.chaos.histories.whereabouts import state_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from aiostreamq.model.delivery import Delivery, Retrial, Settlement
    from aiostreamq.model.spec import TaskSpec
    from aiostreamq.store.clock import ServerClock
    from aiostreamq.store.reading import Read
    from aiostreamq.worker.calls import Calls
    from aiostreamq.worker.runs import Run
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
    put_back: list[tuple[Delivery, str]] = field(default_factory=list["tuple[Delivery, str]"])

    @property
    def fates(self) -> dict[str, str]:
        """The same, as the account says it, by job."""
        told = {one.job_id: "run" for one in self.run}
        told |= {one.job_id: "parked" for one in self.parked}
        told |= {one.job_id: "put back" for one, _ in self.put_back}
        for end in self.unrun:
            told[end.delivery.job_id] = state_of(end.outcome)
        return told


class SteppedWorker:
    """Reads from all lanes."""

    def __init__(self, store: Store, name: str, clock: ServerClock, *, is_strict: bool) -> None:
        self.name = name
        self.clock = clock  #: by which jobs expire
        self.lanes = list(WEIGHTS)  #: those that the next read is of
        self.pauses = Pauses(Steering(store.broker), self._heed)
        self._store = store
        self._intake = Intake(store.broker, WEIGHTS, strict=is_strict)

    async def read(self, most: int) -> Read:
        """Read what is new."""
        return await self._intake.read(self._store.link, self.name, most, None)

    async def read_own(self) -> Read:
        """Read again all that was sent here and has not ended."""
        return await self._store.broker.read_own(self._store.link, self.name, MANY)

    async def sort(self, read: Read) -> Sorted:
        """Have the executor say which deliveries it would run."""
        assert read.paused is not None
        self.pauses.notice(read.paused)
        found = Sorted()
        executor = self._executor(found)
        executor.accept(read.deliveries, read.cancelled)
        await executor.wait_idle()
        await executor.cancel_all()
        return found

    def _heed(self) -> None:
        self.lanes = [lane for lane in WEIGHTS if not self.pauses.has_lane(lane)]
        self._intake.read_only(self.lanes)

    def _executor(self, found: Sorted) -> Executor:
        def settle(end: Settlement) -> None:
            if end.delivery not in found.run:
                found.unrun.append(end)

        def hold(delivery: Delivery, spec: TaskSpec) -> bool:
            # As Shift has it.
            place, broker = delivery.stream, self._store.broker
            lane = spec.options.lane if place == 1 else broker.lane_at(place)
            if self.pauses.has_task(spec.name):
                found.parked.append(delivery)
            elif self.pauses.has_lane(lane):
                found.put_back.append((delivery, lane))
            else:
                return False
            return True

        return Executor(
            _TASKS,
            MANY,
            cast("Calls", _NoCalls(found.run)),
            self.clock,
            settle,
            _not_expected,
            _not_expected,
            lambda _delivery, _lane: False,
            _not_expected,
            _NoSuspects(),
            self.pauses.words,
            hold,
        )


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

    def turn(self, delivery: Delivery) -> AbstractAsyncContextManager[None]:
        assert delivery.deaths
        return nullcontext()


def _not_expected(told: Delivery | Retrial, *_more: str) -> None:
    raise AssertionError(f"nobody should want to do this with {told}")


def _tasks() -> Queue:
    queue = Queue("memory://", lanes=WEIGHTS)

    async def run() -> None:
        """Never called."""

    for name, lane in TASKS.items():
        queue.task(name=name, lane=lane)(run)
    return queue


_TASKS = _tasks()
