"""Services that few workers need: each is imported at its first use."""

from functools import cache
from typing import TYPE_CHECKING

from aiostreamq.client.core import core_of
from aiostreamq.client.resources.worker_scope import LEAVE_TIME

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.delivery import Delivery
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.worker.job_events import EventSender, JobEventSender
    from aiostreamq.worker.run.processes import ProcessPool
    from aiostreamq.worker.run.run import Run
    from aiostreamq.worker.run.run_charges import RunCharges


def process_pool(queue: "QueueClient", most: int) -> "ProcessPool":
    """Return what runs tasks in *most* processes."""
    from aiostreamq.worker.run.processes import ProcessPool

    return ProcessPool(most, LEAVE_TIME if _hold_something(queue) else 0.0)


def _hold_something(queue: "QueueClient") -> bool:
    """Return whether task processes of the queue hold lifespans or dependencies."""
    signatures = [task.spec.signature for task in queue.tasks.values()]
    plans = [one.plan for one in signatures if one is not None and one.plan is not None]
    return bool(core_of(queue).lifespans) or any(plan.has_worker_scope for plan in plans)


def sinks_of_events(
    store: "QueueStore", name: str
) -> "Callable[[Delivery, str, int], JobEventSender]":
    """Return what makes the sinks of events, with a sender that is made for the first of them."""

    @cache
    def sender() -> "EventSender":
        from aiostreamq.worker.job_events import EventSender

        return EventSender(store, name)

    return lambda delivery, task, keep_ms: sender().voice(delivery, task, keep_ms)


def charges_of(store: "QueueStore", name: str) -> "Callable[[Run], RunCharges]":
    """Return what gives a run its charges to limits, for its context."""

    def charges(run: "Run") -> "RunCharges":
        from aiostreamq.worker.run.run_charges import RunCharges

        return RunCharges(store, name, run)

    return charges
