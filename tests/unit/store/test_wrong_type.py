"""The search for the key behind WRONGTYPE."""

import re
from pathlib import Path

import pytest

from aiostreamq.model.keys import Keys
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.wrong_type import wrong_keys

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "keys-and-wire-format.md"
PREFIX = Keys("q").prefix

#: The type of each key, as the page gives it and as TYPE answers.
ROWS = [
    (re.sub(r"<\w+>", "7", name), kind.replace("sorted set", "zset"))
    for name, kind in re.findall(
        r"^\| `([\w:<>]+)`.*? \| (stream|hash|string|list|set|sorted set) \|",
        PAGE.read_text(),
        re.MULTILINE,
    )
]


async def found_if(name: str, kind: str) -> list[str]:
    """Return what is found if one key has a type and no other exists."""

    async def call(_: str, key: str) -> bytes:
        return kind.encode() if key == PREFIX + name else b"none"

    return await wrong_keys(call, PREFIX, [PREFIX + name], [])


@pytest.mark.parametrize(("name", "kind"), ROWS)
async def test_key_is_wrong_if_its_type_is_not_that_of_the_page(name: str, kind: str) -> None:
    """The page about the keys gives the type of each."""
    assert await found_if(name, kind) == []
    other = "list" if kind == "set" else "set"
    assert await found_if(name, other) == [PREFIX + name]


def test_all_keys_are_on_the_page() -> None:
    """The table was read, with every key that needs no name."""
    names = {name for name, _ in ROWS}
    keys = Keys("q")
    fixed = {getattr(keys, slot) for slot in Keys.__slots__ if slot not in {"prefix", "queue"}}
    assert {key.removeprefix(PREFIX) for key in fixed} <= names


@pytest.mark.parametrize("job_id", ["7", b"7"])
async def test_key_of_a_job_is_found_by_the_id_among_the_arguments(job_id: str | bytes) -> None:
    """A long argument is not an id, and is not looked for."""
    asked: list[str] = []

    async def call(_: str, key: str) -> bytes:
        asked.append(key)
        return b"string" if key == f"{PREFIX}job:7" else b"none"

    assert await wrong_keys(call, PREFIX, [], [job_id, b"x" * 1000, 5]) == [f"{PREFIX}job:7"]
    assert not any("xxx" in key for key in asked)


async def test_no_key_is_found_without_the_right_to_ask() -> None:
    """The first error is what the caller must see."""

    async def call(_: str, __: str) -> bytes:
        raise CommandError("NOPERM")

    assert await wrong_keys(call, PREFIX, [], []) == []
