import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, Optional, TypeVar, Union

import pytest

from aiostreamq import PayloadError, UsageError
from aiostreamq.model.annotations import Restorer, is_plain

UserId = NewType("UserId", int)
Secret = NewType("Secret", bytes)
T = TypeVar("T")


@dataclass
class Point:
    """A dataclass."""

    x: int


PLAIN = [
    str, int, float, bool, None, type(None), list, dict, object, Any, T, UserId,
    list[int], dict[str, list[dict[str, float]]], int | None, Optional[str],  # noqa: UP045
    Union[int, str], Literal["a", 1, True], "Forward",  # noqa: UP007
    Literal["b"] | None, Annotated[int, "positive"],
]  # fmt: skip

RICH = [
    set, set[int], frozenset[str], tuple, tuple[int, ...], bytes, datetime, Decimal, Point, Secret,
    list[datetime], dict[str, bytes], dict[int, str], Decimal | None, Annotated[set[int], "ids"],
    Sequence[int], Mapping[str, int],
]  # fmt: skip


@pytest.mark.parametrize("annotation", PLAIN, ids=str)
def test_plain(annotation: object) -> None:
    """What JSON has comes back as it went: nothing is done about it."""
    assert is_plain(annotation)


@pytest.mark.parametrize("annotation", RICH, ids=str)
def test_rich(annotation: object) -> None:
    """What JSON lacks has to be restored, also deep inside."""
    assert not is_plain(annotation)


def test_without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the value, its annotation, and the extra to install."""
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(UsageError, match=r"argument 'when'.*datetime.*aiostreamq\[pydantic\]"):
        Restorer(datetime, "argument 'when' of task 'remind'")


def test_a_type_nobody_can_carry() -> None:
    """It is refused when the restorer is made, and named."""

    class Opaque:
        pass

    with pytest.raises(UsageError, match=r"argument 'it'.*Opaque.*cannot travel"):
        Restorer(Opaque, "argument 'it'")


def test_a_value_of_another_type() -> None:
    """It is refused where it is written, before it is anybody else's problem."""
    with pytest.raises(PayloadError, match=r"^argument 'ids'"):
        Restorer(set[int], "argument 'ids'").write("neither a set nor numbers")


def test_json_of_another_shape() -> None:
    """It is refused where it is read."""
    with pytest.raises(PayloadError, match=r"^argument 'ids'"):
        Restorer(set[int], "argument 'ids'").restore({"no": "set"})
