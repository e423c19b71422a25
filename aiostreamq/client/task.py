"""Tasks: functions whose calls can be enqueued."""

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import update_wrapper
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.duration import due_word, expiry_word
from aiostreamq.model.functions.callables import Origin
from aiostreamq.model.options import Options, TaskOptions, checked_job_id
from aiostreamq.model.retry import retries_to_wire

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Unpack

    from aiostreamq.client.job import Job, StreamJob
    from aiostreamq.client.sessions.session import Session
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.task import TaskSpec

P = ParamSpec("P")  # how it is enqueued
C = ParamSpec("C")  # how it is called: with the context, where it takes one
R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)  # what a streaming task yields


# What `.using(...)` takes beside the options of the task.
_OF_JOBS = ("id", "delay", "at", "expires", "deadline")


@dataclass(frozen=True, slots=True)
class Using:
    """What was said in `.using(...)` about the next jobs."""

    options: Options
    id: str | None = None  #: the job's id; None makes one
    told: dict[str, object] = field(default_factory=dict[str, object])  #: what workers must hear of
    due: str | None = None  #: as the delay script takes it; None is now
    expires: str | None = None  #: written like `due`; None is never
    deadline: str | None = None  #: the same

    @property
    def needs_time(self) -> bool:
        """Whether it has a moment that may be reckoned from the enqueue."""
        return self.expires is not None or self.deadline is not None

    def merged(
        self,
        job_id: str | None,
        due: str | None,
        expires: str | None,
        deadline: str | None,
        words: TaskOptions,
    ) -> "Using":
        """Return this with *words* said over it."""
        options = self.options.merged(words, _OF_JOBS)
        told = dict(self.told)
        if "timeout" in words:
            told["timeout"] = options.timeout or 0  # 0: none, also where the task has one
        if "result_ttl" in words:
            told["result_ttl"] = options.result_ttl
        if "retry" in words:
            told["retry"] = retries_to_wire(options.retry)
        return Using(
            options,
            self.id if job_id is None else checked_job_id(job_id),
            told,
            self.due if due is None else due,
            self.expires if expires is None else expires,
            self.deadline if deadline is None else deadline,
        )


# Not frozen: that would triple the cost of making one, and bulk makes thousands.
@dataclass(slots=True)
class Call(Generic[R_co]):
    """A call of a task, ready for `queue.enqueue_many`."""

    spec: "TaskSpec"
    using: Using
    args: tuple[object, ...]
    kwargs: dict[str, object]


class StreamCall(Call[None], Generic[C_co]):
    """A call of a streaming task."""

    __slots__ = ()


class Submitter(Protocol):
    """What a task needs to be enqueued."""

    def session(self) -> "Session":
        """The session of the event loop that runs."""
        ...


class Enqueuer(Generic[P, R_co]):
    """Something whose calls can be enqueued: a task, or a task with options said."""

    def __init__(self, spec: "TaskSpec", submitter: Submitter, using: Using) -> None:
        self.spec = spec
        self._submitter = submitter
        self._using = using

    async def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> "Job[R_co]":
        """Enqueue a call with these arguments.

        Returns:
            The job. It is in Redis when this returns.

        Raises:
            UsageError: The task cannot be called so, its lane is unknown, or the queue is open
                in another event loop that runs.
            PayloadError: An argument cannot travel, or all together are too long.
            QueueUnavailable: Redis could not be reached within the queue's deadline.
            EnqueueNotConfirmed: The job is in Redis, but not where `durability` wants it.
            QueueFull: The lane holds `max_length` jobs, and the queue does not wait.
            BrokerError: Redis refused.

        Cancelling is safe for the queue, but the job may or may not have been
        enqueued; give it an id with `.using(id=...)` to enqueue it again without doubt.
        A call that waits for room in its lane is not enqueued when it is cancelled,
        unless room came in that very moment.
        """
        # All in this coroutine: one more inside it would cost each enqueue 0.1 µs.
        session, using = self._submitter.session(), self._using
        if using.needs_time:
            await session.know_time()
        job, entering = session.put(self.spec, using, args, kwargs)
        id_was = await entering
        if using.id is not None:
            job.note_id(session.waiter, id_was)
        return job  # pyright: ignore[reportReturnType]  # no cast: it costs each enqueue something

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
        **words: "Unpack[TaskOptions]",
    ) -> "Enqueuer[P, R_co]":
        """Return the same with options for the next jobs.

        Args:
            id: The job's id. An id that is taken enqueues nothing: the job
                that has it is returned.
            delay: Seconds (or "10s", or a timedelta) until the job may start, by
                Redis's clock.
            at: When the job may start: a datetime with a time zone.
            expires: Seconds from the enqueue, or a datetime with a time zone, by
                Redis's clock: a job that has not been started by then never is, and
                ends with JobExpired.
            deadline: The same for its end, and for those of all jobs that it enqueues while it
                runs, and so on: what is past it is not started and ends with JobExpired, what
                runs then is stopped as by a timeout, with no further attempt. The
                earliest of several holds.
            **words: Any option of `@queue.task`, over the task's own.

        Raises:
            UsageError: An option has a value that cannot be meant.
        """
        due, ends = due_word(delay, at), expiry_word(deadline, "deadline")
        using = self._using.merged(id, due, expiry_word(expires), ends, words)
        return self._with(using)

    def _with(self, using: Using) -> "Enqueuer[P, R_co]":
        return Enqueuer(self.spec, self._submitter, using)


