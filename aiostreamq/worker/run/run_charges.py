"""The charges of a run to the rates of its task, once it knows its cost."""

from typing import TYPE_CHECKING

from aiostreamq.errors import UsageError
from aiostreamq.logs import get_logger
from aiostreamq.worker.run.run import log_fields

if TYPE_CHECKING:
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.worker.run.run import Run

logger = get_logger("aiostreamq.worker")


class RunCharges:
    """The charges of one run."""

    __slots__ = ("_run", "_store", "_worker")

    def __init__(self, store: "QueueStore", worker: str, run: "Run") -> None:
        """Prepare.

        Args:
            store: The queue.
            worker: The name of the worker, for log lines.
            run: The run.
        """
        self._store = store
        self._worker = worker
        self._run = run

    async def set(self, limit: str, cost: float) -> bool:
        """Set what the run takes of a rate; return False if the job has left this worker.

        Args:
            limit: The name of the rate.
            cost: How much.

        Raises:
            UsageError: The task has no such rate.
            BrokerError: Redis refused.
        """
        # Imported at the first use: few jobs charge anything.
        from aiostreamq.model.functions.limit_keys import instance_of, rate_named
        from aiostreamq.store.held import HeldJobs

        run = self._run
        rate = rate_named(run.spec, limit)
        if rate is None:
            raise UsageError(
                f"charge({limit!r}, ...): task {run.spec.name!r} has no Rate of this name: "
                f"give limits=[Rate(..., name={limit!r})]"
            )
        token = instance_of(rate, run.delivery.permits, "")
        is_charged = await HeldJobs(self._store).charge(run.delivery, token, cost)
        if not is_charged:
            logger.warning(
                "what a job has cost limit %s is not charged: it has left this worker",
                limit,
                extra=log_fields(run, self._worker),
            )
        return is_charged
