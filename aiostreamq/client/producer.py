"""Sending jobs."""

from typing import TYPE_CHECKING, TypeVar, overload

from aiostreamq.client.job import Job, StreamJob
from aiostreamq.client.task import C_co, Enqueuer, P, StreamEnqueuer, Using
from aiostreamq.model.keys import Keys, checked_name
from aiostreamq.model.options import Options, checked_job_id
from aiostreamq.model.spec import TaskSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Sequence
    from typing import Any

    from aiostreamq.client.dead import DeadLetters
    from aiostreamq.client.schedules import Schedules
    from aiostreamq.client.session import Session
    from aiostreamq.client.task import Call, Task
    from aiostreamq.model.lanes import Lanes
    from aiostreamq.model.terms import Terms
    from aiostreamq.store.connector import Connector
    from aiostreamq.store.server import Server

R = TypeVar("R")


class Producer:
    """Enqueues jobs and finds them again. `Queue` adds the tasks of its own."""

    def __init__(
        self,
        connect: "Callable[[], Connector]",
        name: str,
        lanes: "Lanes",
        terms: "Terms",
    ) -> None:
        self.name = name
        self.weights = lanes.weights  #: of the lanes, by their names
        self.strict = lanes.strict  #: whether a lane waits for all weightier ones
        self.lanes = tuple(lanes.weights)
        self.tasks: dict[str, Task[..., object]] = {}  #: the registered tasks by name
        self.max_payload = terms.max_payload
        self._terms = terms
        self._keys = Keys(name)
        self._connect = connect
        self._session: Session | None = None
        self._schedules: Schedules | None = None

    async def open(self) -> "Server":
        """Connect, and make the queue's streams where they are missing.

        Called for you on first use. Opening twice does nothing.

        Returns:
            Which server this is.

        Raises:
            QueueUnavailable: Redis cannot be reached.
            UnsupportedServer: This Redis is too old, or can not do what durability="fsync" needs.
            UsageError: The queue is already open in another event loop, or asks for
                a durability that `memory://` has not got.
        """
        return await self.session().open()

    async def aclose(self) -> None:
        """Send what is still under way and close the connections.

        A call that still waits for room in its lane is given up, and not enqueued.
        Whoever awaits a job gets QueueUnavailable. The queue can be opened again.
        """
        session = self._session
        if session is None:
            return
        await session.join()
        self._session = None
        await session.close()

    def session(self) -> "Session":
        """The open connections, made where there are none.

        Raises:
            UsageError: They belong to another event loop.
        """
        if self._session is None:
            # Imported with the first use, as its loop and its connections are made.
            from aiostreamq.client.session import Session

            self._session = Session(
                self._connect(),
                self._keys,
                self.lanes,
                self._spec_of,
                self._terms,
            )
        self._session.check_loop()
        return self._session

    @overload
    async def enqueue(
        self, task: StreamEnqueuer[P, C_co], *args: P.args, **kwargs: P.kwargs
    ) -> StreamJob[C_co]: ...
    @overload
    async def enqueue(self, task: Enqueuer[P, R], *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
    @overload
    async def enqueue(self, task: str, *args: object, **kwargs: object) -> Job[object]: ...
    async def enqueue(  # pyright: ignore[reportInconsistentOverload]  # P is not taken for "..."
        self, task: Enqueuer[..., object] | str, *args: object, **kwargs: object
    ) -> Job[object]:
        """Enqueue a call of *task*, given as a Task or by its name.

        Raises, returns and is cancelled as `Task.enqueue`.
        """
        if isinstance(task, str):
            task = self.by_name(task)
        return await task.enqueue(*args, **kwargs)

    async def enqueue_many(
        self, calls: "Iterable[Call[R]] | AsyncIterable[Call[R]]"
    ) -> list[Job[R]]:
        """Enqueue many calls, made with `task.bind(...)`, in their order.

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
        """Return the handle of a job by its id, whoever enqueued it. Asks nothing of Redis."""
        return Job(checked_job_id(job_id), self.session().waiter)

    @property
    def schedules(self) -> "Schedules":
        """What is enqueued again and again: to make, list, pause, trigger and delete."""
        if self._schedules is None:
            # Imported with the first use: it brings cronsim and the time zones.
            from aiostreamq.client.schedules import Schedules

            self._schedules = Schedules(self)
        return self._schedules

    @property
    def has_schedules(self) -> bool:
        """Whether the schedules of this queue were ever spoken of here. Imports nothing."""
        return self._schedules is not None

    @property
    def dead(self) -> "DeadLetters":
        """The dead letters: jobs that failed for good, to list, show, replay and purge."""
        # Imported with the first use: few programs look at them.
        from aiostreamq.client.dead import DeadLetters

        return DeadLetters(self)

    def submit(
        self,
        spec: TaskSpec,
        using: Using,
        args: "Sequence[object]",
        kwargs: "dict[str, object]",
    ) -> "Coroutine[Any, Any, Job[object]]":
        """Enqueue one call, together with all others that come in the same moment."""
        return self.session().submit(spec, using, args, kwargs)

    def by_name(self, name: str) -> Enqueuer[..., object]:
        """Return what enqueues the task of a name, be it known here or not."""
        task = self.tasks.get(name)
        if task is not None:
            return task
        return Enqueuer(TaskSpec(checked_name("task", name)), self, Using(Options()))

    def _spec_of(self, name: str) -> TaskSpec | None:
        task = self.tasks.get(name)
        return None if task is None else task.spec
