"""The decorators that `@queue.task(...)`, `@queue.cron(...)` and `@queue.every(...)` return."""

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any, Concatenate, Generic, TypeAlias, TypeVar, overload

from aiostreamq.client.call import C_co, Call
from aiostreamq.client.context import Context
from aiostreamq.client.task import AsyncTask, Enqueuer, P, StreamTask, SyncTask

R = TypeVar("R")
T = TypeVar("T", bound=Enqueuer[..., Any] | Call[Any])

#: The values that a decorator takes besides functions, and returns as they are.
AsIs = TypeVar("AsIs")


class Decorator(Generic[AsIs]):
    """A decorator that makes a function a task.

    Type checkers cannot pass overloads on, so `Queue.task` has the same ones for functions.
    """

    def __init__(self, apply: Callable[[Callable[..., object]], object]) -> None:
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
    def __call__(self, given: Any, /) -> object:
        """Register what is decorated."""
        return self._apply(given)


#: It takes a function.
TaskDecorator: TypeAlias = Decorator[None]

#: It takes a function, a task, a task with options, or a call of a task.
ScheduleDecorator: TypeAlias = Decorator[Enqueuer[..., Any] | Call[Any]]
