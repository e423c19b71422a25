"""Keys that are held until a job starts: the worker frees them before the first run."""

from typing import TYPE_CHECKING

from aiostreamq.errors import AioStreamQError
from aiostreamq.logs import get_logger
from aiostreamq.worker.run.run import log_fields

if TYPE_CHECKING:
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.worker.run.run import Run

logger = get_logger("aiostreamq.worker")


class KeyRelease:
    """Frees the keys of jobs that hold them until they start."""

    def __init__(self, store: "QueueStore", worker: str) -> None:
        """Prepare.

        Args:
            store: The queue.
            worker: The name of the worker, for log lines.
        """
        self._store = store
        self._worker = worker

    async def free(self, run: "Run") -> None:
        """Free the key of a job that is about to run, if its rule says so.

        Later attempts free nothing: the first has done it. If Redis does not answer, the job runs
        all the same, and its key is free when it has ended.
        """
        key, delivery = run.envelope.key, run.delivery
        if key is None or not key.is_freed_at_start or delivery.attempt > 1:
            return
        # Imported at the first use: most workers have no such jobs.
        from aiostreamq.store.unique import free_key

        try:
            await free_key(self._store, key.digest, delivery.job_id)
        except AioStreamQError as error:
            fields = log_fields(run, self._worker)
            logger.warning("the key of a job is held to its end: %s", error, extra=fields)
