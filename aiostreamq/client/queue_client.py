"""`QueueClient`: everything that a queue offers except registering tasks."""

from typing import TYPE_CHECKING, TypeVar, cast, overload

from aiostreamq.client.core import QueueCore
from aiostreamq.client.job import Job, StreamJob
from aiostreamq.client.queue_views import QueueViews
from aiostreamq.client.task import C_co, Enqueuer, P, StreamEnqueuer
from aiostreamq.client.task_argument import no_task
from aiostreamq.model.options import checked_job_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable
    from datetime import datetime
    from typing import Any

    from aiostreamq.client.dead_letters.dead_letters import DeadLetters
    from aiostreamq.client.pauses import Pauses
    from aiostreamq.client.schedules.schedules import Schedules
    from aiostreamq.client.task import Call, StreamCall
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.job_state import JobState
    from aiostreamq.model.lanes import Lanes
    from aiostreamq.model.options import QueuePolicy
    from aiostreamq.model.pauses import Pause
    from aiostreamq.store.connection.connector import Connector
    from aiostreamq.store.connection.server import Server

R = TypeVar("R")


class QueueClient(QueueViews):
    """A queue without tasks of its own: enqueues jobs, finds them and looks into the queue."""

    def __init__(
        self,
        connect: "Callable[[], Connector]",
        name: str,
        lanes: "Lanes",
        policy: "QueuePolicy",
    ) -> None:
        self._core = QueueCore(connect, name, lanes, policy)
        self.name = name
        self.lanes = tuple(lanes.weights)
        self.tasks = self._core.tasks  #: the registered tasks, by name
        self.max_payload = policy.max_payload  #: the longest JSON of a call, in bytes

    async def open(self) -> "Server":
        """Connect, and create the queue's streams if they are missing.

        Each `open` counts as one user and needs one `aclose`; the last `aclose` closes. The
        first use of a queue that is not open opens it, and counts as one user too.

        Returns:
            The name and version of the server.

        Raises:
            QueueUnavailable: Redis cannot be reached.
            UnsupportedServer: This Redis is too old, or does not support durability="fsync".
            UsageError: The queue is open in another event loop that is running, or needs
                a durability that `memory://` does not support.

        An `open` that fails or is cancelled does not count.
        """
        return await self._core.sessions.open()

    async def aclose(self) -> None:
        """End one use of the queue; the last one closes the connections.

        This returns at once if others have the queue open, or a worker runs on it. Otherwise it
        sends the calls in progress and closes. A call that still waits for room in its lane
        is not enqueued. Code that awaits a job gets QueueUnavailable. The queue can be opened
        again. If the queue is not open, this does nothing.

        Raises:
            UsageError: The queue is open in another event loop that is running.

        Cancelling closes at once: the calls in progress may or may not be enqueued.
        """
        await self._core.sessions.close()

    def named(self, name: str) -> Enqueuer[..., object]:
        """Return an enqueuer for the task *name*, which need not be registered here.

        It takes options: `queue.named("resize").using(id="a", delay="10s").enqueue(...)`. If the
        task is not registered here, its arguments are not checked, and `lane`, `retry` and the
        like are those given with `using` or the defaults.

        Raises:
            UsageError: *name* is not a valid task name.
        """
        return self._core.named(name)

    @overload
    async def enqueue(
        self, task: StreamEnqueuer[P, C_co], /, *args: P.args, **kwargs: P.kwargs
    ) -> StreamJob[C_co]: ...
    @overload
    async def enqueue(
        self, task: Enqueuer[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Job[R]: ...
    @overload
    async def enqueue(self, task: str, /, *args: object, **kwargs: object) -> Job[object]: ...
    async def enqueue(  # pyright: ignore[reportInconsistentOverload]  # P does not match "..."
        self, task: Enqueuer[..., object] | str, /, *args: object, **kwargs: object
    ) -> Job[object]:
        """Enqueue a call of *task*: a Task of this queue, or the name of any task.

        Returns, raises and can be cancelled as `Task.enqueue`.
        """
        if isinstance(task, str):
            task = self.named(task)
        elif not isinstance(cast("object", task), Enqueuer):
            raise no_task(task)
        call = task.bind(*args, **kwargs)
        self._core.session()  # first: it raises if the queue is open in another event loop
        spec = self._core.own_spec(call.spec)
        own = Enqueuer[..., object](spec, self._core, call.using)
        return await own.enqueue(*call.args, **call.kwargs)

    @overload
    async def enqueue_many(
        self, calls: "Iterable[StreamCall[C_co]] | AsyncIterable[StreamCall[C_co]]"
    ) -> list[StreamJob[C_co]]: ...
    @overload
    async def enqueue_many(
        self, calls: "Iterable[Call[R]] | AsyncIterable[Call[R]]"
    ) -> list[Job[R]]: ...
    async def enqueue_many(
        self, calls: "Iterable[Call[object]] | AsyncIterable[Call[object]]"
    ) -> "list[Any]":
        """Enqueue many calls of this queue's tasks, made with `task.bind(...)`, in their order.

        The calls are read from *calls* and sent in chunks, so a long iterable is never held in
        memory as a whole. The returned jobs are.

        Raises:
            As `Task.enqueue`. The calls before the error are enqueued; `QueueFull.enqueued` is
                their number. After AlreadyEnqueued, so are the other calls of the chunk.

        Cancelling leaves the chunks enqueued that were sent. Calls that wait for room in
        their lane are not enqueued.
        """
        return await self._core.session().enqueuing.submit_many(calls)

    def job(self, job_id: str) -> Job[object]:
        """Return the handle of the job with this id, from any process.

        Redis is not asked, and no event loop is needed until the handle is used.

        Raises:
            UsageError: The id is invalid.
        """
        self._core.sessions.note_use()
        return Job(checked_job_id(job_id), self._core, is_new=None)

    @property
    def schedules(self) -> "Schedules":
        """The queue's schedules: create, list, pause, trigger and delete them."""
        return self._core.schedules

    @property
    def dead_letters(self) -> "DeadLetters":
        """The queue's dead letters, which are jobs that failed for good: list, replay and purge."""
        # Imported at the first use: few programs need it.
        from aiostreamq.client.dead_letters.dead_letters import DeadLetters

        return DeadLetters(self._core)

    async def cancel_many(
        self,
        *,
        task: "Enqueuer[..., object] | str | None" = None,
        older_than: "Duration | None" = None,
        state: "JobState | Iterable[JobState] | None" = None,
        everything: bool = False,
    ) -> "dict[JobState, int]":
        """Cancel all jobs that match and have not ended; return how many were in each state.

        Args:
            task: Only jobs of this task, given as a Task or by its name.
            older_than: Only jobs that have been in their state for longer than this, in seconds
                (or "10s", or a timedelta). The age of a delayed job is read from its id: delayed
                jobs whose `id` you chose never match.
            state: Only jobs in this state, or one of these: `QUEUED`, `DELAYED`, `HELD`,
                `PARKED`, `RUNNING`.
            everything: Give this in place of a filter to cancel all jobs.

        Jobs that are parked for a task unknown to this queue are found only if *task* names it.
        A job that changes its state during the call may be missed: call it again to be sure.

        Raises:
            UsageError: Neither a filter nor *everything* is given, or both, or a filter is invalid.
            BrokerError: Redis refused.

        Cancelling stops after an unknown number of jobs; calling it again is safe.
        """
        from aiostreamq.client.bulk_cancellation import OpenJobFilter, cancel_many

        wanted = OpenJobFilter.of(task, older_than, state, everything=everything)
        return await cancel_many(self._core.session().store, self.tasks, wanted)

    async def pause(
        self,
        *,
        task: "Enqueuer[..., object] | str | None" = None,
        lane: str | None = None,
        until: "Duration | datetime | None" = None,
    ) -> None:
        """Pause a task or a lane: all workers stop starting its jobs.

        Running jobs continue, and jobs can still be enqueued. The pause survives restarts of
        workers and programs. A second pause replaces the first.

        Args:
            task: A Task, or its name.
            lane: The name of a lane.
            until: When the pause ends by itself: seconds from now (or "10m", or a timedelta), or
                a datetime with a time zone, by Redis's clock. None waits for `resume`.

        Raises:
            UsageError: Neither or both of *task* and *lane* are given, the queue does not have
                the lane, or *until* has no time zone.
            BrokerError: Redis refused.

        If it is cancelled, the pause may or may not be set; calling it again is safe.
        """
        await self._pauses().pause(task, lane, until)

    async def resume(
        self,
        *,
        task: "Enqueuer[..., object] | str | None" = None,
        lane: str | None = None,
    ) -> bool:
        """Resume a task or a lane; return whether it was paused.

        Raises and can be cancelled as `pause`.
        """
        return await self._pauses().resume(task, lane)

    async def paused(self) -> "list[Pause]":
        """Return the current pauses: tasks first, then lanes, by name.

        Raises:
            BrokerError: Redis refused.

        Cancelling is safe.
        """
        return await self._pauses().current()

    def _pauses(self) -> "Pauses":
        from aiostreamq.client.pauses import Pauses

        return Pauses(self._core.session().store)
