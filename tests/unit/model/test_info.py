"""Times and calls as people are shown them, whatever is in Redis."""

from datetime import UTC, datetime

import pytest

from aiostreamq.model.info import call_of, parse_worker, time_of
from aiostreamq.model.time import moment


def test_moment() -> None:
    """A time in ms is a datetime in UTC; one beyond the calendar is the calendar's end."""
    assert moment(1_764_000_000_000) == datetime(2025, 11, 24, 16, tzinfo=UTC)
    assert moment(1e18) == datetime.max.replace(tzinfo=UTC)


def test_time_of_an_entry() -> None:
    """The id of a stream entry begins with the time at which it was added."""
    assert time_of("1764000000000-7") == datetime(2025, 11, 24, 16, tzinfo=UTC)


@pytest.mark.parametrize(
    ("envelope", "call"),
    [
        (b'{"v":1,"task":"add","args":[1],"kwargs":{"b":2}}', ("add", [1], {"b": 2})),
        (b'{"v":1,"task":"log_in","args":["x"],"kwargs":{},"secrets":["/args/0"]}', "log_in"),
        (b"not an envelope", ("", None, None)),
    ],
)
def test_call(envelope: bytes, call: object) -> None:
    """The task and its arguments are shown with secrets masked, or not at all."""
    found = call_of(envelope)
    assert found.metadata.headers == {}
    assert found[:3] == (call if isinstance(call, tuple) else (call, ["**********"], {}))


@pytest.mark.parametrize("about", [None, b"{}", b"[]", b"{", b'{"state":"?"}', b'{"jobs":1}'])
def test_worker_without_a_description(about: bytes | None) -> None:
    """A worker whose description is missing or damaged is listed by its name."""
    worker = parse_worker("web1-4711", "7 15000 high low", about, 1_764_000_000_000)
    assert (worker.name, worker.is_lost, worker.state, worker.jobs) == (
        "web1-4711",
        False,
        None,
        (),
    )
