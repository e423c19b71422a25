"""Sending jobs."""

from typing import TYPE_CHECKING, TypeVar, cast, overload

from aiostreamq.client.job import Job, StreamJob
from aiostreamq.client.sessions.registry import SessionRegistry
from aiostreamq.client.task import C_co, Enqueuer, P, StreamEnqueuer, Using, name_of, no_task
from aiostreamq.model.keys import Keys, checked_name
from aiostreamq.model.options import Options, checked_job_id, checked_lane
from aiostreamq.model.task import TaskSpec

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterable,
        Callable,
        Collection,
        Iterable,
    )
    from datetime import datetime
    from typing import Any

    from aiostreamq.client.dead_letters import DeadLetters
    from aiostreamq.client.schedules.schedules import Schedules
    from aiostreamq.client.sessions.lifetime import SessionLifetime
    from aiostreamq.client.sessions.session import Session
    from aiostreamq.client.task import Call, StreamCall, Task
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.info import JobInfo, QueueInfo, WorkerInfo
    from aiostreamq.model.lanes import Lanes
    from aiostreamq.model.options import QueuePolicy
    from aiostreamq.model.outcome import JobState
    from aiostreamq.model.pauses import Pause
    from aiostreamq.store.connection.connector import Connector
    from aiostreamq.store.connection.server import Server
    from aiostreamq.store.pauses import PauseStore

R = TypeVar("R")

# Seconds that rates and latencies look back where nothing is said.
WINDOW = 300.0


