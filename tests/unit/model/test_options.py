"""The options of tasks: their defaults and their limits."""

from datetime import timedelta
from typing import Any

import pytest

from aiostreamq import Retry, UsageError
from aiostreamq.model.options import Options, TaskOptions, checked_job_id
from aiostreamq.model.task import TaskSpec, milliseconds


def test_default_options() -> None:
    """A task runs as long as it likes, in the default lane, and its result stays an hour."""
    assert Options() == Options(timeout=None, result_ttl=3600.0, lane="default")
    assert Options().merged({}) == Options()


def test_with_options_changes_only_named_options() -> None:
    """Only what is named changes."""
    options = Options(timeout=5.0, lane="slow").merged({"result_ttl": "1m"})
    assert options == Options(timeout=5.0, result_ttl=60.0, lane="slow")
    assert options.merged({"timeout": None}).timeout is None
    assert options.merged({"timeout": timedelta(minutes=2)}).timeout == 120.0
    assert options.merged({"result_ttl": 0}).result_ttl == 0
    ruled = options.merged({"retry": Retry(5)})
    assert ruled.retry == options.merged({"retry": [Retry(5)]}).retry == (Retry(5),)
    assert ruled.merged({"retry": None}) == options


@pytest.mark.parametrize(
    "words",
    [
        TaskOptions(timeout=0),
        TaskOptions(timeout=-1),
        TaskOptions(timeout="soon"),
        TaskOptions(result_ttl=-1),
        TaskOptions(result_ttl=float("inf")),
        TaskOptions(durability="disk"),  # pyright: ignore[reportArgumentType]  # that is what is tested
        TaskOptions(retry=3),  # pyright: ignore[reportArgumentType]  # as above
        TaskOptions(retry=()),
        TaskOptions(retry=[Retry(5), Retry(2)]),
        TaskOptions(lane=5),  # pyright: ignore[reportArgumentType]  # as above
        TaskOptions(lane=""),
        TaskOptions(lane="fast lane"),
        TaskOptions(lane="returned"),
        TaskOptions(dealy=5),  # pyright: ignore[reportCallIssue]  # no type checker may be there
    ],
    ids=str,
)
def test_what_can_not_be_meant(words: TaskOptions) -> None:
    """It is refused, and the option is named."""
    (option,) = words
    with pytest.raises(UsageError, match=option):
        Options().merged(words)


@pytest.mark.parametrize("job_id", ["a", "order-7", "3:9/x?y", "größe", "x" * 256])
def test_job_ids(job_id: str) -> None:
    """Anything printable without spaces is an id."""
    assert checked_job_id(job_id) == job_id


@pytest.mark.parametrize(
    "job_id", ["", "a b", "a\nb", "a\tb", "\x00", "\u2028", "x" * 257, 7, b"a", None]
)
def test_what_is_no_job_id(job_id: Any) -> None:
    """What would break a key or a line of a notice is refused."""
    with pytest.raises(UsageError, match="job id"):
        checked_job_id(job_id)


@pytest.mark.parametrize(
    ("ttl", "expected"),
    [(0, 0), (0.0001, 1), (0.001, 1), (1, 1000), (3600.0, 3_600_000), (1e300, 3 * 10**12)],
)
def test_only_no_time_is_no_time(ttl: float, expected: int) -> None:
    """A result that is kept very shortly is kept all the same."""
    assert milliseconds(ttl) == expected
    assert TaskSpec("size", Options(result_ttl=ttl)).keep_ms == expected
