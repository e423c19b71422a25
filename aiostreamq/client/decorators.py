"""The types of the decorators `@queue.task`, `@queue.cron(...)` and `@queue.every(...)`."""

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, TypeAlias, TypeVar, overload

from aiostreamq.client.call import C_co, Call
from aiostreamq.client.context import Context
from aiostreamq.client.task import AsyncTask, Enqueuer, P, StreamTask, SyncTask
from aiostreamq.model.options import TaskOptions
from aiostreamq.model.task import Place

if TYPE_CHECKING:
    from typing import Unpack

R = TypeVar("R")
T = TypeVar("T", bound=Enqueuer[..., Any] | Call[Any])

#: The values that a decorator takes besides functions, and returns as they are.
AsIs = TypeVar("AsIs")


class Decorator(Generic[AsIs]):
    """A decorator that makes a function a task.

    It is also what `queue.task` and `tasks.task` are, so that the overloads for functions are
    written once: type checkers cannot pass overloads on.
    """

    def __init__(self, apply: Callable[..., object]) -> None:
        self._apply = apply

    @overload
    def __call__(self: "ScheduleDecorator", task: T, /) -> T: ...
    # An `async def` is a function too, so the overloads overlap: the first match counts.
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload]
        self, function: Callable[Concatenate[Context[Any], P], AsyncIterable[C_co]], /
    ) -> StreamTask[Concatenate[Context[Any], P], P, C_co]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncIterable[C_co]], /) -> StreamTask[P, P, C_co]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Context[Any], P], Awaitable[R]], /
    ) -> AsyncTask[Concatenate[Context[Any], P], P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> AsyncTask[P, P, R]: ...
    @overload
    def __call__(
        self, function: Callable[Concatenate[Context[Any], P], R], /
    ) -> SyncTask[Concatenate[Context[Any], P], P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, P, R]: ...
    @overload
    def __call__(
        self: "TaskRegistrar",
        /,
        *,
        name: str | None = None,
        executor: Place | None = None,
        **options: "Unpack[TaskOptions]",
    ) -> "TaskDecorator": ...
    def __call__(self, /, *given: Any, **options: Any) -> object:
        """Register what is decorated, or return a decorator with options."""
        return self._apply(*given, **options)


#: It takes a function.
TaskDecorator: TypeAlias = Decorator[None]

#: It takes a function, or options.
TaskRegistrar: TypeAlias = Decorator[TaskOptions]

#: It takes a function, a task, a task with options, or a call of a task.
ScheduleDecorator: TypeAlias = Decorator[Enqueuer[..., Any] | Call[Any]]
