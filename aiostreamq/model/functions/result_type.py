"""The type of the results of a task: converts them to and from JSON."""

from collections.abc import Callable
from functools import cached_property

from aiostreamq.errors import PayloadError
from aiostreamq.model.values.codec import ValueCodec
from aiostreamq.model.values.plain_annotations import depth_of, is_open, is_plain, shown
from aiostreamq.model.values.plain_json import (
    FLAT,
    encode,
    encode_flat,
    fault_in,
    holds_tuple,
    refusal,
)


class ResultType:
    """The type of the results of one task."""

    def __init__(self, task: str, find_hint: Callable[[], object]) -> None:
        """Prepare; *find_hint* returns the annotation, which may be resolvable only later."""
        self._task = task
        self._find_hint = find_hint

    def prepare(self) -> None:
        """Make the codec now, so that a missing extra shows.

        Raises:
            UsageError: The type is not supported.
        """
        _ = self._codec

    @cached_property
    def _hint(self) -> object:
        return self._find_hint()

    @cached_property
    def _codec(self) -> ValueCodec | None:
        if is_plain(self._hint):
            return None
        return ValueCodec(self._hint, f"the result of task {self._task!r}")

    def write(self, value: object) -> bytes:
        """Return the function's result as JSON.

        Raises:
            PayloadError: *value* would not arrive as an equal value of the same type.
        """
        if value is None and self._codec is None:
            return b"null"
        if self._codec is not None:
            return encode(self._codec.write(value).json)
        try:
            if type(value) in FLAT:
                return encode_flat(value)
            written = encode(value)
        except PayloadError as error:
            expected = None if self._is_open else shown(self._hint)
            reason = refusal(error, expected, "annotate what the task returns")
            raise PayloadError(f"the result of task {self._task!r}: {reason}") from error
        if not self._is_open and holds_tuple(value, self._depth):
            expected, fault = shown(self._hint), fault_in(value, allow_tuples=False)
            raise PayloadError(
                f"the result of task {self._task!r}: expected {expected}, and {fault}"
            )
        return written

    @cached_property
    def _depth(self) -> int:
        return depth_of(self._hint)

    @cached_property
    def _is_open(self) -> bool:
        return is_open(self._hint)

    def restore(self, value: object) -> object:
        """Return the result converted to the type that the function's annotation names.

        Raises:
            PayloadError: *value* is not of that type.
        """
        return value if self._codec is None else self._codec.restore(value)
