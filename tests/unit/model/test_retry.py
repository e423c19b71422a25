"""When a job that failed runs again: arithmetic, and what is done about an exception."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq import Drop, Retry, RetryLater, UsageError
from aiostreamq.model.duration import due_word, expiry_word
from aiostreamq.model.verdict import EndDropped, EndFailed, RunAgain, judge


@pytest.mark.parametrize(
    ("rule", "pauses"),
    [
        (Retry(9, jitter=False), [1, 2, 4, 8, 16]),
        (Retry(9, base="250ms", cap=1, jitter=False), [0.25, 0.5, 1, 1, 1]),
        (Retry(9, backoff="linear", base=2, jitter=False), [2, 4, 6, 8, 10]),
        (Retry(9, backoff="fixed", base=3, jitter=False), [3, 3, 3, 3, 3]),
        (Retry(9, backoff=[1, "5s", timedelta(seconds=30)]), [1, 5, 30, 30, 30]),
    ],
)
def test_pauses(rule: Retry, pauses: list[float]) -> None:
    """Each backoff grows as its name says, up to the cap; a list goes on with its last."""
    assert [rule.pause(attempt, 0.5) for attempt in range(1, 6)] == pauses


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_jitter_stays_below_the_pause(attempt: int, draw: float) -> None:
    """Whatever the attempt and the draw, a pause is between nothing and the cap."""
    assert 0 <= Retry(20_000, cap=300).pause(attempt, draw) <= 300


class Flood(OSError):
    """An exception with parents."""


@pytest.mark.parametrize(
    ("rule", "error", "attempt", "again"),
    [
        (Retry(3), ValueError(), 1, True),
        (Retry(3), ValueError(), 2, True),
        (Retry(3), ValueError(), 3, False),
        (Retry(1), ValueError(), 1, False),
        (Retry(3, on=(OSError,)), Flood(), 1, True),
        (Retry(3, on=(OSError,)), ValueError(), 1, False),
        (Retry(3, not_on=(OSError,)), Flood(), 1, False),
        (Retry(3, on=("OSError",)), Flood(), 1, True),
        (Retry(3), asyncio.CancelledError(), 1, False),
        (Retry(3), SystemExit(), 1, False),
    ],
)
def test_which_errors_are_covered(
    rule: Retry, error: BaseException, attempt: int, again: bool
) -> None:
    """A rule looks at the class, its parents, and how often the job has run; also by name."""
    assert rule.covers(error, attempt) is again
    assert (
        Retry.from_wire(orjson.loads(orjson.dumps(rule.to_wire()))).covers(error, attempt) is again
    )


@given(
    st.builds(
        Retry,
        attempts=st.integers(1, 50),
        backoff=st.sampled_from(["exponential", "linear", "fixed", [1.0, 5.0]]),
        base=st.floats(0.001, 100),
        cap=st.floats(0.001, 1000),
        jitter=st.booleans(),
    ),
    st.integers(1, 60),
    st.floats(0, 1),
)
def test_rule_is_the_same_after_the_wire(rule: Retry, attempt: int, draw: float) -> None:
    """A rule that travels with a job pauses as the one that was written."""
    travelled = Retry.from_wire(orjson.loads(orjson.dumps(rule.to_wire())))
    assert travelled.pause(attempt, draw) == rule.pause(attempt, draw)


@pytest.mark.parametrize(
    "words",
    [
        *({"attempts": 0}, {"backoff": "quadratic"}, {"backoff": []}),
        *({"attempts": "5"}, {"attempts": 2.5}, {"attempts": None}, {"attempts": True}),
        *({"backoff": 10}, {"backoff": [None]}, {"backoff": {1: 2}}, {"jitter": 0.5}),
        *({"base": -1}, {"cap": "soon"}, {"base": None}),
        *({"on": ValueError}, {"on": "ValueError"}, {"not_on": (ValueError(),)}, {"on": (int,)}),
    ],
)
def test_what_can_not_be_meant(words: dict[str, object]) -> None:
    """A rule that says nothing sensible is refused where it is written."""
    with pytest.raises(UsageError):
        Retry(**words)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("error", "rule", "attempt", "verdict"),
    [
        (ValueError(), None, 1, EndFailed()),
        (ValueError(), Retry(2, jitter=False), 1, RunAgain(1.0)),
        (ValueError(), Retry(2, jitter=False), 2, EndFailed()),
        (RetryLater("10s"), None, 99, RunAgain(10.0)),
        (RetryLater(10), Retry(2), 2, EndFailed()),
        (Drop("late"), Retry(2), 1, EndDropped("late")),
    ],
)
def test_verdicts(error: BaseException, rule: Retry | None, attempt: int, verdict: object) -> None:
    """What a task raises to steer comes before its rule; without either it fails."""
    assert judge(error, rule, attempt, 0.5) == verdict


def test_when_a_job_is_due() -> None:
    """Delays are by Redis's clock, times are as written; a time without zone is refused."""
    assert due_word("1.5s", None) == "+1500"
    assert expiry_word("1.5s") == "+1500"
    assert expiry_word(None) is None
    assert expiry_word(datetime(2026, 1, 1, tzinfo=UTC)) == "1767225600000"
    with pytest.raises(UsageError, match="never let the job run"):
        expiry_word(0)
    with pytest.raises(UsageError, match=r"expires=.* has no time zone"):
        expiry_word(datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point
    assert due_word(0, None) is None
    assert due_word(None, datetime(2026, 1, 1, tzinfo=UTC)) == "1767225600000"
    with pytest.raises(UsageError, match="time zone"):
        due_word(None, datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point
    with pytest.raises(UsageError, match="one of them"):
        due_word(1, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("moment", ["10s", 1_767_225_600])
def test_what_is_no_moment(moment: Any) -> None:
    """A length of time where a moment is meant is refused, and so is the reverse."""
    with pytest.raises(UsageError, match=r"^at=.* is no moment: .* delay= takes"):
        due_word(None, moment)
    delay: Any = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(UsageError, match=r"^delay=.* is a moment, .*: say at="):
        due_word(delay, None)
