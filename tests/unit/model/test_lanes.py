"""Weights of lanes, and whose turn it is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq.errors import UsageError
from aiostreamq.model.lanes import StrideScheduler, checked_lanes, served


def test_names_alone_weigh_the_same() -> None:
    """A list says which lanes there are."""
    assert checked_lanes(["a", "b", "a"], strict_priority=False).weights == {"a": 1, "b": 1}
    assert checked_lanes({"a": 8, "b": 1}, strict_priority=True) == ({"a": 8, "b": 1}, True)


@pytest.mark.parametrize(
    ("lanes", "told"),
    [
        ([], "name at least one"),
        ({"a": 0}, "at least 1"),
        ({"a": 1.5}, "at least 1"),
        ({"a": True}, "at least 1"),
        (["returned"], "reserved"),
        (["a b"], "is invalid"),
        ("high", r"write lanes=\['high'\]"),
        (b"high", r"write lanes=\['high'\]"),
        (5, "not a list of names"),
    ],
)
def test_lanes_that_can_not_be(lanes: Any, told: str) -> None:
    """They are refused, with the reason."""
    with pytest.raises(UsageError, match=told):
        checked_lanes(lanes, strict_priority=False)


def test_strict_priority_is_a_bool() -> None:
    """Another value is refused, and not taken for true."""
    with pytest.raises(UsageError, match="use True or False"):
        checked_lanes(["a"], strict_priority=1)  # pyright: ignore[reportArgumentType]


def test_served() -> None:
    """A worker serves all lanes, or those it names."""
    weights = {"high": 8, "low": 1}
    assert served(weights, None) == weights
    assert served(weights, ["low"]) == {"low": 1}
    with pytest.raises(UsageError, match="no lane 'hihg': it has high, low"):
        served(weights, ["hihg"])
    with pytest.raises(UsageError, match="no lane to serve"):
        served(weights, [])
    with pytest.raises(UsageError, match="no lane to serve"):
        served(weights, [])


def test_dry_lane_saves_up_no_turns() -> None:
    """What had nothing for long starts beside the others, and not far ahead of them."""
    turns = StrideScheduler([8, 1])
    turns.note([0, 1000], {0})
    assert turns.passes == [0.0, 0.0]


def test_nothing_anywhere() -> None:
    """All dry: all start anew."""
    turns = StrideScheduler([8, 1])
    turns.note([4, 3], {0, 1})
    assert turns.passes == [0.0, 0.0]


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 500)), min_size=1))
def test_one_is_never_ahead_of_all(lanes: list[tuple[int, int]]) -> None:
    """The passes are counted from the one that is behind."""
    turns = StrideScheduler([weight for weight, _ in lanes])
    turns.note([taken for _, taken in lanes], set())
    assert min(turns.passes) == 0.0
