"""Which parameter of a function the worker fills in: the one annotated with the context's class."""

import inspect
import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from aiostreamq.errors import UsageError

_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
_REST = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def context_parameter(
    task: str, signature: inspect.Signature, hints: Mapping[str, object], context: type
) -> tuple[str | None, int | None]:
    """Return the name of the parameter for the context, and its place.

    Its annotation may also be `Context | None` or `Annotated[Context, ...]`. The place is None if
    the function takes it by name only; both are None if no parameter is for the context.

    Raises:
        UsageError: Two parameters are for it, or an annotation has it where a worker cannot
            put it.
    """
    found: list[tuple[str, int | None]] = []
    for place, parameter in enumerate(signature.parameters.values()):
        annotation = hints.get(parameter.name)
        if not _mentions(annotation, context):
            continue
        if parameter.kind in _REST or not _is_context(annotation, context):
            stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
            shown = f"{stars.get(parameter.kind, '')}{parameter.name}"
            raise UsageError(
                f"task {task!r}: parameter {shown!r} is annotated {_shown(annotation)}: "
                f"annotate one parameter {context.__name__}, and the worker fills it in; it can "
                f"be given neither more than one nor another type"
            )
        found.append((parameter.name, place if parameter.kind in _POSITIONAL else None))
    if len(found) > 1:
        names = " and ".join(repr(name) for name, _ in found)
        raise UsageError(
            f"task {task!r}: parameters {names} are both annotated {context.__name__}: the worker "
            f"fills in one: leave the others out"
        )
    return found[0] if found else (None, None)


def _is_context(annotation: Any, context: type) -> bool:
    """Whether a context fits *annotation*, and nothing else but None does."""
    annotation = _plain(annotation)
    if get_origin(annotation) in {Union, types.UnionType}:
        inner = [_plain(one) for one in get_args(annotation) if one is not type(None)]
        return inner == [context]
    return annotation is context


def _mentions(annotation: Any, context: type, seen: frozenset[int] = frozenset()) -> bool:
    """Whether *annotation* has the context's class, or one derived from it, anywhere in it."""
    if id(annotation) in seen:  # a type that is defined by itself, as that of JSON
        return False
    seen |= {id(annotation)}
    annotation = _plain(annotation)
    if isinstance(annotation, type) and not get_args(annotation):
        return issubclass(annotation, context)
    return any(_mentions(inner, context, seen) for inner in get_args(annotation))


def _plain(annotation: Any) -> Any:
    """Return what *annotation* is another name for, or bound to."""
    while True:
        if get_origin(annotation) is Annotated:
            meant: Any = get_args(annotation)[0]
        elif isinstance(annotation, TypeVar):
            meant = annotation.__bound__
        elif type(annotation).__name__ == "TypeAliasType":  # `type X = ...`, from 3.12 on
            meant = annotation.__value__
        else:
            meant = getattr(annotation, "__supertype__", None)  # of a NewType
        if meant is None:
            return annotation
        annotation = meant


def _shown(annotation: object) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
