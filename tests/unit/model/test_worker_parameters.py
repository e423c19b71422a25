"""The parameters that the worker fills in arrive in their places, however a call is written."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from aiostreamq import Context, Depends, UsageError
from aiostreamq.model.functions.signature import TaskSignature


def get() -> str:
    """Return what stands for the dependency."""
    return "got"


def first(dep: str = Depends(get), a: int = 1, b: int = 2) -> Any:
    """Take it first."""
    return (dep, a, b)


def between(a: int, dep: str = Depends(get), b: int = 2) -> Any:
    """Take it between others."""
    return (dep, a, b)


def last(a: int = 1, b: int = 2, *, dep: str = Depends(get)) -> Any:
    """Take it by name only."""
    return (dep, a, b)


def beside_context(
    ctx: Context, a: int = 1, dep: str = Depends(get), b: int = 2, other: str = Depends(get)
) -> Any:
    """Take two, and the context."""
    assert ctx == "context"
    assert other == "got"
    return (dep, a, b)


def positional_context(a: int = 1, ctx: Any = None, /, b: int = 2, dep: str = Depends(get)) -> Any:
    """Take the context by position only."""
    assert ctx == "context"
    return (dep, a, b)


positional_context.__annotations__["ctx"] = Context

FUNCTIONS = [first, between, last, beside_context, positional_context]
CALLS: list[tuple[list[int], dict[str, int]]] = [
    ([], {}),
    ([5], {}),
    ([5, 6], {}),
    ([5], {"b": 6}),
    ([], {"a": 5, "b": 6}),
    ([], {"b": 6}),
]


@pytest.mark.parametrize(("function", "call"), list(product(FUNCTIONS, CALLS)))
def test_values_arrive(
    function: Callable[..., Any], call: tuple[list[int], dict[str, int]]
) -> None:
    """Each call that the signature allows gives each parameter its value."""
    args, kwargs = call
    signature = TaskSignature("task", function, Context)
    try:
        signature.write_arguments(args, kwargs)
    except UsageError:
        return  # it lacks an argument, or names one that is positional
    values = {"dep": "got"} if function is not beside_context else {"dep": "got", "other": "got"}
    whole = signature.filled_in.with_values(args, kwargs, "context", values)
    a = args[0] if args else kwargs.get("a", 1)
    b = args[1] if len(args) > 1 else kwargs.get("b", 2)
    assert function(*whole[0], **whole[1]) == ("got", a, b)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_refused(function: Callable[..., Any]) -> None:
    """A call that names a dependency is refused."""
    signature = TaskSignature("task", function, Context)
    with pytest.raises(UsageError, match="the worker fills in 'dep'"):
        signature.write_arguments([1], {"dep": "mine"})


def test_defined_late() -> None:
    """A dependency in an annotation that is defined after the task is named."""

    def task(value: int) -> None:
        """Do nothing."""

    task.__annotations__["value"] = "__import__('typing').Annotated[int, Later]"
    with pytest.raises(UsageError, match="'value' is annotated"):
        TaskSignature("task", task, Context)
