"""Admission decides which deliveries start, and what becomes of the others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import pytest

from aiostreamq.aio.listeners import Listeners
from aiostreamq.model.delivery import Delivery, EntryRef, HoldRequest
from aiostreamq.model.envelope import Envelope
from aiostreamq.queue import Queue
from aiostreamq.worker.listener_events import WorkerListeners
from aiostreamq.worker.run.admission import Admission, Disposition
from aiostreamq.worker.run.deferred_parents import DeferredParents
from aiostreamq.worker.run.pool import Pool
from aiostreamq.worker.run.run import Run
from aiostreamq.worker.run.run_services import RunEnvironment
from aiostreamq.worker.run.slots import Slots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import RetryRequest, Settlement
    from aiostreamq.model.keys import Spillway
    from aiostreamq.model.task import Place, TaskSpec
    from aiostreamq.store.connection.clock import ServerClock
    from aiostreamq.worker.protocols import SuspectGate
    from aiostreamq.worker.run.invoker import Invoker
    from aiostreamq.worker.run.key_release import KeyRelease

#: Numbers of streams: of requeued jobs, of the only lane, of overflow.
REQUEUED, LANE, OVERFLOW = 1, 2, 3

NOW_MS = 1_000_000

NO_LIMITS: Mapping[str, int] = MappingProxyType({})


@dataclass
class _Around:
    """Stands for all that admission asks and hands jobs to."""

    paused: set[str] = field(default_factory=set[str])
    is_lane_served: bool = True
    is_limited: bool = False
    calls: list[str] = field(default_factory=list[str])

    def park(self, delivery: Delivery, task: str) -> None:
        self.calls.append(f"park {delivery.job_id} of {task}")

    def take_if_paused(self, delivery: Delivery, spec: TaskSpec) -> bool:
        self.calls.append(f"hold {delivery.job_id}")
        return f"task:{spec.name}" in self.paused

    def take_if_unserved(self, delivery: Delivery, lane: str) -> bool:
        self.calls.append(f"pass {delivery.job_id} on to {lane}")
        return not self.is_lane_served

    def take_if_limited(self, delivery: Delivery, envelope: Envelope, spec: TaskSpec) -> bool:
        limits = len(spec.options.limits)
        self.calls.append(f"limit {delivery.job_id} of {envelope.task} by {limits}")
        return self.is_limited

    def hold_again(self, request: HoldRequest, envelope: Envelope, spec: TaskSpec) -> None:
        raise AssertionError(f"nothing has run: {request}, {envelope.task}, {spec.name}")

    def requeue(self, deliveries: Sequence[Delivery]) -> None:
        raise AssertionError(f"admission should leave nothing to others: {deliveries}")

    def overflow(self, place: Spillway, deliveries: Sequence[Delivery]) -> None:
        raise AssertionError(f"{place} should not overflow: {deliveries}")

    def refuse(self, delivery: Delivery, reason: str) -> None:
        self.calls.append(f"refuse {delivery.job_id}: {reason}")

    def settle(self, settlement: Settlement) -> None:
        self.calls.append(f"settle {json.loads(settlement.outcome)['state']}")

    def retry(self, retrial: RetryRequest) -> None:
        raise AssertionError(f"admission should not retry {retrial}")

    def now_ms(self) -> int:
        return NOW_MS


class Scene:
    """An admission and what is around it."""

    def __init__(self) -> None:
        self.around = _Around()
        queue = Queue("memory://")
        queue.task(name="plain")(plain)
        queue.task(name="threaded")(threaded)
        self.running: dict[EntryRef, Run] = {}
        pools: dict[Place, Pool] = {
            "thread": Pool("worker", "thread", 1, self.around.overflow, nothing, nothing)
        }
        self.slots = Slots(1, queue.name, self.running, pools, nothing, nothing)
        self.deferred = DeferredParents(pools, self.slots, lambda _: None)
        around = RunEnvironment(
            queue,
            pools,
            cast("Invoker", self.around),
            cast("ServerClock", self.around),
            self.around,
            self.around,
            cast("SuspectGate", self.around),
            cast("KeyRelease", self.around),
            lambda: False,
            WorkerListeners(Listeners(), queue.name, "worker"),
        )
        self.admission = Admission(around, self.running, self.slots, self.deferred)

    def admit(
        self, task: str = "plain", *, stream: int = LANE, limits: Mapping[str, int] = NO_LIMITS
    ) -> object:
        """Return `Run`, or the disposition."""
        body = json.dumps({"v": 1, "task": task, "args": [], "kwargs": {}, **limits}).encode()
        admitted = self.admission.admit(Delivery(stream, b"1-0", "id", 1, body), 0.0)
        return Run if isinstance(admitted, Run) else admitted


async def plain() -> None:
    """Never called."""


def threaded() -> None:
    """Never called."""


def nothing() -> None:
    """Do nothing."""


@pytest.fixture
async def scene() -> Scene:
    """Give a new one."""
    await asyncio.sleep(0)
    return Scene()


async def test_plain_job_is_admitted_without_a_check(scene: Scene) -> None:
    """A plain job starts, and nothing around is asked about it."""
    assert scene.admit() is Run
    assert scene.around.calls == []


async def test_delivery_that_runs_already_is_a_duplicate(scene: Scene) -> None:
    """What runs here is not started twice."""
    scene.running[LANE, b"1-0"] = cast("Run", object())
    assert scene.admit() is Disposition.DUPLICATE


async def test_invalid_envelope_is_refused(scene: Scene) -> None:
    """An entry that is not a job goes to the dead letters."""
    admitted = scene.admission.admit(Delivery(LANE, b"1-0", "id", 1, b"{"), 0.0)
    assert admitted is Disposition.REFUSED
    assert scene.around.calls[0].startswith("refuse id: ")


async def test_job_of_an_unknown_task_is_parked(scene: Scene) -> None:
    """It waits for a worker that knows its task."""
    assert scene.admit("unknown") is Disposition.PARKED
    assert scene.around.calls == ["park id of unknown"]


@pytest.mark.parametrize("stream", [REQUEUED, OVERFLOW])
async def test_job_of_another_lane_is_passed_on(scene: Scene, stream: int) -> None:
    """What was requeued, or has overflowed, may be of a lane that is not served here."""
    scene.around.is_lane_served = False
    assert scene.admit(stream=stream) is Disposition.PASSED_ON


@pytest.mark.parametrize("stream", [REQUEUED, OVERFLOW])
async def test_requeued_job_of_a_served_lane_is_admitted(scene: Scene, stream: int) -> None:
    """Its lane is checked, and it starts."""
    assert scene.admit(stream=stream) is Run
    assert scene.around.calls == ["pass id on to default"]


async def test_job_of_a_paused_task_is_paused(scene: Scene) -> None:
    """Others are looked at, and start."""
    scene.around.paused.add("task:plain")
    assert scene.admit() is Disposition.PAUSED
    scene.around.paused.clear()
    scene.around.paused.add("task:threaded")
    assert scene.admit() is Run


@pytest.mark.parametrize("limit", ["expires", "deadline"])
async def test_late_job_ends_as_expired(scene: Scene, limit: str) -> None:
    """A job starts before its time is over, and not after it."""
    assert scene.admit(limits={limit: NOW_MS + 1}) is Run
    assert scene.admit(limits={limit: NOW_MS}) is Disposition.ENDED
    assert scene.around.calls == ["settle expired"]


async def test_cancelled_job_ends_once(scene: Scene) -> None:
    """A mark counts for one delivery."""
    scene.admission.cancel_marks.put((LANE, b"1-0"), 0.0)
    assert scene.admit() is Disposition.ENDED
    assert scene.admit() is Run
    assert scene.around.calls == ["settle cancelled"]


async def test_job_without_a_free_thread_waits(scene: Scene) -> None:
    """The first takes the only thread; the second starts when there is one again."""
    assert scene.admit("threaded") is Run
    assert scene.admit("threaded") is Disposition.WAITING
    assert scene.admit() is Run


async def test_parent_waits_while_only_lent_slots_are_free(scene: Scene) -> None:
    """A job that will await others may not take the slot that its like has lent."""
    scene.slots.parents.add("plain")
    scene.running[LANE, b"0-1"] = cast("Run", object())
    assert scene.admit() is Disposition.WAITING
    assert scene.deferred


async def test_first_check_decides(scene: Scene) -> None:
    """A paused job whose time is over is set aside, and settled by the one that takes it up."""
    scene.around.paused.add("task:plain")
    assert scene.admit(limits={"expires": NOW_MS - 1}) is Disposition.PAUSED
    assert scene.around.calls == ["hold id"]
