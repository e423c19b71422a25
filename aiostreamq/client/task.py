"""Tasks: functions whose calls can be enqueued."""

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, cast

from aiostreamq.client.call import C_co, Call, R_co, StreamCall, Using
from aiostreamq.errors import UsageError
from aiostreamq.model.duration import due_of, expiry_of
from aiostreamq.model.functions.callables import Origin

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Unpack

    from aiostreamq.client.hooks import Hooks
    from aiostreamq.client.job import Job, StreamJob
    from aiostreamq.client.resources.resources import Resources
    from aiostreamq.client.results.waiter import ResultWaiter
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.options import TaskOptions
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.enqueue import IdWas

P = ParamSpec("P")  # the parameters to enqueue it with
C = ParamSpec("C")  # the parameters to call it with: those and the context, if it takes one


class CallSender(Protocol):
    """Enqueues calls."""

    async def know_time(self) -> None:
        """Make sure that Redis's time is known."""
        ...

    def put(
        self,
        spec: "TaskSpec",
        using: Using,
        args: "Sequence[object]",
        kwargs: dict[str, object],
    ) -> "tuple[Job[object], asyncio.Future[IdWas]]":
        """Enqueue one call; return the job, and a future that is done when Redis has it."""
        ...


class EnqueuingSession(Protocol):
    """A session, as a task needs it to be enqueued."""

    @property
    def waiter(self) -> "ResultWaiter":
        """The waiter for the results of its jobs."""
        ...

    @property
    def enqueuing(self) -> CallSender:
        """The sender of its calls."""
        ...


class Submitter(Protocol):
    """A queue, as a task needs it to be enqueued."""

    @property
    def hooks(self) -> "Hooks | None":
        """The hooks that the application has added; None if there are none."""
        ...

    def session(self) -> EnqueuingSession:
        """Return the session of the running event loop."""
        ...

    @property
    def resources(self) -> "Resources":
        """The things that tasks of the queue use besides their arguments."""
        ...

    def name_of(self, spec: "TaskSpec") -> str:
        """Return the name of a task in the queue."""
        ...

    def own_spec(self, spec: "TaskSpec") -> "TaskSpec":
        """Return the spec of the same task in the queue, or raise UsageError."""
        ...


