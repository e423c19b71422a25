"""Binding the arguments of a call to the signature of its task."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from aiostreamq import Context, PayloadError, UsageError
from aiostreamq.model.functions.signature import TaskSignature

Function = Callable[..., object]

# In place of a Context: it is only handed on.
CONTEXT = object()


def signature_of(function: Function) -> TaskSignature:
    """Read *function* as `@queue.task` does."""
    return TaskSignature("t", function, Context)


def first(ctx: Context, a: int, b: int = 2) -> object:
    """Take the context first."""
    return (ctx, a, b)


def middle(a: int, ctx: Context, b: int = 2) -> object:
    """Take it between others."""
    return (ctx, a, b)


def last(a: int, b: int, ctx: Context) -> object:
    """Take it last."""
    return (ctx, a, b)


def after_defaults(a: int, b: int = 2, ctx: Context | None = None) -> object:
    """Take it after what may be left out."""
    return (ctx, a, b)


def by_place_after_defaults(a: int = 1, b: int = 2, ctx: Context | None = None, /) -> object:
    """Take it by its place, after what may be left out."""
    return (ctx, a, b)


def keyword_only(a: int, b: int = 2, *, ctx: Context) -> object:
    """Take it by its name."""
    return (ctx, a, b)


def after_rest(*rest: int, ctx: Context) -> object:
    """Take it after any number of others."""
    return (ctx, *rest)


def positional_only(ctx: Context, a: int, /, b: int = 2) -> object:
    """Take it by its place."""
    return (ctx, a, b)


def before_rest(ctx: Context, *rest: int) -> object:
    """Take it before any number of others."""
    return (ctx, *rest)


def with_names(a: int, ctx: Context, **names: int) -> object:
    """Take it beside any names."""
    return (ctx, a, *names.values())


CALLS: list[tuple[Function, tuple[int, ...], dict[str, int]]] = [
    (first, (1, 2), {}),
    (first, (1,), {"b": 2}),
    (first, (), {"a": 1, "b": 2}),
    (middle, (1, 2), {}),
    (middle, (1,), {"b": 2}),
    (middle, (), {"b": 2, "a": 1}),
    (last, (1, 2), {}),
    (last, (1,), {"b": 2}),
    (last, (), {"a": 1, "b": 2}),
    (after_defaults, (1,), {}),
    (after_defaults, (1, 2), {}),
    (by_place_after_defaults, (), {}),
    (by_place_after_defaults, (1,), {}),
    (by_place_after_defaults, (1, 2), {}),
    (keyword_only, (1, 2), {}),
    (keyword_only, (1,), {}),
    (keyword_only, (), {"a": 1}),
    (after_rest, (1, 2), {}),
    (positional_only, (1, 2), {}),
    (positional_only, (1,), {"b": 2}),
    (before_rest, (1, 2), {}),
    (with_names, (1,), {"b": 2}),
]


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_context_in_any_place(
    function: Function, args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    """Wherever the context stands, callers leave it out and the function gets it."""
    signature = signature_of(function)
    signature.write_arguments(args, kwargs)
    called_args, called_kwargs = signature.with_context(args, kwargs, CONTEXT)
    assert function(*called_args, **called_kwargs) == (CONTEXT, 1, 2)


@pytest.mark.parametrize("function", [first, middle, last, keyword_only, with_names])
def test_context_is_not_the_callers_to_give(function: Function) -> None:
    """Who enqueues can not name it."""
    with pytest.raises(UsageError, match="invalid call of task 't'"):
        signature_of(function).write_arguments((1, 2), {"ctx": 3})


def test_a_name_that_is_the_contexts_by_its_place_only() -> None:
    """Under the same name something else can be given to the rest."""

    def named(ctx: Context, /, **names: object) -> object:
        return (ctx, names)

    signature = signature_of(named)
    args, kwargs, _ = signature.write_arguments((), {"ctx": 3})
    args, kwargs = signature.with_context(args, kwargs, CONTEXT)
    assert (list(args), kwargs) == ([CONTEXT], {"ctx": 3})


def test_no_context() -> None:
    """A function without one gets its arguments as they are."""

    def plain(a: int) -> int:
        return a

    signature = signature_of(plain)
    assert signature.context_name is None
    assert signature.with_context([1], {}, CONTEXT) == ([1], {})


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1, 2, 3), {}),
        ((1,), {"c": 3}),
        ((1,), {"a": 1}),
        ((), {"b": 2}),
    ],
)
def test_a_call_that_could_not_be(args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    """It is refused with the name of the task and Python's own reason."""

    def two(a: int, b: int = 2) -> int:
        return a + b

    with pytest.raises(UsageError, match="invalid call of task 't': "):
        signature_of(two).write_arguments(args, kwargs)


def test_rest_and_names_are_restored_each() -> None:
    """Every one of *args and **kwargs is of the annotated type."""

    def dates(*days: date, **named: date) -> None: ...

    signature = signature_of(dates)
    day = date(2024, 2, 29)
    args, kwargs = signature.restore_arguments(["2024-02-29"] * 2, {"a": "2024-02-29"})
    assert (list(args), dict(kwargs)) == ([day, day], {"a": day})


def test_defaults_are_not_sent() -> None:
    """What was left out is left to the worker's own default."""

    def remind(who: str, on: date = date(2024, 1, 1)) -> None: ...

    args, kwargs, _ = signature_of(remind).write_arguments(("ada",), {})
    assert (list(args), dict(kwargs)) == (["ada"], {})


def test_nothing_returned() -> None:
    """None is a result like any other."""

    def nothing() -> None: ...

    signature = signature_of(nothing)
    assert signature.write_result(None) == b"null"
    assert signature.restore_result(None) is None


def test_a_value_not_of_its_annotation() -> None:
    """It is refused at once, with the argument's name."""

    def remind(who: str, on: date) -> None: ...

    with pytest.raises(PayloadError, match="argument 'on' of task 't'"):
        signature_of(remind).write_arguments(("ada", "tomorrow"), {})


def test_json_of_a_person_is_converted_by_every_annotation() -> None:
    """A date comes from a string, and a plain int is checked too."""

    def remind(on: date, times: int, note: object = None) -> None: ...

    signature = signature_of(remind)
    args, kwargs = signature.read_arguments(["2024-02-29", "3"], {"note": [1]})
    assert (list(args), dict(kwargs)) == ([date(2024, 2, 29), 3], {"note": [1]})
    with pytest.raises(PayloadError, match="argument 'times' of task 't': expected int"):
        signature.read_arguments(["2024-02-29", "often"], {})
    with pytest.raises(UsageError, match="missing a required argument: 'times'"):
        signature.read_arguments(["2024-02-29"], {})


def test_stored_argument_that_is_no_json_is_refused() -> None:
    """An argument that was changed in a dead letter is checked as one of a new call is."""

    def task(day: date) -> None: ...

    with pytest.raises(PayloadError):
        signature_of(task).write_stored([float("nan")], {})
