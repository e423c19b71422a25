"""The workers of several queues in one process, with shared slots."""

from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self, cast

import anyio

from aiostreamq.errors import AioStreamQError, UsageError
from aiostreamq.model.worker_state import WorkerState
from aiostreamq.worker.run.shared_slots import SlotPool
from aiostreamq.worker.settings import check_count
from aiostreamq.worker.worker import Worker, share_slots

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Literal, TypedDict, Unpack

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.listener_events import Listener

    class WorkerOptions(TypedDict, total=False):
        """The options of `Worker` that all workers of a group have."""

        lanes: Iterable[str] | None
        name: str | None
        threads: int
        processes: int
        lease: Duration
        max_worker_deaths: int
        loop_block_warning: Duration
        shutdown_timeout: Duration
        max_held_bytes: int
        log_jobs: bool
        listeners: Iterable[Listener]

    Order = Literal["drain", "stop", "abort"]

# The state of a group is the first of these that a worker has.
_STATES = (
    WorkerState.STARTING,
    WorkerState.DRAINING,
    WorkerState.STUCK,
    WorkerState.CUT_OFF,
    WorkerState.READY,
)


class WorkerGroup:
    """Runs the jobs of several queues in one process, with one limit for all of them.

    It is used as `Worker` is: `async with WorkerGroup([orders, mail], concurrency=100):`, or
    `await WorkerGroup([orders, mail]).run()`. Each queue has a worker of its own in Redis.
    """

    def __init__(
        self,
        queues: "Iterable[QueueClient]",
        *,
        concurrency: int = 100,
        **options: "Unpack[WorkerOptions]",
    ) -> None:
        """Describe the workers; nothing connects yet.

        Args:
            queues: The queues whose jobs are run.
            concurrency: How many jobs run at once, of all queues together. Each queue can always
                run one, so there may be one more for each queue after the first.
            **options: As of `Worker`, for each of the queues. So `threads`, `processes` and
                `max_held_bytes` count for each queue.

        Raises:
            UsageError: *queues* is not an iterable of queues, is empty or has one twice, or an
                option is invalid.
        """
        if not isinstance(cast("object", queues), Iterable):
            raise UsageError(
                f"WorkerGroup takes several queues, not an object of type "
                f"{type(queues).__qualname__!r}: put them in a list, as in WorkerGroup([a, b])"
            )
        self._queues = list(queues)
        check_count("concurrency", concurrency)
        if not self._queues:
            raise UsageError("WorkerGroup([]) has no queue to serve: give at least one")
        for at, queue in enumerate(self._queues):
            if any(queue is other for other in self._queues[:at]):
                raise UsageError(f"queue {queue.name!r} is given twice: give each queue once")
        self.concurrency = concurrency
        self._options = options
        self._order: Order | None = None
        self._finished_before = 0  # in the passes of a burst before this one
        self._stack = AsyncExitStack()
        self.workers = self._make_workers()  #: a worker for each queue, in their order

    def _make_workers(self) -> tuple[Worker, ...]:
        pool = SlotPool(self.concurrency)
        workers = [
            Worker(queue, concurrency=self.concurrency, **self._options) for queue in self._queues
        ]
        for worker in workers:
            share_slots(worker, pool)
        return tuple(workers)

    @property
    def name(self) -> str:
        """The names of the workers."""
        return ", ".join(worker.name for worker in self.workers)

    @property
    def finished(self) -> int:
        """How many runs of jobs have ended here, each attempt counted."""
        return self._finished_before + sum(worker.finished for worker in self.workers)

    @property
    def state(self) -> WorkerState:
        """The state of the group: ready if all of its workers are. May be read from any thread."""
        states = {worker.state for worker in self.workers} - {WorkerState.STOPPED}
        return next((state for state in _STATES if state in states), WorkerState.STOPPED)

    @property
    def is_ready(self) -> bool:
        """Whether all workers take jobs, and Redis has answered each within the last lease."""
        return all(worker.is_ready for worker in self.workers)

    async def run(self, *, burst: bool = False) -> None:
        """Run jobs until `stop` is called; with *burst*, until no queue has any left.

        If one worker ends with an error, the others drain.

        Raises:
            As `Worker.run`.

        Cancelling drains as `stop` does.
        """
        while True:
            before = self.finished
            await self._run_workers(burst=burst)
            if not burst or self._order or self.finished == before:
                return
            # A job of one queue may have enqueued to another one whose burst was over.
            self._finished_before = self.finished
            self.workers = self._make_workers()

    async def _run_workers(self, *, burst: bool) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                for worker in self.workers:
                    tasks.start_soon(lambda worker=worker: worker.run(burst=burst))
        except BaseExceptionGroup as group:
            # The task group wraps the one error that names the fault.
            ours = group.subgroup(AioStreamQError)
            if ours is None:
                raise
            raise _first_of(ours) from None

    async def __aenter__(self) -> Self:
        try:
            for worker in self.workers:
                await self._stack.enter_async_context(worker)
        except BaseException:
            self.stop()
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        self.stop()  # all at once, before the first is waited for
        await self._stack.__aexit__(exc_type, exc, traceback)

    def stop(self) -> None:
        """Begin to drain all workers, as `Worker.stop` does."""
        self._give("stop")

    def drain(self) -> None:
        """Begin to drain all workers without a limit, as `Worker.drain` does."""
        self._give("drain")

    def abort(self) -> None:
        """End all workers at once, as `Worker.abort` does."""
        self._give("abort")

    def _give(self, order: "Order") -> None:
        self._order = order
        for worker in self.workers:
            getattr(worker, order)()


def _first_of(group: BaseExceptionGroup[AioStreamQError]) -> AioStreamQError:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, AioStreamQError)
    return first
