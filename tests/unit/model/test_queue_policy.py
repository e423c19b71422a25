"""The bounds and the durability of a queue."""

import pytest

from aiostreamq import Queue, UsageError
from aiostreamq.model.options import Options, checked_max_length, checked_when_full


def test_default_policy() -> None:
    """No lane is ever full, and what a call waits for is that Redis has the job."""
    assert checked_max_length(None) == 0
    assert checked_when_full("raise", 0) is False
    assert Options().durability is None


def test_a_bound() -> None:
    """It is kept as it is said, and what happens at it too."""
    assert checked_max_length(5) == 5
    assert checked_when_full("wait", 5) is True
    assert checked_when_full("raise", 5) is False


@pytest.mark.parametrize(
    "words",
    [
        {"max_length": 0},
        {"max_length": -1},
        {"max_length": "5"},
        {"max_length": 2.5},
        {"max_length": 5, "when_full": "drop"},
        {"when_full": "wait"},
        {"durability": "disk"},
        {"durability": ""},
        {"max_payload": 0},
    ],
    ids=str,
)
def test_what_can_not_be_meant(words: dict[str, object]) -> None:
    """It is refused when the queue is made, and the argument is named."""
    *_, argument = words
    with pytest.raises(UsageError, match=argument):
        Queue("memory://", **words)  # pyright: ignore[reportArgumentType]  # that is what is tested
