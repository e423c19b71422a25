"""Which annotations are plain JSON, and how values of the others are restored.

Nothing is done for a task whose annotations are all plain. For the others
pydantic reads and writes the values, if it is installed.
"""

import types
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

import orjson

from aiostreamq.errors import PayloadError, UsageError
from aiostreamq.model.wire import refuse_lossy

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = frozenset({str, int, float, bool, type(None), list, dict, object, Any, None})


def is_plain(annotation: object) -> bool:
    """Whether a value of this annotation comes out of JSON as it went in.

    >>> is_plain(dict[str, list[int]]), is_plain(set[int])
    (True, False)
    """
    if _is_hashable_plain(annotation) or isinstance(annotation, TypeVar | str):
        return True
    if isinstance(supertype := getattr(annotation, "__supertype__", None), type):
        return is_plain(supertype)  # a NewType
    inner = get_args(annotation)
    match get_origin(annotation):
        case types.UnionType:
            return all(map(is_plain, inner))
        case origin if origin is Union or origin is list:
            return all(map(is_plain, inner))
        case origin if origin is dict:
            return inner[0] is str and is_plain(inner[1])
        case origin if origin is Annotated:
            return is_plain(inner[0])
        case origin if origin is Literal:
            return all(isinstance(value, str | int | bool | None) for value in inner)
        case _:
            return False


def _is_hashable_plain(annotation: object) -> bool:
    try:
        return annotation in _PLAIN
    except TypeError:
        return False


class Restorer:
    """Writes and restores the values of one annotation that is not plain."""

    __slots__ = ("_adapter", "what")

    def __init__(self, annotation: object, what: str) -> None:
        """Prepare for *annotation*; *what* names the value in errors.

        Raises:
            UsageError: pydantic is missing, or has no idea of the annotation.
        """
        self.what = what  #: as in "argument 'when' of task 'remind'"
        try:
            from pydantic import ConfigDict, PydanticUserError, TypeAdapter
        except ImportError as error:
            raise UsageError(
                f"{what} is annotated {_told(annotation)}, which JSON does not have: "
                f"install the extra that restores it, pip install 'aiostreamq[pydantic]'"
            ) from error
        make = cast("Callable[..., TypeAdapter[tuple[object]]]", TypeAdapter)
        try:
            # In a tuple, because only from there do the settings reach dataclasses:
            # bytes that are no UTF-8 could not be in one otherwise.
            self._adapter = make(
                tuple[annotation],  # type: ignore[valid-type]
                config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"),
            )
        except PydanticUserError as error:
            raise UsageError(
                f"{what} is annotated {_told(annotation)}, which cannot travel: {error.message}"
            ) from error

    def write(self, value: object) -> orjson.Fragment:
        """Return *value* as JSON to be put into a larger piece.

        Raises:
            PayloadError: It is not what the annotation says.
        """
        try:
            refuse_lossy(value)
            written = self._adapter.dump_json((value,), warnings="error")
        except (ValueError, PayloadError) as error:
            raise PayloadError(f"{self.what}: {_first_line(error)}") from error
        return orjson.Fragment(written[1:-1])

    def restore(self, value: object) -> object:
        """Return the value that `write` was given.

        Raises:
            PayloadError: The JSON is not of the annotated type.
        """
        try:
            return self._adapter.validate_json(orjson.dumps((value,)))[0]
        except ValueError as error:
            raise PayloadError(f"{self.what}: {error}") from error


def _told(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
