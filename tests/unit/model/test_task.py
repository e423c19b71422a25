"""Functions run in the event loop, in a thread or in a process."""

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import cast

import pytest

from aiostreamq import Context, Queue, UsageError
from aiostreamq.model.task import Place


def plain(n: int) -> int:
    """Be fit for all places."""
    return n


def with_context(n: int, context: Context) -> int:
    """Want to know its attempt."""
    return n + context.attempt


async def waits(n: int) -> int:
    """Be for the event loop."""
    return n


class Jobs:
    """What can be called, and has a method."""

    def __call__(self) -> None:
        """Do nothing."""

    def plain(self) -> None:
        """Do nothing."""

    @classmethod
    def by_class(cls) -> None:
        """Be found by importing."""


def inner() -> Callable[[], None]:
    """Return a function that nobody can import."""

    def hidden() -> None: ...

    return hidden


@pytest.fixture
def queue() -> Queue:
    """A queue that is never opened."""
    return Queue("memory://")


def test_where_tasks_run(queue: Queue) -> None:
    """A `def` runs in a thread unless something else is said."""
    assert queue.task(plain).spec.executor == "thread"
    assert queue.task(name="b", executor="thread")(plain).spec.executor == "thread"
    assert queue.task(name="c", executor="process")(plain).spec.executor == "process"
    assert queue.task(name="d", executor="thread")(with_context).spec.executor == "thread"
    assert queue.task(name="f", executor="process")(Jobs.by_class).spec.executor == "process"
    assert queue.task(name="e", executor="process")(with_context).spec.executor == "process"


@pytest.mark.parametrize(
    ("function", "executor", "told"),
    [
        (waits, "process", "runs on the event loop"),
        (waits, "thread", "runs on the event loop"),
        (plain, "fork", "unknown executor 'fork': use 'thread' or 'process'"),
        (functools.partial(plain, 1), "process", "at the top of a module"),
        (Jobs().plain, "process", "the object that this method is bound to"),
        (Jobs(), "process", "at the top of a module"),
        (inner(), "process", "at the top of a module"),
        (lambda: None, "process", "at the top of a module"),
    ],
)
def test_where_they_can_not(
    queue: Queue, function: Callable[..., object], executor: str, told: str
) -> None:
    """What cannot run where it is said is refused when it is registered, with the reason."""
    with pytest.raises(UsageError, match=told) as caught:
        queue.task(name="odd", executor=cast("Place", executor))(function)
    assert "'odd'" in str(caught.value)
    assert not queue.tasks


def test_function_of_the_program_itself(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process cannot import `__main__`."""
    program = ModuleType("__main__")
    exec("def crunch() -> None: ...", vars(program))
    monkeypatch.setitem(sys.modules, "__main__", program)
    with pytest.raises(UsageError, match="__main__"):
        queue.task(executor="process")(program.crunch)
