"""The parameter that the worker fills in: the one annotated with the context's class."""

import inspect
import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from aiostreamq.errors import UsageError

_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
_REST = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def context_parameter(
    whose: str, signature: inspect.Signature, hints: Mapping[str, object], context: type
) -> tuple[str | None, int | None]:
    """Return the name of the context parameter and its position.

    Its annotation may also be `Context | None` or `Annotated[Context, ...]`. The position is None
    if the parameter is keyword-only; both are None if the function has no such parameter.

    Raises:
        UsageError: Two parameters are annotated so, or an annotation contains the context in a
            form that a worker cannot provide.
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
                f"{whose}: parameter {shown!r} is annotated {_shown(annotation)}: "
                f"annotate one parameter {context.__name__}, and the worker fills it in; other "
                f"forms are not supported"
            )
        found.append((parameter.name, place if parameter.kind in _POSITIONAL else None))
    if len(found) > 1:
        names = " and ".join(repr(name) for name, _ in found)
        raise UsageError(
            f"{whose}: parameters {names} are both annotated {context.__name__}: the worker "
            f"fills in one: leave the others out"
        )
    return found[0] if found else (None, None)


def _is_context(annotation: Any, context: type) -> bool:
    """Whether *annotation* allows only a context, or a context and None."""
    annotation = _plain(annotation)
    if get_origin(annotation) in {Union, types.UnionType}:
        inner = [_plain(one) for one in get_args(annotation) if one is not type(None)]
        return [_class_of(one) for one in inner] == [context]
    return _class_of(annotation) is context


def _class_of(annotation: Any, context: type | None = None) -> Any:
    """Return the class of a generic annotation, as of `Context[State]`, or *annotation* itself."""
    origin = get_origin(annotation)
    is_asked = isinstance(origin, type) and (context is None or issubclass(origin, context))
    return origin if is_asked else annotation


def _mentions(annotation: Any, context: type, seen: frozenset[int] = frozenset()) -> bool:
    """Whether *annotation* contains the context's class, or one derived from it."""
    if id(annotation) in seen:  # a recursive type, such as one for JSON
        return False
    seen |= {id(annotation)}
    annotation = _class_of(_plain(annotation), context)
    if isinstance(annotation, type) and not get_args(annotation):
        return issubclass(annotation, context)
    return any(_mentions(inner, context, seen) for inner in get_args(annotation))


def _plain(annotation: Any) -> Any:
    """Resolve aliases, NewTypes, Annotated and bounds of type variables in *annotation*."""
    while True:
        if get_origin(annotation) is Annotated:
            inner: Any = get_args(annotation)[0]
        elif isinstance(annotation, TypeVar):
            inner = annotation.__bound__
        elif type(annotation).__name__ == "TypeAliasType":  # `type X = ...`, from 3.12 on
            inner = annotation.__value__
        else:
            inner = getattr(annotation, "__supertype__", None)  # a NewType
        if inner is None:
            return annotation
        annotation = inner


def _shown(annotation: object) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
