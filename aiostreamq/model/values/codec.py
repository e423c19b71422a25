"""Codec for values of types that JSON does not have, based on their annotation."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, cast, get_args

import orjson

from aiostreamq.errors import PayloadError, UsageError
from aiostreamq.model.english import with_article
from aiostreamq.model.values.equality import difference, number_fault
from aiostreamq.model.values.plain_annotations import carrier_of, shown

if TYPE_CHECKING:
    from pydantic import TypeAdapter

# pydantic's serializer of secrets fails so for a value that is not wrapped.
_UNWRAPPED = r"'(str|bytes)' object has no attribute 'get_secret_value'"
_WRAPPERS = {"str": "SecretStr", "bytes": "SecretBytes"}

_OTHER_CLASSES = {"__attrs_attrs__": "attrs", "__struct_fields__": "msgspec"}


class Written(NamedTuple):
    """A value as JSON."""

    json: orjson.Fragment
    secrets: Sequence[str] = ()  #: JSON Pointers to its secrets


class ValueCodec:
    """Writes and restores the values of one annotation that is not plain."""

    def __init__(self, annotation: object, what: str) -> None:
        """Prepare for *annotation*; *what* names the value in errors.

        Raises:
            UsageError: pydantic is missing, or does not support the annotation.
        """
        self.what = what  #: as in "argument 'when' of task 'remind'"
        self._annotation = shown(annotation)
        try:
            from pydantic import ConfigDict, TypeAdapter
        except ImportError as error:
            raise UsageError(
                f"{what} is annotated {self._annotation}, which is not JSON: "
                f"install the extra that supports it, pip install 'aiostreamq[pydantic]'"
            ) from error
        make = cast("Callable[..., TypeAdapter[tuple[object]]]", TypeAdapter)
        try:
            # In a tuple, because only then does the config apply to dataclasses: they could not
            # hold bytes that are not UTF-8 otherwise.
            self._adapter = make(
                tuple[carrier_of(annotation)],  # type: ignore[misc]
                config=ConfigDict(
                    ser_json_bytes="base64", val_json_bytes="base64", hide_input_in_errors=True
                ),
            )
        except Exception as error:  # pydantic may call the user's own code
            raise UsageError(
                f"{what} is annotated {self._annotation}, which cannot be sent as JSON: "
                f"{_why_not(annotation) or _message_of(error)}"
            ) from error

    def write(self, value: object) -> Written:
        """Return *value* as JSON to be embedded in a larger document.

        Raises:
            PayloadError: *value* does not match the annotation, or would not arrive as an equal
                value of the same type.
        """
        try:
            json = self._adapter.dump_json(
                (value,), by_alias=False, round_trip=True, warnings=False
            )
            whole = cast("list[object]", orjson.loads(json))
            secrets: Sequence[str] = ()
            if self._may_hold_secrets:
                json, secrets = self._with_secrets(value, whole)
            arrived = self._restored(whole[0])
        except Exception as error:  # validators and serializers are the user's own
            raise PayloadError(f"{self.what}: {self._why_refused(value, error)}") from error
        try:
            found = difference(value, arrived)
        except RecursionError:
            found = "it is nested too deeply"
        if found is not None:
            found = number_fault(value) or found
            raise PayloadError(f"{self.what}: expected {self._annotation}, and {found}")
        return Written(orjson.Fragment(json[1:-1]), secrets)

    def comparable(self, value: object) -> object:
        """Return *value* as JSON that is the same for all sets that are equal.

        `write` gives the members of a set in an order that differs from process to process.

        Raises:
            PayloadError: As `write`.
        """
        from aiostreamq.model.values.set_order import with_sorted_sets

        return with_sorted_sets(value, orjson.loads(orjson.dumps(self.write(value).json)))

    def restore(self, value: object) -> object:
        """Return the value that `write` was given.

        Raises:
            PayloadError: The JSON is not of the annotated type.
        """
        try:
            return self._restored(value)
        except ValueError as error:
            raise PayloadError(
                f"{self.what}: expected {self._annotation}: {_message_of(error)}"
            ) from None

    def _restored(self, value: object) -> object:
        written = orjson.dumps((value,))
        try:
            return self._adapter.validate_json(written, by_alias=False, by_name=True)[0]
        except ValueError as by_name:
            try:  # with aliases, as programs in other languages may write it, and as 0.1 wrote it
                return self._adapter.validate_json(written)[0]
            except ValueError:
                raise by_name from None

    @cached_property
    def _may_hold_secrets(self) -> bool:
        try:
            return "secret" in repr(self._adapter.core_schema).lower()
        except Exception:  # noqa: BLE001  # it contains classes of the user, whose repr may raise
            return True

    def _with_secrets(self, value: object, whole: list[object]) -> tuple[bytes, Sequence[str]]:
        from aiostreamq.model.values.pydantic_secrets import Revelation

        revelation = Revelation()
        whole[0] = revelation.put(value, whole[0])
        return orjson.dumps(whole), revelation.places

    def _why_refused(self, value: object, error: Exception) -> str:
        """Return what is wrong with *value*, which could not be written or restored."""
        kind = with_article(type(value).__name__)
        if (fault := number_fault(value)) is not None:
            return f"expected {self._annotation}, and {fault}"
        refused = f"expected {self._annotation}, got {kind}"
        try:
            self._adapter.validate_python((value,), strict=True)
        except ValueError as wrong:
            return f"{refused}: {_message_of(wrong)}"
        except Exception as raised:  # noqa: BLE001  # raised by a validator of the user
            error = raised
        if (wrapper := _missing_wrapper(error)) is not None:
            return f"{refused}: wrap the secret, as in {wrapper}(...)"
        return f"{refused} that cannot be restored: {_message_of(error)}"


def _missing_wrapper(error: Exception) -> str | None:
    """Return the class that a secret lacks if *error* says that one is a plain str or bytes."""
    found = re.search(_UNWRAPPED, f"{error}")
    return None if found is None else _WRAPPERS[found[1]]


def _message_of(error: Exception) -> str:
    """Return the message of an error without the values in it, because some are secret."""
    errors = getattr(error, "errors", None)
    if errors is None:
        is_ours = type(error).__module__.partition(".")[0] in {"pydantic", "pydantic_core"}
        text = f"{error}" if is_ours else f"{type(error).__name__}: {error}".strip(": ")
        return text.partition("\n")[0].partition(". ")[0]
    first = cast(
        "Mapping[str, object]",
        errors(include_url=False, include_context=False, include_input=False)[0],
    )
    steps = cast("tuple[str | int, ...]", first["loc"])[1:]
    at = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return f"{at}: {first['msg']}" if at else str(first["msg"])


def _why_not(annotation: object) -> str | None:
    """Return advice about a class that pydantic does not support, if there is some."""
    for inner in get_args(annotation):
        if (found := _why_not(inner)) is not None:
            return found
    for mark, maker in _OTHER_CLASSES.items():
        if hasattr(annotation, mark):
            return f"classes of {maker} are not supported: use a dataclass or a pydantic model"
    module = str(getattr(annotation, "__module__", "")).partition(".")[0]
    if module in {"numpy", "pandas"}:
        return f"values of {module} are not supported: send plain lists and numbers"
    return None
