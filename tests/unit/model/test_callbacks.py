"""The callbacks in an envelope, and which end calls which."""

import orjson
import pytest

from aiostreamq.model.callbacks import NO_CALLBACKS, Callback, Callbacks
from aiostreamq.model.delivery import Delivery, Settlement, WaiterMode
from aiostreamq.model.envelope import Malformed, decode_envelope
from aiostreamq.model.job_state import OPEN_STATES, JobState
from aiostreamq.store.connection.link import CallTooLarge
from aiostreamq.worker.settle.too_large import SHORTEST_REFUSED, replaced

GOOD = {"task": "notify", "lane": "default", "mark": "0", "job": "{}"}
SUCCESS = Callback("success", "default", WaiterMode.NOBODY, "{}", "notify")
FAILURE = SUCCESS._replace(when="failure")
BOTH = Callbacks(SUCCESS, FAILURE)

#: Those of a job that ended on purpose, with neither a result nor an error, call nothing.
CALLED = {
    JobState.DONE: SUCCESS,
    JobState.FAILED: FAILURE,
    JobState.TIMED_OUT: FAILURE,
    JobState.DEAD: FAILURE,
    JobState.EXPIRED: FAILURE,
    JobState.CANCELLED: None,
    JobState.DROPPED: None,
}


def spoilt() -> list[dict[str, object]]:
    """Return callbacks of which one field has the wrong type."""
    bad: tuple[object, ...] = (7, [])
    return [{**GOOD, name: one} for name in ("lane", "job", "mark") for one in bad]


def envelope(**fields: object) -> bytes:
    """Return a call with further fields."""
    return orjson.dumps({"task": "size", **fields})


@pytest.mark.parametrize("state", [None, *(set(JobState) - OPEN_STATES)])
def test_each_end_calls_one(state: JobState | None) -> None:
    """Every end calls the one that is for it, or none."""
    assert BOTH.for_end(state) == CALLED[state or JobState.DONE]
    assert NO_CALLBACKS.for_end(state) is None


def test_read() -> None:
    """Each field is read, and those that are absent have their usual values."""
    call = decode_envelope(envelope(on_success=GOOD, on_failure=GOOD, parent="a"))
    assert (call.callbacks, call.parent) == (BOTH, "a")
    assert call.callbacks.tasks == {"on_success": "notify", "on_failure": "notify"}
    call = decode_envelope(envelope(on_failure={"lane": "default", "job": "{}"}))
    assert call.callbacks == Callbacks(None, FAILURE._replace(task=""))
    for plain in (envelope(), envelope(tags=["a"])):
        assert (decode_envelope(plain).callbacks, decode_envelope(plain).parent) == (
            NO_CALLBACKS,
            None,
        )


@pytest.mark.parametrize("option", ["on_success", "on_failure"])
@pytest.mark.parametrize("found", [7, "a", [], {}, *spoilt()])
def test_unreadable(option: str, found: object) -> None:
    """A callback of the wrong form makes the envelope unreadable: it must not be dropped."""
    with pytest.raises(Malformed, match=option):
        decode_envelope(envelope(**{option: found}))


def test_unreadable_parent() -> None:
    """The id of the parent is a string."""
    with pytest.raises(Malformed, match="parent"):
        decode_envelope(envelope(parent=7))


def test_outcome_that_is_too_large() -> None:
    """The job has failed then, and calls the callback for failures."""
    delivery = Delivery(2, b"1-0", "a", 1, envelope(on_success=GOOD, on_failure=GOOD))
    outcome = b"x" * SHORTEST_REFUSED
    end = Settlement(delivery, 1000, outcome, kind="size|done|1", callback=SUCCESS)
    assert replaced(end, CallTooLarge("no"), b"").callback == FAILURE
