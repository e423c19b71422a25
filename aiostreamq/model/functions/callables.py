"""The callables that can be tasks, and how workers call them.

Nearly every callable can be a task. The others are refused at registration, with advice on what
to write instead: found by a worker, the mistake would be a failed job.
"""

import inspect
import sys
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial, partialmethod
from types import CodeType
from typing import Any, Literal, cast, get_args, get_origin

from aiostreamq.errors import UsageError
from aiostreamq.model.record import record

Function = Callable[..., object]

#: How a function gives its result: at once, by being awaited, or piece by piece.
Style = Literal["plain", "awaited", "streamed"]


def checked_function(given: object) -> Function:
    """Return the function to register for *given*.

    Raises:
        UsageError: *given* cannot be called, or not by a worker.
    """
    if isinstance(given, staticmethod):
        return checked_function(cast("staticmethod[..., object]", given).__func__)
    if isinstance(given, str):
        raise UsageError(
            f"@queue.task({given!r}): pass the name by keyword: write @queue.task(name={given!r})"
        )
    if inspect.iscoroutine(given) or inspect.isgenerator(given) or inspect.isasyncgen(given):
        name = given.__qualname__
        if inspect.iscoroutine(given):
            given.close()  # or Python would warn that it was never awaited
        raise UsageError(
            f"queue.task was given a call of {name!r}: pass the function without calling it"
        )
    if isinstance(given, classmethod | partialmethod | property):
        kind = type(cast("object", given)).__name__
        raise UsageError(
            f"queue.task was given a {kind} whose class does not exist yet: register it below the "
            f"class, as in queue.task(Jobs.add), or make it a @staticmethod"
        )
    if isinstance(given, type):
        raise UsageError(
            f"queue.task was given the class {given.__qualname__!r}: pass a function, or a "
            f"callable object of the class"
        )
    if not callable(given):
        raise UsageError(f"queue.task was given {_kind(given)}: pass a function")
    return given


def name_for(function: Function) -> str:
    """Return the default name of a task, taken from *function*.

    Raises:
        UsageError: *function* has no name.
    """
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        what = "a lambda" if name else _kind(function)
        raise UsageError(
            f"queue.task was given {what}, which has no name: set one with @queue.task(name='...')"
        )
    return name


def refuse_unbound(task: str, function: Function, signature: inspect.Signature) -> None:
    """Raise UsageError if *function* is a method without an object."""
    within, _, name = getattr(function, "__qualname__", "").rpartition(".")
    if not inspect.isfunction(function) or not within or within.endswith("<locals>"):
        return
    if next(iter(signature.parameters), None) in {"self", "cls"}:
        owner = within.rpartition(".")[2]
        raise UsageError(
            f"task {task!r} is a method of {owner} without an object: register it on an object, "
            f"as in queue.task({owner}().{name}), or make it a @staticmethod"
        )


def signature_of(whose: str, function: Function) -> inspect.Signature:
    """Return the signature of *function*, named *whose*; its annotations may be strings.

    Raises:
        UsageError: Python does not know its parameters.
    """
    options: dict[str, Any] = {}
    if sys.version_info >= (3, 14):  # there, annotations raise if they name something undefined
        from annotationlib import Format

        options["annotation_format"] = Format.FORWARDREF
    try:
        return inspect.signature(function, **options)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{whose}: Python does not know its parameters ({error}): call it in a function of "
            f"your own, and use that"
        ) from error


def style_of(task: str, function: Function, returned: object) -> Style:
    """Return how *function* gives its result; *returned* is the annotation of the result.

    Raises:
        UsageError: *function* is a generator.
    """
    code = called(function)
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(code):
        return "awaited"
    if inspect.isgeneratorfunction(code):
        raise UsageError(
            f"task {task!r} yields: make it an `async def`, which streams, or return a list"
        )
    if inspect.isasyncgenfunction(code) or _is_a(returned, AsyncIterable):
        return "streamed"
    if _is_a(returned, Awaitable):
        return "awaited"
    # A `def` around an async generator returns the generator. A `def` around an `async def` may
    # also run it, as with asyncio.run: it is called in a thread, and its result is awaited.
    is_around_a_stream = inspect.isasyncgenfunction(annotated(function))
    return "streamed" if is_around_a_stream else "plain"


def travelling(function: Function, returned: object) -> object:
    """Return the annotation of the values that are sent, if *returned* annotates the result."""
    if _is_a(returned, AsyncIterable):
        return next(iter(get_args(returned)), Any)
    code = called(function)
    is_coroutine = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(code)
    if _is_a(returned, Awaitable) and not is_coroutine:
        return next(reversed(get_args(returned)), Any)
    return returned


def called(function: Function) -> Function:
    """Return the function whose code runs first when *function* is called."""
    while (inner := _inner(function)) is not None:
        function = inner
    return function


def annotated(function: Function) -> Function:
    """Return the function whose annotations `inspect.signature(function)` shows."""
    found: Any = function
    while True:
        if inspect.ismethod(found):
            found = found.__func__
        elif _is_wrapper(found) and getattr(found, "__signature__", None) is None:
            found = found.__wrapped__
        elif (inner := _inner(found)) is not None:
            found = inner
        else:
            return found


@record
class Origin:
    """The place of a function's definition, by which a new definition of it is recognized."""

    module: str | None
    qualname: str | None
    code: CodeType | None  #: code of the innermost function, inside all decorators
    import_spec: object  #: spec of its module, a new object after each import

    @classmethod
    def of(cls, function: Function) -> "Origin":
        """Return where *function* was defined."""
        module = getattr(function, "__module__", None)
        imported = sys.modules.get(module) if isinstance(module, str) else None
        return cls(
            module,
            getattr(function, "__qualname__", None),
            getattr(annotated(function), "__code__", None),
            getattr(imported, "__spec__", None),
        )

    def is_again(self, earlier: "Origin") -> bool:
        """Whether this is the function of *earlier*, after its source was executed again.

        Sources that are executed again are notebook cells, prompt inputs and reloaded modules. If
        the same lines create a function twice, in a loop, those are two functions.
        """
        is_same = (self.module, self.qualname) == (earlier.module, earlier.qualname)
        if not is_same or self.code is None or earlier.code is None or self.code is earlier.code:
            return False
        is_reloaded = self.import_spec is not earlier.import_spec
        return self.module == "__main__" or self.code.co_filename.startswith("<") or is_reloaded

    def __str__(self) -> str:
        if self.code is None:
            return f"{self.module}.{self.qualname}"
        return f"{self.code.co_filename}:{self.code.co_firstlineno}"


def _inner(function: Any) -> Function | None:
    """Return the function that *function* wraps without code of its own; None if it has code."""
    if isinstance(function, partial):
        return cast("partial[object]", function).func
    if isinstance(function, staticmethod) or inspect.ismethod(function):
        return cast("Function", function.__func__)
    if inspect.isroutine(function) or isinstance(function, type):
        return None
    return type(function).__call__  # a callable object


def _is_wrapper(function: object) -> bool:
    # In `__dict__`, because an object such as a Mock has every attribute that it is asked for.
    return callable(getattr(function, "__dict__", {}).get("__wrapped__"))


def _is_a(annotation: object, kind: type) -> bool:
    found = get_origin(annotation) or annotation
    return isinstance(found, type) and issubclass(found, kind)


def _kind(value: object) -> str:
    return f"an object of type {type(value).__qualname__!r}"
