"""Middleware: functions of the application around the runs of jobs, and before each enqueue."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, TypeAlias

from aiostreamq.client.inherited import current_headers
from aiostreamq.errors import UsageError
from aiostreamq.model.duration import due_of, expiry_of
from aiostreamq.model.record import record

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Unpack

    from aiostreamq.client.call import Using
    from aiostreamq.model.duration import Duration
    from aiostreamq.model.options import TaskOptions


@record
class RunCall:
    """A run of a job, as middleware sees it."""

    task: str  #: name of the task
    job_id: str  #: id of the job
    attempt: int  #: number of this attempt, from 1: runs that raised and were retried count
    delivery: int  #: number of this delivery, from 1: each run of the job has a higher one
    worker: str  #: name of the worker that runs it
    headers: Mapping[str, str]  #: the headers of the job
    tags: tuple[str, ...]  #: the tags of the job
    _restore: Callable[[], tuple[Sequence[object], Mapping[str, object]]] = field(
        repr=False, compare=False
    )

    @property
    def args(self) -> tuple[object, ...]:
        """The positional arguments, of the types that the task annotates; without the context.

        Raises:
            PayloadError: An argument is not of its annotated type.
        """
        return tuple(self._restore()[0])

    @property
    def kwargs(self) -> dict[str, object]:
        """The keyword arguments, likewise."""
        return dict(self._restore()[1])


@record
class EnqueueCall:
    """A job that is about to be enqueued, as middleware sees it."""

    task: str  #: name of the task
    args: tuple[object, ...]  #: the positional arguments, as the caller gave them
    kwargs: Mapping[str, object]  #: the keyword arguments, likewise
    _using: "Using" = field(repr=False, compare=False)
    is_bulk: bool = False  #: whether it is one of the calls of `enqueue_many`

    @property
    def job_id(self) -> str | None:
        """The id that was chosen for the job; None if it gets a generated one."""
        return self._using.id

    @property
    def lane(self) -> str:
        """The lane of the job."""
        return self._using.options.lane

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the job."""
        return self._using.options.tags

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the job, with those that it inherits from the current job."""
        return {**current_headers(), **self._using.options.headers}

    @property
    def asked(self) -> "Using":
        """All options of the job, for the package itself."""
        return self._using

    def using(
        self,
        *,
        id: str | None = None,  # noqa: A002  # as in Enqueuer.using
        delay: "Duration | None" = None,
        at: "datetime | None" = None,
        expires: "Duration | datetime | None" = None,
        deadline: "Duration | datetime | None" = None,
        **options: "Unpack[TaskOptions]",
    ) -> "EnqueueCall":
        """Return the same call with other options, given as for `task.using(...)`.

        Raises:
            UsageError: An option has an invalid value.
        """
        due, ends = due_of(delay, at), expiry_of(deadline, "deadline")
        using = self._using.merged(id, due, expiry_of(expires), ends, options)
        if using.has_callbacks:
            from aiostreamq.client.callbacks import check_callbacks

            check_callbacks(using.options, None)
        return replace(self, _using=using)


#: Runs the rest: the middleware that was declared later, and the task itself.
CallNext: TypeAlias = Callable[[], Awaitable[object]]

#: Wraps a run.
Middleware: TypeAlias = Callable[[RunCall, CallNext], Awaitable[object]]

#: Returns the call to enqueue in place of the one that it gets.
EnqueueMiddleware: TypeAlias = Callable[[EnqueueCall], EnqueueCall]


def checked_middleware(given: Middleware) -> Middleware:
    """Return *given*.

    Raises:
        UsageError: It is not an `async def` that takes a call and `call_next`.
    """
    _check_callable("@queue.middleware", given, "async def f(call, call_next)", 2)
    if not _is_async(given):
        raise UsageError(
            f"@queue.middleware: {given!r} is not async: define it as "
            f"`async def f(call, call_next)`, and return `await call_next()`"
        )
    return given


def checked_enqueue_middleware(given: EnqueueMiddleware) -> EnqueueMiddleware:
    """Return *given*.

    Raises:
        UsageError: It is not a `def` that takes a call.
    """
    _check_callable("@queue.enqueue_middleware", given, "def f(call)", 1)
    if _is_async(given):
        raise UsageError(
            f"@queue.enqueue_middleware: {given!r} is async, and an enqueue does not wait for it: "
            f"define it as `def f(call)`, and return the call"
        )
    return given


def checked_answer(given: EnqueueMiddleware, answer: EnqueueCall) -> EnqueueCall:
    """Return *answer*, which enqueue middleware has returned.

    Raises:
        UsageError: It is not a call.
    """
    if not isinstance(answer, EnqueueCall):  # pyright: ignore[reportUnnecessaryIsInstance]  # unchecked callers
        raise UsageError(
            f"enqueue middleware {given!r} returned {answer!r}: return the call, or the changed "
            f"one, as in `return call.using(headers=...)`"
        )
    return answer


def _check_callable(decorator: str, given: object, form: str, count: int) -> None:
    if not callable(given) or isinstance(given, type):
        raise UsageError(f"{decorator} takes a function, got {given!r}: write `{form}`")
    try:
        inspect.signature(given).bind(*[None] * count)
    except TypeError:
        raise UsageError(
            f"{decorator}: {given!r} takes other arguments: define it as `{form}`"
        ) from None
    except ValueError:
        pass  # Python does not know its parameters


def _is_async(given: object) -> bool:
    functions = (given, inspect.unwrap(given) if callable(given) else None)
    own_call = getattr(given, "__call__", None)  # noqa: B004  # its own, if it is an object
    return any(map(inspect.iscoroutinefunction, (*functions, own_call)))