class QueueClient:
    """Enqueues jobs and finds them again. `Queue` adds the tasks of its own."""

    def __init__(
        self,
        connect: "Callable[[], Connector]",
        name: str,
        lanes: "Lanes",
        policy: "QueuePolicy",
    ) -> None:
        self.name = name
        self.weights = lanes.weights  #: of the lanes, by their names
        self.strict_priority = lanes.strict_priority  #: whether a lane waits for all weightier ones
        self.lanes = tuple(lanes.weights)
        self.tasks: dict[str, Task[..., object]] = {}  #: the registered tasks by name
        self.max_payload = policy.max_payload
        self._policy = policy
        self._keys = Keys(name)
        self.sessions = SessionRegistry(name, connect, self._new_lifetime)  #: who uses the queue
        self._schedules: Schedules | None = None

    async def open(self) -> "Server":
        """Connect, and make the queue's streams where they are missing.

        Every `open` counts as one user, and needs one `aclose`: the last one closes. The first
        use opens a queue that nobody has opened, and counts as one user too.

        Returns:
            Which server this is.

        Raises:
            QueueUnavailable: Redis cannot be reached.
            UnsupportedServer: This Redis is too old, or can not do what durability="fsync" needs.
            UsageError: The queue is already open in another event loop that runs, or asks for
                a durability that `memory://` has not got.

        If it fails or is cancelled, it does not count.
        """
        return await self.sessions.open()

    async def aclose(self) -> None:
        """End one use of the queue; the last one closes the connections.

        While others have it open, or a worker runs on it, this returns at once. Otherwise it
        sends what is still under way and closes. A call that still waits for room in its lane
        is given up, and not enqueued. Whoever awaits a job gets QueueUnavailable. The queue can
        be opened again. On a queue that is not open this does nothing.

        Raises:
            UsageError: The queue is open in another event loop that runs.

        Cancelling closes at once: what is still under way may or may not be enqueued.
        """
        await self.sessions.close()

    def session(self) -> "Session":
        """The open connections, made where there are none.

        Raises:
            UsageError: They belong to another event loop, which runs.
        """
        return self.sessions.current()

    def _new_lifetime(self, connector: "Connector") -> "SessionLifetime":
        # Imported with the first use, as its loop and its connections are made.
        from aiostreamq.client.sessions.lifetime import SessionLifetime
        from aiostreamq.client.sessions.session import Session

        return SessionLifetime(Session(connector, self._keys, self.lanes, self, self._policy))

    def named(self, name: str) -> Enqueuer[..., object]:
        """Return what enqueues the task of a name, whether or not it is registered here.

        Options go with it: `queue.named("resize").using(id="a", delay="10s").enqueue(...)`. Of a
        task that is not registered here arguments are not checked, and `lane`, `retry` and the
        like are only what is said with `using`.

        Raises:
            UsageError: It is no name of a task.
        """
        task = self.tasks.get(checked_name("task", name))
        if task is not None:
            return task
        return Enqueuer(TaskSpec(name), self, Using(Options()))

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
    async def enqueue(  # pyright: ignore[reportInconsistentOverload]  # P is not taken for "..."
        self, task: Enqueuer[..., object] | str, /, *args: object, **kwargs: object
    ) -> Job[object]:
        """Enqueue a call of *task*, a Task of this queue or the name of any.

        Raises, returns and is cancelled as `Task.enqueue`.
        """
        if isinstance(task, str):
            task = self.named(task)
        elif not isinstance(cast("object", task), Enqueuer):
            raise no_task(task)
        call = task.bind(*args, **kwargs)
        self.session().check_own(call.spec)
        own = Enqueuer[..., object](call.spec, self, call.using)
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

        They go out in chunks as *calls* gives them, so it can be endless in
        length without being held in memory at once; the jobs are held.

        Raises:
            As `Task.enqueue`. What came before the error is enqueued; QueueFull
                says in `enqueued` how many of the calls that are.

        Cancelling leaves what has been sent enqueued. Calls that wait for room in
        their lane are given up.
        """
        return await self.session().submit_many(calls)

    def job(self, job_id: str) -> Job[object]:
        """Return the handle of a job by its id, whoever enqueued it.

        Asks nothing of Redis, and needs no event loop until the handle is used.

        Raises:
            UsageError: No job can have this id.
        """
        self.sessions.note_use()
        return Job(checked_job_id(job_id), self)

    @property
    def schedules(self) -> "Schedules":
        """What is enqueued again and again: to make, list, pause, trigger and delete."""
        if self._schedules is None:
            # Imported with the first use: it brings cronsim and the time zones.
            from aiostreamq.client.schedules.schedules import Schedules

            self._schedules = Schedules(self)
        return self._schedules

    @property
    def has_schedules(self) -> bool:
        """Whether the schedules of this queue were ever spoken of here. Imports nothing."""
        return self._schedules is not None

    @property
    def dead_letters(self) -> "DeadLetters":
        """The dead letters: jobs that failed for good, to list, show, replay and purge."""
        # Imported with the first use: few programs look at them.
        from aiostreamq.client.dead_letters import DeadLetters

        return DeadLetters(self)

    async def cancel_many(
        self,
        *,
        task: "Enqueuer[..., object] | str | None" = None,
        older_than: "Duration | None" = None,
        state: "JobState | Iterable[JobState] | None" = None,
        everything: bool = False,
    ) -> "dict[JobState, int]":
        """Cancel all jobs that have not ended and fit; return how many were caught in each state.

        Args:
            task: Only of this task, given as a Task or by its name.
            older_than: Seconds (or "10s", or a timedelta): only of jobs that have been where they
                wait or run for longer. The age of a delayed job is told by its id: those with an
                `id` of their own are left alone then.
            state: Only in this state, or one of these: `QUEUED`, `DELAYED`, `PARKED`, `RUNNING`.
            everything: Say this instead of a filter to mean all jobs.

        Jobs that are parked for a task which this queue does not know are found only
        where *task* names it. What moves meanwhile may be missed; do it again to be sure.

        Raises:
            UsageError: Nothing is said, or what cannot be meant.
            BrokerError: Redis refused.

        Cancelling leaves open how many were cancelled; doing it again is safe.
        """
        from aiostreamq.client.cancellation import OpenJobFilter, cancel_many

        wanted = OpenJobFilter.of(task, older_than, state, everything=everything)
        return await cancel_many(self.session().broker, self.tasks, wanted)

    async def pause(
        self,
        *,
        task: "Enqueuer[..., object] | str | None" = None,
        lane: str | None = None,
        until: "Duration | datetime | None" = None,
    ) -> None:
        """Have the jobs of a task, or of a lane, wait from now on, with all workers.

        What runs goes on. Jobs may still be enqueued. It stays so when workers and
        programs are restarted; paused once more, what is said last holds.

        Args:
            task: A Task, or its name.
            lane: The name of a lane.
            until: Seconds from now (or "10m", or a timedelta), or a datetime with a time
                zone, by Redis's clock: it goes on by itself then. None waits for `resume`.

        Raises:
            UsageError: Neither is said, the queue has no such lane, or *until* has no time zone.
            BrokerError: Redis refused.

        Cancelling leaves open whether it is paused; doing it again is safe.
        """
        from aiostreamq.client.cancellation import until_word

        limit = until_word(until)
        await self._pauses().pause(self._pause_fields(task, lane), limit)

    async def resume(
        self,
        *,
        task: "Enqueuer[..., object] | str | None" = None,
        lane: str | None = None,
    ) -> bool:
        """Let the jobs of a task, or of a lane, go on; return whether any of it was paused.

        Raises and is cancelled as `pause`.
        """
        return await self._pauses().resume(self._pause_fields(task, lane)) > 0

    async def paused(self) -> "list[Pause]":
        """Return what is paused now: tasks first, by name.

        Raises:
            BrokerError: Redis refused.

        Cancelling is safe.
        """
        from aiostreamq.model.pauses import pauses_of

        _, told = await self._pauses().paused()
        return pauses_of(told)

    def _pauses(self) -> "PauseStore":
        from aiostreamq.store.pauses import PauseStore

        return PauseStore(self.session().broker)

    def _pause_fields(
        self, task: "Enqueuer[..., object] | str | None", lane: str | None
    ) -> "list[str]":
        from aiostreamq.model.pauses import pause_fields

        if lane is not None:
            self.session().broker.place_of(
                checked_lane(lane)
            )  # or nobody would ever notice the mistake
        return pause_fields(None if task is None else name_of(task), lane)

    async def info(self, *, window: "Duration" = WINDOW) -> "QueueInfo":
        """Return how the queue stands: its lanes, its tasks, what ended lately and how fast.

        How many jobs a task has is reckoned from a sample where there are many.

        Args:
            window: Seconds (or "15m", or a timedelta) that rates and latencies look back,
                up to 179 minutes; rounded up to whole minutes.

        Raises:
            UsageError: The window cannot be meant.
            QueueUnavailable: Redis cannot be reached.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        from aiostreamq.client.info import look

        return await look(self.session().broker, window)

    async def workers(self) -> "list[WorkerInfo]":
        """Return who works on the queue, and what they run: as each told with its last beat.

        Raises:
            QueueUnavailable: Redis cannot be reached.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        from aiostreamq.client.info import look_at_workers

        return await look_at_workers(self.session().broker)

    def jobs(
        self,
        *,
        state: "JobState | str | Collection[JobState | str] | None" = None,
        task: "Enqueuer[..., object] | str | None" = None,
        since: "Duration | datetime | None" = None,
    ) -> "AsyncGenerator[JobInfo, None]":
        """Give jobs, as `async for job in queue.jobs(state="failed")`, read as they are asked for.

        First those that run, then those that wait in lanes, are delayed or parked, each the
        oldest first; then those that ended lately, the newest first. Jobs move on meanwhile:
        one may be given twice, or not at all.

        Args:
            state: A JobState or several; None is all of them.
            task: Only of this task, given as a Task or by its name.
            since: Only those that came into their state so many seconds ago (or "10m", or a
                timedelta) or less, or after a datetime. When a delayed job became one is
                not known: those are all given.

        Raises:
            UsageError: A state or a time cannot be meant.
            QueueUnavailable: Redis cannot be reached.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        from aiostreamq.client.job_listing import list_jobs

        return list_jobs(self.session, state, task, since, self.spec_of)

    def spec_of(self, name: str) -> TaskSpec | None:
        """What is known here of the task of a name."""
        task = self.tasks.get(name)
        return None if task is None else task.spec
