"""Secrets of pydantic, which are asterisks in the JSON that pydantic writes, put into it."""

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
    """Puts the secrets of a value where its JSON has asterisks, and lists their places."""

    def __init__(self) -> None:
        self.places: list[str] = []  #: JSON Pointers, in the JSON of the value

    def put(self, value: object, written: object, encoding: Bytes = "base64") -> object:
        """Return *written*, which pydantic made of *value*, with its secrets.

        Args:
            value: What holds the secrets.
            written: Its JSON, as Python has it. Lists and dicts in it are changed.
            encoding: How bytes are written at the top.
        """
        return self._put(value, written, (), encoding)

    def _put(self, value: object, written: object, at: Steps, encoding: Bytes) -> object:
        if isinstance(value, SecretStr | SecretBytes | Secret):
            secret = cast("SecretStr | SecretBytes | Secret[object]", value)
            self._note(at)
            # A serializer of the user's own may have written something else.
            if written not in {MASK, str(secret)}:
                return written
            return to_jsonable_python(secret.get_secret_value(), bytes_mode=encoding)
        if isinstance(value, RootModel):
            inner = cast("RootModel[object]", value)
            return self._put(inner.root, written, at, _encoding_of(inner, encoding))
        encoding = _encoding_of(value, encoding)
        for step, part in _pairs(value, written):
            if step is None:  # it is written in a shape of its own
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


def _pairs(value: object, written: object) -> Iterator[tuple[str | int | None, object]]:
    """The parts of a value, each with its place in the JSON; None if it has none of its own."""
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