class Enqueuer(Generic[P, R_co]):
    """A task, or a task with options for its next jobs: something whose calls can be enqueued."""

    def __init__(self, spec: "TaskSpec", submitter: Submitter, using: Using) -> None:
        self.spec = spec
        self._submitter = submitter
        self._using = using

    async def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> "Job[R_co]":
        """Enqueue a call with these arguments.

        Returns:
            The job. It is in Redis when this returns. If another job holds its key (`unique`), that
            job, with `is_new` False.

        Raises:
            UsageError: The arguments do not fit the task, its lane is unknown, its key function
                raised, or the queue is open in another event loop that is running.
            PayloadError: An argument or the key cannot be sent as JSON, or the call is too long.
            AlreadyEnqueued: Another job holds the key, and the task has
                `Unique(on_conflict="raise")`.
            QueueUnavailable: Redis could not be reached within the queue's `enqueue_timeout`.
            EnqueueNotConfirmed: The job is in Redis, but not confirmed as `durability` asks.
            QueueFull: The lane holds `max_length` jobs, and the queue does not wait for room.
            BrokerError: Redis refused.
            Exception: Any by which enqueue middleware refuses the call; nothing is enqueued then.

        Cancelling is safe for the queue, but the job may or may not have been
        enqueued; with an id from `.using(id=...)` it can be enqueued again safely.
        A call that waits for room in its lane is not enqueued when it is cancelled,
        unless it found room at that very moment.
        """
        # All in this coroutine: one more inside it would cost each enqueue 0.1 µs.
        session, using = self._submitter.session(), self._using
        if (hooks := self._submitter.hooks) is not None:
            using = hooks.applied(self.spec, using, args, kwargs)
        if using.needs_time:
            await session.enqueuing.know_time()
        job, entering = session.enqueuing.put(self.spec, using, args, kwargs)
        id_was = await entering
        if using.id is not None:
            job.note_id(session.waiter, id_was)
        return job  # pyright: ignore[reportReturnType]  # a cast would cost time on each enqueue

    def bind(self, /, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """Return the call with these arguments, for `queue.enqueue_many`."""
        return Call(self.spec, self._using, args, kwargs)

    def using(
        self,
        *,
        id: str | None = None,  # noqa: A002  # the name users expect
        delay: "Duration | None" = None,
        at: "datetime | None" = None,
        expires: "Duration | datetime | None" = None,
        deadline: "Duration | datetime | None" = None,
        **options: "Unpack[TaskOptions]",
    ) -> "Enqueuer[P, R_co]":
        """Return the same task with options for the next jobs.

        Args:
            id: The job's id. If a job has this id already, nothing is enqueued, and
                that job is returned.
            delay: Seconds (or "10s", or a timedelta) until the job may start, by
                Redis's clock.
            at: When the job may start: a datetime with a time zone.
            expires: When the job expires unless it has started: seconds from the enqueue, or a
                datetime with a time zone, by Redis's clock. An expired job never starts, and
                ends with JobExpired.
            deadline: When the job must have ended, given like *expires*. It also holds for all
                jobs that the job enqueues while it runs, and for theirs. Past the deadline, a job
                that has not started ends with JobExpired, and a running one is stopped as by a
                timeout, without a further attempt. The earliest of several deadlines holds.
            **options: Any option of `@queue.task`, in place of the task's own. `headers` are added
                to those that are given already; a name that is given again gets the new value.
                `on_success` and `on_failure` take a call, as in `notify.bind("done")`, that is
                enqueued when the job is done, or has failed.

        Raises:
            UsageError: An option has an invalid value.
            PayloadError: An argument of a callback cannot be sent as JSON.
        """
        if "limits" in options or "ordered" in options:
            are = "limits" in options
            raise UsageError(
                f"task {self.spec.name!r}: {'limits are' if are else 'an order is'} for all jobs "
                f"of a task, and cannot be given to one: use "
                f"@queue.task({'limits=[...]' if are else 'ordered=...'})"
            )
        due, ends = due_of(delay, at), expiry_of(deadline, "deadline")
        using = self._using.merged(id, due, expiry_of(expires), ends, options)
        if using.has_callbacks:
            # Imported at the first use: most jobs have none.
            from aiostreamq.client.callbacks import check_callbacks

            check_callbacks(using.options, self._submitter)
        if using.options.unique is not None and self.spec.signature is not None:
            from aiostreamq.model.functions.call_key import check_rule

            check_rule(using.options.unique, self.spec.name, self.spec.signature)
            if self.spec.is_ordered:
                from aiostreamq.model.functions.limit_keys import check_order

                check_order(using.options, self.spec.name)
        return self._with(using)

    def name_in_queue(self) -> str:
        """Return the name of the task in its queue; for the package itself."""
        return self._submitter.name_of(self.spec)

    def of_queue(
        self, spec: "TaskSpec", submitter: Submitter, task: "Enqueuer[..., object]"
    ) -> "Enqueuer[..., object]":
        """Return the same task in the queue that has it as *task*; for the package itself."""
        del task
        return type(self)(spec, submitter, self._using)

    def _with(self, using: Using) -> "Enqueuer[P, R_co]":
        return Enqueuer(self.spec, self._submitter, using)


class StreamEnqueuer(Enqueuer[P, None], Generic[P, C_co]):
    """A streaming task, or one with options for its next jobs."""

    def bind(self, /, *args: P.args, **kwargs: P.kwargs) -> StreamCall[C_co]:
        """Return the call with these arguments, for `queue.enqueue_many`."""
        return StreamCall(self.spec, self._using, args, kwargs)

    def _with(self, using: Using) -> "StreamEnqueuer[P, C_co]":
        return StreamEnqueuer(self.spec, self._submitter, using)

    if TYPE_CHECKING:

        async def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> "StreamJob[C_co]":
            """Enqueue a call with these arguments."""
            ...

        def using(
            self,
            *,
            id: str | None = None,  # noqa: A002  # as above
            delay: "Duration | None" = None,
            at: "datetime | None" = None,
            expires: "Duration | datetime | None" = None,
            deadline: "Duration | datetime | None" = None,
            **options: "Unpack[TaskOptions]",
        ) -> "StreamEnqueuer[P, C_co]":
            """Return the same task with options for the next jobs."""
            ...


class Task(Enqueuer[P, R_co]):
    """A registered function. Calling it runs it here; `.enqueue` makes a worker run it.

    It has the function's name, docstring and annotations. Other attributes of the function can
    be read from it too, unless the task has one of the same name. `task.__wrapped__` is the
    function itself.
    """

    __name__: str
    __wrapped__: "Callable[..., object]"

    def __init__(self, spec: "TaskSpec", submitter: Submitter) -> None:
        super().__init__(spec, submitter, Using.of(spec.options))
        self._function = cast("Callable[..., Any]", spec.function)
        self.__name__ = spec.name  # for partials and callable objects, which have none
        self.origin = Origin.of(self._function)  #: the place of its definition; not public
        # Without the function's own attributes: one of them could be called `spec`.
        update_wrapper(cast("Callable[..., Any]", self), self._function, updated=())

    if not TYPE_CHECKING:  # so that a type checker reports `task.enqeue`

        def __getattr__(self, name: str) -> object:
            # While a copy is being made it has no attributes yet, not even `_function`.
            function = self.__dict__.get("_function")
            if function is not None and not name.startswith("__"):
                with suppress(AttributeError):
                    return getattr(function, name)
            kind = type(self).__name__
            raise AttributeError(f"{kind!r} object has no attribute {name!r}", name=name, obj=self)

    @property
    def resources(self) -> "Resources":
        """The things that tasks of its queue use besides their arguments; not public."""
        return self._submitter.resources

    @property
    def name(self) -> str:
        """The task's name in the queue."""
        return self.spec.name

    def of_queue(
        self, spec: "TaskSpec", submitter: Submitter, task: "Enqueuer[..., object]"
    ) -> "Enqueuer[..., object]":
        """Return *task*, which has no options of its own."""
        del spec, submitter
        return task

    def __repr__(self) -> str:
        return f"<Task {self.name}>"


class AsyncTask(Task[P, R_co], Generic[C, P, R_co]):
    """A task made from an `async def`."""

    async def __call__(self, /, *args: C.args, **kwargs: C.kwargs) -> R_co:
        """Call the function directly, without the queue."""
        return await self._function(*args, **kwargs)

    # `inspect` looks for these in a function: `inspect.iscoroutinefunction(task)` must be true for
    # web frameworks, which check what they are given to run, and mock, which checks its targets.
    __code__ = __call__.__code__
    __defaults__ = None
    __kwdefaults__ = None


class SyncTask(Task[P, R_co], Generic[C, P, R_co]):
    """A task made from a `def`; workers run it in a thread or a process."""

    def __call__(self, /, *args: C.args, **kwargs: C.kwargs) -> R_co:
        """Call the function directly, without the queue."""
        return self._function(*args, **kwargs)


class StreamTask(Task[P, None], StreamEnqueuer[P, C_co], Generic[C, P, C_co]):
    """A task made from an async generator; its jobs stream the values that it yields."""

    def __call__(self, /, *args: C.args, **kwargs: C.kwargs) -> AsyncGenerator[C_co, None]:
        """Call the function directly, without the queue."""
        return self._function(*args, **kwargs)


def hooks_of(task: Task[..., object]) -> "Hooks | None":
    """Return the hooks of the queue of a task, for the package itself."""
    # Not a member of the task: its function may have an attribute of the same name.
    return task._submitter.hooks  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