class StreamEnqueuer(Enqueuer[P, None], Generic[P, C_co]):
    """Something whose calls are jobs that stream."""

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
            **words: "Unpack[TaskOptions]",
        ) -> "StreamEnqueuer[P, C_co]":
            """Return the same with options for the next jobs."""
            ...


def name_of(task: Enqueuer[..., object] | str) -> str:
    """Return the name of *task*, given as a Task or by its name.

    Raises:
        UsageError: It is neither.
    """
    if isinstance(task, str):
        return task
    try:
        return task.spec.name
    except AttributeError:
        raise no_task(task) from None


def no_task(task: object) -> UsageError:
    """Return what is told of something that is no task: mostly the function of one."""
    # Not its repr, which may hold arguments.
    if iscoroutine(task):
        task.close()  # or Python warns that it was never awaited
        return UsageError(
            f"this is a coroutine of {task.__qualname__}, and no task: give the task itself, and "
            f"its arguments behind it, as in queue.enqueue(task, 1)"
        )
    if isinstance(task, Call):
        name = cast("Call[object]", task).spec.name
        return UsageError(
            f"this is a call of task {name!r}, and no task: use queue.enqueue_many([call]), or "
            f"queue.enqueue({name}, ...) with its arguments"
        )
    if callable(task) and not isinstance(task, type):
        named = f"function {getattr(task, '__name__', type(task).__name__)!r}"
    else:
        named = f"this {getattr(task, '__name__', None) or type(task).__name__}"
    return UsageError(
        f"{named} is no task: give what @queue.task has made of its function, or its name"
    )


class Task(Enqueuer[P, R_co]):
    """A registered function. Calling it just runs it; `.enqueue` has a worker run it.

    It has the function's name, docstring and annotations. Other attributes of the function can
    be read from it as well, unless the task has one of that name: `task.__wrapped__` is the
    function itself.
    """

    __name__: str
    __wrapped__: "Callable[..., object]"

    def __init__(self, spec: "TaskSpec", submitter: Submitter) -> None:
        super().__init__(spec, submitter, Using(spec.options))
        self._function = cast("Callable[..., Any]", spec.function)
        self.__name__ = spec.name  # for a partial or an object, which have none
        self.origin = Origin.of(self._function)  #: where it was defined; not public
        # Not the function's own attributes: one of them could be called `spec`.
        update_wrapper(cast("Callable[..., Any]", self), self._function, updated=())

    if not TYPE_CHECKING:  # a type checker shall report `task.enqeue`

        def __getattr__(self, name: str) -> object:
            # A copy that is being made has no attributes yet, not even `_function`.
            function = self.__dict__.get("_function")
            if function is not None and not name.startswith("__"):
                with suppress(AttributeError):
                    return getattr(function, name)
            kind = type(self).__name__
            raise AttributeError(f"{kind!r} object has no attribute {name!r}", name=name, obj=self)

    @property
    def name(self) -> str:
        """What the task is called in the queue."""
        return self.spec.name

    def __repr__(self) -> str:
        return f"<Task {self.name}>"


class AsyncTask(Task[P, R_co], Generic[C, P, R_co]):
    """A task made from an `async def`."""

    async def __call__(self, /, *args: C.args, **kwargs: C.kwargs) -> R_co:
        """Run the function here and now, without the queue."""
        return await self._function(*args, **kwargs)

    # What `inspect` looks for in a function, so that `inspect.iscoroutinefunction(task)` is true.
    # Web frameworks ask it of what they are given to run, and mock of what it replaces.
    __code__ = __call__.__code__
    __defaults__ = None
    __kwdefaults__ = None


class SyncTask(Task[P, R_co], Generic[C, P, R_co]):
    """A task made from a `def`; workers run it in a thread or in a process."""

    def __call__(self, /, *args: C.args, **kwargs: C.kwargs) -> R_co:
        """Run the function here and now, without the queue."""
        return self._function(*args, **kwargs)


class StreamTask(Task[P, None], StreamEnqueuer[P, C_co], Generic[C, P, C_co]):
    """A task made from an async generator, whose jobs stream what it yields."""

    def __call__(self, /, *args: C.args, **kwargs: C.kwargs) -> AsyncGenerator[C_co, None]:
        """Run the function here and now, without the queue."""
        return self._function(*args, **kwargs)
