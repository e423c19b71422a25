"""Secrets: they travel as they are, and whoever shows a job puts asterisks in their place.

Where they are is said by JSON Pointers (RFC 6901) from the root of the object that
lists them under `secrets`, as in `/args/0/password`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import orjson

from aiostreamq.errors import UsageError

#: what is shown in the place of a secret
MASK = "**********"

_LISTED = b'"secrets":'


def pointer(steps: Iterable[str | int]) -> str:
    """Write a path.

    >>> pointer(["args", 0, "a/b"])
    '/args/0/a~1b'
    """
    words = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return "".join(f"/{word}" for word in words)


def lists_secrets(written: bytes) -> bool:
    """Whether an object in JSON may list any: most do not, and need no second look."""
    return _LISTED in written


def mask(told: Mapping[str, object]) -> None:
    """Put MASK in the place of each secret that *told* lists."""
    for place in _listed(told):
        _replace(told, place, lambda _: MASK)


def masked(written: bytes) -> bytes:
    """Return an object in JSON with its secrets masked.

    Raises:
        ValueError: It is not JSON.
    """
    told: object = orjson.loads(written)
    if isinstance(told, dict):
        mask(cast("dict[str, object]", told))
    return orjson.dumps(told)


def unmask(told: Mapping[str, object], original: Mapping[str, object]) -> None:
    """Put the secrets of *original*, which lists them, where *told* has them masked.

    Raises:
        UsageError: A mask is left: which secret it stands for is not known.
    """
    places = _listed(original)
    for place in places:
        secret = _at(original, place)
        _replace(told, place, lambda now, secret=secret: secret if now == MASK else now)
    call = [told.get("args"), told.get("kwargs")]
    if places and _holds_mask(call, [_at(original, place) for place in places]):
        raise UsageError(
            f"{MASK} stands in the arguments where no secret was: "
            f"write the secret itself, or leave the mask in the place that it had"
        )


def copied(value: object) -> object:
    """Return a copy of JSON, so that what is done to it here is not done to the caller's."""
    if type(value) is dict:
        return {key: copied(one) for key, one in cast("dict[str, object]", value).items()}
    if type(value) is list:
        return [copied(one) for one in cast("list[object]", value)]
    return value


def list_more(told: dict[str, object], places: Sequence[str]) -> None:
    """Have *told* list the secrets at some more places."""
    if places:
        already = told.get("secrets")
        listed = cast("list[object]", already) if isinstance(already, list) else []
        told["secrets"] = [*listed, *(place for place in places if place not in listed)]


def _listed(told: Mapping[str, object]) -> list[list[str]]:
    """The places of the secrets, as far as they can be read."""
    places = told.get("secrets")
    listed = cast("list[object]", places) if isinstance(places, list) else []
    found = [place for place in listed if isinstance(place, str) and place.startswith("/")]
    return [
        [step.replace("~1", "/").replace("~0", "~") for step in place[1:].split("/")]
        for place in found
    ]


def _replace(told: object, steps: list[str], change: Callable[[object], object]) -> None:
    for step in steps[:-1]:
        told = _inner(told, step)
    last = steps[-1]
    if isinstance(told, dict) and last in told:
        named = cast("dict[str, object]", told)
        named[last] = change(named[last])
    elif isinstance(told, list) and (at := _index(last, cast("list[object]", told))) is not None:
        placed = cast("list[object]", told)
        placed[at] = change(placed[at])


def _at(told: object, steps: list[str]) -> object:
    for step in steps:
        told = _inner(told, step)
    return told


def _inner(told: object, step: str) -> object:
    if isinstance(told, dict):
        return cast("dict[str, object]", told).get(step)
    if isinstance(told, list):
        placed = cast("list[object]", told)
        at = _index(step, placed)
        return None if at is None else placed[at]
    return None


def _index(step: str, placed: list[object]) -> int | None:
    if not (step.isascii() and step.isdigit()) or len(step) > len(str(len(placed))):
        return None
    return int(step) if int(step) < len(placed) else None


def _holds_mask(told: object, secrets: list[object]) -> bool:
    if isinstance(told, str):
        return told == MASK and MASK not in secrets
    if isinstance(told, dict):
        return any(_holds_mask(one, secrets) for one in cast("dict[str, object]", told).values())
    if isinstance(told, list | tuple):
        return any(_holds_mask(one, secrets) for one in cast("list[object]", told))
    return False
