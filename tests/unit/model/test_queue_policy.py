"""The bounds and the durability of a queue."""

import pytest

from aiostreamq import Queue, UsageError
from aiostreamq.model.options import Options, checked_bound, checked_when_full


def test_default_policy() -> None:
    """No lane is ever full, and what a call waits for is that Redis has the job."""
    assert checked_bound("max_length", None) == 0
    assert checked_when_full("raise", is_bounded=False) is False
    assert Options().durability is None


def test_a_bound() -> None:
    """It is kept as it is said, and what happens at it too."""
    assert checked_bound("max_bytes", 5) == 5
    assert checked_when_full("wait", is_bounded=True) is True
    assert checked_when_full("raise", is_bounded=True) is False


@pytest.mark.parametrize(
    "words",
    [
        {"max_length": 0},
        {"max_length": -1},
        {"max_length": "5"},
        {"max_length": 2.5},
        *({"max_bytes": wrong} for wrong in (0, -1, "5", 2.5)),
        {"max_length": 5, "when_full": "drop"},
        {"when_full": "wait"},
        {"durability": "disk"},
        {"durability": ""},
        {"max_payload": 0},
    ],
    ids=str,
)
def test_an_invalid_policy_is_refused(words: dict[str, object]) -> None:
    """It is refused when the queue is made, and the argument is named."""
    *_, argument = words
    with pytest.raises(UsageError, match=argument):
        Queue("memory://", **words)  # pyright: ignore[reportArgumentType]  # that is what is tested
