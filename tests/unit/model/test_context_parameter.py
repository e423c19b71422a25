"""The parameter of a function that takes the context, under each spelling of its annotation."""

import inspect
from typing import Annotated, NewType, Optional, TypeVar

import pytest
from typing_extensions import TypeAliasType

from aiostreamq import Context, UsageError
from aiostreamq.model.functions.context_parameter import context_parameter

Bound = TypeVar("Bound", bound=Context)
Free = TypeVar("Free")
Alias = TypeAliasType("Alias", Optional[Context])  # noqa: UP045
Named = NewType("Named", Context)
#: A type that is defined by itself, as Python 3.12 writes `type Nested = int | list[Nested]`.
Nested = NewType("Nested", object)
setattr(Nested, "__supertype__", int | list[Nested])  # noqa: B010  # typed as read-only


class Mine(Context):
    """A class derived from the context's."""


def sample(first: int, second: object, /, *rest: int, last: object) -> None:
    """Have a parameter of each kind."""


SIGNATURE = inspect.signature(sample)

FITS: list[object] = [
    Context,
    Optional[Context],  # noqa: UP045  # that spelling too
    Annotated[Context, "note"],
    Annotated[Optional[Context], "note"],  # noqa: UP045
    Bound,
    Named,
    Alias,
]


@pytest.mark.parametrize("annotation", FITS, ids=str)
def test_fits(annotation: object) -> None:
    """The parameter is found by name and place, whatever its annotation is called."""
    assert context_parameter("t", SIGNATURE, {"second": annotation}, Context) == ("second", 1)
    assert context_parameter("t", SIGNATURE, {"last": annotation}, Context) == ("last", None)


@pytest.mark.parametrize("annotation", [int, None, Free, list[int], "Context", Nested], ids=str)
def test_other_types(annotation: object) -> None:
    """An annotation that does not mention the context is left to the caller."""
    assert context_parameter("t", SIGNATURE, {"second": annotation}, Context) == (None, None)


@pytest.mark.parametrize("annotation", [Mine, list[Context], int | Context], ids=str)
def test_context_inside_another_type(annotation: object) -> None:
    """A context that the worker could not fill in is refused with the parameter's name."""
    with pytest.raises(UsageError, match="parameter 'second' is annotated"):
        context_parameter("t", SIGNATURE, {"second": annotation}, Context)
    with pytest.raises(UsageError, match=r"parameter '\*rest' is annotated"):
        context_parameter("t", SIGNATURE, {"rest": Context}, Context)


def test_two_contexts() -> None:
    """Two parameters for the context are refused, and both are named."""
    with pytest.raises(UsageError, match="'second' and 'last' are both annotated"):
        context_parameter("t", SIGNATURE, {"second": Context, "last": Context}, Context)
