"""`Lifespan`: a function that opens what the jobs of a worker process use, and closes it."""

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import update_wrapper
from typing import Any, Generic, TypeVar, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.functions.callables import called

S_co = TypeVar("S_co", covariant=True)

_ADVICE = (
    "write an `async def` that yields the state once, or give a function that returns an "
    "asynchronous context manager"
)

_NEEDED = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
}


class Lifespan(Generic[S_co]):
    """A function registered with `@queue.lifespan`.

    Workers enter it before their first job and leave it after the last one. Calling it opens the
    same by hand, as in a test: `async with lifespan() as state:`.
    """

    __name__: str

    def __init__(self, function: Callable[[], object]) -> None:
        """Check *function*.

        Raises:
            UsageError: It cannot be a lifespan.
        """
        self.name = name = _name_of(function)  #: the name in messages
        self.function = function
        self._open = _opener(name, function)
        self.__name__ = name
        update_wrapper(cast("Callable[..., Any]", self), function, updated=())

    def place(self) -> tuple[str, str]:
        """Return the module and the qualified name by which a process finds it.

        Raises:
            UsageError: It cannot be imported.
        """
        module = getattr(self.function, "__module__", None)
        qualname = getattr(self.function, "__qualname__", None)
        if not module or not qualname or "<" in qualname or module == "__main__":
            raise UsageError(
                f"lifespan {self.name!r}: the queue has tasks of executor='process', and a process "
                f"finds the lifespan by importing it: define it with `def` or `async def` at the "
                f"top of a module that the program imports"
            )
        return module, qualname

    def __call__(self) -> AbstractAsyncContextManager[S_co]:
        """Return the context manager that opens and closes it.

        Raises:
            TypeError: The function returned something else.
        """
        manager = self._open()
        if not hasattr(type(manager), "__aenter__") or not hasattr(type(manager), "__aexit__"):
            raise TypeError(
                f"lifespan {self.name!r} returned an object of type "
                f"{type(manager).__qualname__!r}: {_ADVICE}"
            )
        return cast("AbstractAsyncContextManager[S_co]", manager)

    def __repr__(self) -> str:
        return f"<Lifespan {self.name}>"


def _opener(name: str, function: Callable[[], object]) -> Callable[[], object]:
    """Return what opens a lifespan when it is called."""
    code = called(function) if not isinstance(function, type) else function
    if inspect.iscoroutinefunction(code):
        raise UsageError(f"lifespan {name!r} does not yield: {_ADVICE}")
    if inspect.isgeneratorfunction(code):
        raise UsageError(f"lifespan {name!r} is a `def` that yields: make it an `async def`")
    _refuse_parameters(name, function)
    if inspect.isasyncgenfunction(code):
        return asynccontextmanager(cast("Callable[[], AsyncGenerator[object]]", function))
    return function


def _refuse_parameters(name: str, function: Callable[[], object]) -> None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return  # Python does not know them
    for one in parameters:
        if one.kind in _NEEDED and one.default is one.empty:
            raise UsageError(
                f"lifespan {name!r} has the parameter {one.name!r}: it is called without "
                f"arguments. Its queue is the one in the decorator"
            )


def _name_of(function: object) -> str:
    if isinstance(function, Lifespan):
        raise UsageError(f"lifespan {function.name!r} is registered already")
    if not callable(function):
        kind = type(function).__qualname__
        raise UsageError(
            f"queue.lifespan was given an object of type {kind!r}: decorate a function, without "
            f"calling it"
        )
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__qualname__
