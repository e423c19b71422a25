"""Secrets: they are sent unmasked, and replaced by asterisks when a job is shown.

An object lists its secrets under `secrets` as JSON Pointers (RFC 6901) from its root, such as
`/args/0/password`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import orjson

from aiostreamq.errors import UsageError

#: shown in place of a secret
MASK = "**********"

_LISTED = b'"secrets":'


def pointer(steps: Iterable[str | int]) -> str:
    """Return a path as a JSON Pointer.

    >>> pointer(["args", 0, "a/b"])
    '/args/0/a~1b'
    """
    escaped = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return "".join(f"/{step}" for step in escaped)


def lists_secrets(written: bytes) -> bool:
    """Whether an object in JSON may list secrets: a cheap test, as most do not."""
    return _LISTED in written


def mask(call: Mapping[str, object]) -> None:
    """Replace each secret that *call* lists by MASK, in place."""
    for place in _listed(call):
        _replace(call, place, lambda _: MASK)


def masked(written: bytes) -> bytes:
    """Return an object in JSON with its secrets masked.

    Raises:
        ValueError: It is not JSON.
    """
    call: object = orjson.loads(written)
    if isinstance(call, dict):
        mask(cast("dict[str, object]", call))
    return orjson.dumps(call)


def unmask(call: Mapping[str, object], original: Mapping[str, object]) -> None:
    """Replace masks in *call* by the secrets that *original* has in the same places, in place.

    Raises:
        UsageError: A mask is in another place, so that it is unknown which secret it stands for.
    """
    places = _listed(original)
    for place in places:
        secret = _at(original, place)
        _replace(call, place, lambda now, secret=secret: secret if now == MASK else now)
    arguments = [call.get("args"), call.get("kwargs")]
    if places and _holds_mask(arguments, [_at(original, place) for place in places]):
        raise UsageError(
            f"{MASK} is in the arguments in a place that had no secret: "
            f"write the secret itself, or leave the mask in its original place"
        )


def copied(value: object) -> object:
    """Return a deep copy of JSON, so that changes do not affect the caller's value."""
    if type(value) is dict:
        return {key: copied(one) for key, one in cast("dict[str, object]", value).items()}
    if type(value) is list:
        return [copied(one) for one in cast("list[object]", value)]
    return value


def list_more(call: dict[str, object], places: Sequence[str]) -> None:
    """Add *places* to the secrets that *call* lists."""
    if places:
        already = call.get("secrets")
        listed = cast("list[object]", already) if isinstance(already, list) else []
        call["secrets"] = [*listed, *(place for place in places if place not in listed)]


def _listed(call: Mapping[str, object]) -> list[list[str]]:
    """Return the places of the secrets as steps; unreadable ones are omitted."""
    places = call.get("secrets")
    listed = cast("list[object]", places) if isinstance(places, list) else []
    found = [place for place in listed if isinstance(place, str) and place.startswith("/")]
    return [
        [step.replace("~1", "/").replace("~0", "~") for step in place[1:].split("/")]
        for place in found
    ]


def _replace(value: object, steps: list[str], change: Callable[[object], object]) -> None:
    for step in steps[:-1]:
        value = _inner(value, step)
    last = steps[-1]
    if isinstance(value, dict) and last in value:
        named = cast("dict[str, object]", value)
        named[last] = change(named[last])
    elif isinstance(value, list) and (at := _index(last, cast("list[object]", value))) is not None:
        placed = cast("list[object]", value)
        placed[at] = change(placed[at])


def _at(value: object, steps: list[str]) -> object:
    for step in steps:
        value = _inner(value, step)
    return value


def _inner(value: object, step: str) -> object:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).get(step)
    if isinstance(value, list):
        placed = cast("list[object]", value)
        at = _index(step, placed)
        return None if at is None else placed[at]
    return None


def _index(step: str, placed: list[object]) -> int | None:
    if not (step.isascii() and step.isdigit()) or len(step) > len(str(len(placed))):
        return None
    return int(step) if int(step) < len(placed) else None


def _holds_mask(value: object, secrets: list[object]) -> bool:
    if isinstance(value, str):
        return value == MASK and MASK not in secrets
    if isinstance(value, dict):
        return any(_holds_mask(one, secrets) for one in cast("dict[str, object]", value).values())
    if isinstance(value, list | tuple):
        return any(_holds_mask(one, secrets) for one in cast("list[object]", value))
    return False
