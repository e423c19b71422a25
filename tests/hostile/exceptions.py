"""Exceptions that make it hard to tell anything about them. `EXCEPTIONS` gives each its name."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Iterator
from typing import Any, cast

CHAIN = 5_000
LONG = 100_000_000


class Raising(Exception):
    """What is raised if it does not matter what."""


class AnswersFromDict(Exception):
    """Answers every attribute from a dict, as clients of web APIs like to do."""

    def __init__(self) -> None:
        super().__init__("the API said no")
        self.data = {"code": 402}

    def __getattr__(self, name: str) -> object:
        return self.data[name]


class RaisesForAll(Exception):
    """Raises for every attribute, methods too."""

    def __getattribute__(self, name: str) -> object:
        raise ZeroDivisionError(name)


class Interrupts(Exception):
    """Raises what is no Exception, for every attribute."""

    def __getattribute__(self, name: str) -> object:
        raise KeyboardInterrupt(name)


def raising(name: str, error: Callable[[], BaseException]) -> type[Exception]:
    """Return a class that has a property or method *name* which raises."""

    def fail(*_: object) -> object:
        raise error()

    member = fail if name in {"__str__", "__repr__", "__bool__", "__len__"} else property(fail)
    return type("Raising", (Exception,), {name: member})


class Meta(type):
    """A metaclass that answers nothing about its classes."""

    def __getattribute__(cls, name: str) -> object:
        raise LookupError(name)

    def __instancecheck__(cls, instance: object) -> bool:
        raise LookupError

    def __eq__(cls, other: object) -> bool:
        raise LookupError

    def __hash__(cls) -> int:
        raise LookupError


class OfMeta(Exception, metaclass=Meta):
    """An exception whose class answers nothing."""


class Text(str):
    """A string that raises when it is used."""

    __slots__ = ()

    def encode(self, *_: object, **__: object) -> bytes:
        """Raise."""
        raise LookupError

    def __str__(self) -> str:
        return self

    def __getitem__(self, _: object) -> str:
        raise LookupError

    def __format__(self, _: str) -> str:
        raise LookupError

    def __len__(self) -> int:
        raise LookupError


class SaysText(Exception):
    """Says what it is with such a string."""

    def __str__(self) -> str:
        return Text("strange text")


class EndlessCauses(Exception):
    """Each has another cause, made when it is asked for."""

    @property
    def __cause__(self) -> BaseException:  # pyright: ignore[reportIncompatibleVariableOverride]
        return EndlessCauses("another")


class EndlessMembers(ExceptionGroup[Exception]):
    """A group whose members are groups like it, made when they are asked for."""

    @property
    def exceptions(self) -> tuple[Exception, ...]:
        """Another group."""
        return (EndlessMembers("more", [ValueError()]),)


class NoModule(Exception):
    """Its module is no text."""


cast("Any", NoModule).__module__ = 3


class OddName(Exception):
    """Its name cannot be written as UTF-8."""


OddName.__qualname__ = Text("Odd\ud800")


def syntax_error() -> BaseException:
    """Return an error in a line of bytes, as a template engine raises it."""
    return SyntaxError("bad line", ("template", 1, 2, cast("Any", b"{% if")))


def odd_syntax_error() -> BaseException:
    """Return an error at a place that is none."""
    error = SyntaxError("bad line")
    error.filename, error.lineno, error.text = cast("Any", (object(), "x", -1))
    error.offset, error.end_offset = cast("Any", ([], {}))
    return error


def chain(length: int = CHAIN) -> BaseException:
    """Return an exception with a cause, which has one, and so on."""
    error: BaseException = ValueError("the first")
    for number in range(length):
        error, cause = ValueError(number), error
        error.__cause__ = cause
    return error


def cycle() -> BaseException:
    """Return an exception whose cause it has caused itself."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def wide_group() -> BaseException:
    """Return a group of thousands."""
    return ExceptionGroup("many", [ValueError(number) for number in range(CHAIN)])


def deep_group() -> BaseException:
    """Return a group of a group of a group."""
    error: Exception = ValueError("the first")
    for number in range(CHAIN):
        error = cast("Exception", ExceptionGroup(str(number), [error]))
    return error


def noted(notes: object) -> BaseException:
    """Return an exception with such notes."""
    error = ValueError("noted")
    cast("Any", error).__notes__ = notes
    return error


class RaisingNotes(list[str]):
    """Notes that cannot be read."""

    def __iter__(self) -> Iterator[str]:
        raise LookupError


def deep_recursion() -> BaseException:
    """Return what Python raises of a function that calls itself."""

    def call() -> None:
        call()

    try:
        call()
    except RecursionError as error:
        return error
    raise AssertionError


def of_threads() -> BaseException:
    """Return what a future of a pool of threads raises."""
    return concurrent.futures.CancelledError()


#: Each makes one.
EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "`__getattr__` that raises KeyError": AnswersFromDict,
    "`__getattribute__` that raises": RaisesForAll,
    "`__getattribute__` that raises KeyboardInterrupt": Interrupts,
    **{
        f"`{name}` that raises {kind.__name__}": lambda name=name, kind=kind: raising(name, kind)()
        for name in (
            *("__str__", "__notes__", "__cause__", "__context__", "__traceback__"),
            *("__class__", "__dict__", "__bool__", "args"),
        )
        for kind in (ValueError, SystemExit)
    },
    "`__str__` that raises RecursionError": raising("__str__", RecursionError),
    "`__str__` that raises MemoryError": raising("__str__", MemoryError),
    "a metaclass that raises": OfMeta,
    "`__str__` that returns a strange str": SaysText,
    "`__str__` of 100 MB": lambda: ValueError("x" * LONG),
    "half surrogates": lambda: ValueError("file \udcff.txt"),
    "a cause without end": EndlessCauses,
    "members without end": lambda: EndlessMembers("more", [ValueError()]),
    "a module that is no text": NoModule,
    "a name that is no UTF-8": OddName,
    "SyntaxError with a line of bytes": syntax_error,
    "SyntaxError at no place": odd_syntax_error,
    f"{CHAIN:,} causes in a row": chain,
    "a cycle of causes": cycle,
    f"a group of {CHAIN:,}": wide_group,
    f"{CHAIN:,} groups in each other": deep_group,
    "notes that are no list": lambda: noted(3),
    "notes that raise": lambda: noted(RaisingNotes(["x"])),
    "RecursionError": deep_recursion,
    "MemoryError": MemoryError,
    "StopIteration": lambda: StopIteration(3),
    "StopAsyncIteration": StopAsyncIteration,
    "GeneratorExit": GeneratorExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(0),
    "asyncio.CancelledError": asyncio.CancelledError,
    "concurrent.futures.CancelledError": of_threads,
    "BaseException": BaseException,
}
