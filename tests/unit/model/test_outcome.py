"""The JSON of an outcome, and the value or error that it is read as."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq import (
    JobCancelled,
    JobDead,
    JobDropped,
    JobError,
    JobExpired,
    JobFailed,
    JobState,
    JobTimeout,
)
from aiostreamq.model.outcome import (
    LONGEST_REASON,
    Failure,
    Outcome,
    Unreadable,
    decode_outcome,
    encode_done,
    encode_ended,
    encode_unreadable,
    signature_of,
    signed,
    signer_of,
)


def test_format_of_a_value() -> None:
    """The bytes are a public contract."""
    raw = encode_done(b'"size"', 1, b"42")
    assert orjson.loads(raw) == {"state": "done", "n": 1, "task": "size", "value": 42}


def test_format_of_a_failure() -> None:
    """The bytes are a public contract."""
    raw = encode_ended("size", 2, JobState.FAILED, Failure("ValueError", "no", "Traceback..."))
    assert orjson.loads(raw) == {
        "state": "failed",
        "n": 2,
        "task": "size",
        "error": {"type": "ValueError", "message": "no", "traceback": "Traceback..."},
    }


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 10**6))
def test_value_arrives(value: str, number: int) -> None:
    """What was returned is read back, and there is no error."""
    outcome = decode_outcome(encode_done(b'"t"', number, orjson.dumps({"v": [value]})))
    assert outcome == Outcome(JobState.DONE, {"v": [value]}, None, "t")
    assert outcome.error("7") is None


def test_failure_arrives() -> None:
    """What was raised is read back as JobFailed, with the job's id."""
    raw = encode_ended("t", 1, JobState.FAILED, Failure("a.Error", "no", "Traceback..."))
    error = decode_outcome(raw).error("7")
    assert isinstance(error, JobFailed)
    assert (error.type, error.message, error.traceback) == ("a.Error", "no", "Traceback...")
    assert (error.job_id, str(error)) == ("7", "a.Error: no")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (JobState.TIMED_OUT, JobTimeout),
        (JobState.CANCELLED, JobCancelled),
        (JobState.FAILED, JobFailed),
        (JobState.DEAD, JobDead),
        (JobState.DROPPED, JobDropped),
        (JobState.EXPIRED, JobExpired),
    ],
)
def test_other_ends(state: JobState, expected: type[JobError]) -> None:
    """Each end without a value is an error of its own, even where nothing is said about it."""
    error = decode_outcome(encode_ended("t", 1, state)).error("7")
    assert isinstance(error, expected)
    assert error.job_id == "7"
    assert str(error)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
def test_what_is_no_end(state: JobState) -> None:
    """A job that continues has no outcome to raise."""
    with pytest.raises(ValueError, match="is not an end"):
        Outcome(state, None, None, "t").error("7")


@pytest.mark.parametrize("worker", ["web1-7-9f2c4e1a", 'a"b', "Örjan\n"])
@pytest.mark.parametrize(
    "raw",
    [
        encode_done(b'"size"', 2, b'{"worker":"none"}'),
        encode_ended("size", 2, JobState.FAILED, Failure("ValueError", "no", "Traceback...")),
    ],
)
def test_signed(raw: bytes, worker: str) -> None:
    """It says whose it is, and else what it said before."""
    whole = signed(raw, signature_of(worker))
    assert orjson.loads(whole) == orjson.loads(raw) | {"worker": worker}
    assert decode_outcome(whole) == decode_outcome(raw)
    assert signer_of(whole) == worker


@pytest.mark.parametrize(
    "raw",
    [
        encode_done(b'"size"', 1, b'{"worker":"none"}'),
        *(b"", b"{", b"null", b"[]", b'"worker"', b"5", b'{"worker":5}', b"\xff"),
    ],
)
def test_not_signed(raw: bytes) -> None:
    """Nobody is named where it does not say who, or is no outcome."""
    assert signer_of(raw) is None


def test_fields_of_a_newer_worker() -> None:
    """What is not known is ignored."""
    raw = b'{"state":"done","n":1,"task":"t","value":1,"took":0.5}'
    assert decode_outcome(raw) == Outcome(JobState.DONE, 1, None, "t")


@pytest.mark.parametrize(
    "raw",
    [
        *(b"", b"{", b"null", b"[]", b"5", b"{}", b'"done"', b"\xff", b"[" * 3_000),
        *(b'{"state":5}', b'{"state":["done"]}', b'{"state":"?"}', b'{"state":"running"}'),
        *(b'{"state":"failed","error":5}', b'{"state":"failed","error":{"type":"E"}}'),
        b'{"state":"done","task":[],"value":1}',
    ],
)
def test_what_is_no_outcome(raw: bytes) -> None:
    """Anything else is refused with one error, whatever is wrong with it."""
    with pytest.raises(Unreadable):
        decode_outcome(raw)


def test_unreadable_job_is_dead_with_a_bounded_reason() -> None:
    """The reason may quote what another program wrote, of any length."""
    outcome = decode_outcome(encode_unreadable("x" * 100_000))
    assert outcome.state is JobState.DEAD
    assert outcome.failure == Failure("Unreadable", "x" * LONGEST_REASON, "")
