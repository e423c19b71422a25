"""Secrets of pydantic models: pydantic writes asterisks, which this replaces by the secrets."""

from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from typing import Literal, cast

from pydantic import BaseModel, RootModel, Secret, SecretBytes, SecretStr
from pydantic_core import to_jsonable_python

from aiostreamq.model.values.masking import MASK, pointer

Bytes = Literal["utf8", "base64"]
Steps = tuple[str | int, ...]


class Revelation:
    """Puts the secrets of a value in the place of the asterisks in its JSON, and lists them."""

    def __init__(self) -> None:
        self.places: list[str] = []  #: JSON Pointers to the secrets in the JSON of the value

    def put(self, value: object, written: object, encoding: Bytes = "base64") -> object:
        """Return *written*, which pydantic wrote for *value*, with the secrets of *value*.

        Args:
            value: The value with its secrets.
            written: Its JSON as Python objects, which are changed in place.
            encoding: The encoding of bytes at the top level.
        """
        return self._put(value, written, (), encoding)

    def _put(self, value: object, written: object, at: Steps, encoding: Bytes) -> object:
        if isinstance(value, SecretStr | SecretBytes | Secret):
            secret = cast("SecretStr | SecretBytes | Secret[object]", value)
            self._note(at)
            # A serializer of the user may have written something else.
            if written not in {MASK, str(secret)}:
                return written
            return to_jsonable_python(secret.get_secret_value(), bytes_mode=encoding)
        if isinstance(value, RootModel):
            inner = cast("RootModel[object]", value)
            return self._put(inner.root, written, at, _encoding_of(inner, encoding))
        encoding = _encoding_of(value, encoding)
        for step, part in pairs(value, written):
            if step is None:  # a serializer changed the structure
                self._put(part, None, at, encoding)
            else:
                inside = cast("dict[str | int, object]", written)
                inside[step] = self._put(part, inside[step], (*at, step), encoding)
        return written

    def _note(self, at: Steps) -> None:
        place = pointer(at)
        if place not in self.places:
            self.places.append(place)


def _encoding_of(value: object, outer: Bytes) -> Bytes:
    if isinstance(value, BaseModel):
        return cast("Bytes", value.model_config.get("val_json_bytes", "utf8"))
    config = cast("dict[str, Bytes]", getattr(value, "__pydantic_config__", None) or {})
    return config.get("val_json_bytes", "utf8") if config else outer


def pairs(value: object, written: object) -> Iterator[tuple[str | int | None, object]]:
    """Yield the parts of a value, each with its step in the JSON; None if it has no place there."""
    if isinstance(value, Mapping):
        inner = cast("Mapping[object, object]", value)
        keys = list(cast("dict[str, object]", written)) if isinstance(written, dict) else []
        for place, part in enumerate(inner.values()):
            yield (keys[place] if len(keys) == len(inner) else None), part
    elif isinstance(value, list | tuple | AbstractSet | deque):
        items = cast("list[object]", value)
        is_list = isinstance(written, list) and len(cast("list[object]", written)) == len(items)
        for place, part in enumerate(items):
            yield (place if is_list else None), part
    else:
        named = cast("dict[str, object]", written) if isinstance(written, dict) else {}
        for name, part in _attributes(value):
            yield (name if name in named else None), part


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    if is_dataclass(value):
        for field in fields(value):
            yield field.name, getattr(value, field.name, None)
    elif isinstance(value, BaseModel):
        yield from value.__dict__.items()
        yield from (value.__pydantic_extra__ or {}).items()
