"""Reading dead letters, whoever wrote them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiostreamq.model.dead_letters import (
    DeadLetter,
    DeadLetterFilter,
    parse_letter,
)
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import Failure, encode_ended
from aiostreamq.model.replayed_job import (
    HISTORY_LENGTH,
    keeps_result,
    lane_to_replay_in,
    write_history,
    write_replay,
)
from aiostreamq.model.stream_ids import earlier, id_after, id_before

DIED_MS = 1_764_000_000_123
FAILED = encode_ended("size", 2, JobState.FAILED, Failure("app.Odd", "no tea", "Traceback"))
CALL = b'{"task":"size","args":["a"],"kwargs":{"deep":2}}'


def letter(
    outcome: bytes = FAILED,
    call: bytes = CALL,
    stream: bytes = b"aiostreamq:{q}:stream:slow",
    **more: bytes,
) -> DeadLetter:
    """Return a letter as the scripts write it."""
    flat = [b"outcome", outcome, b"worker", b"w1", b"stream", stream, b"entry", b"1763999999000-0"]
    flat += [b"id", b"j", b"n", b"2", b"job", call]
    for name, value in more.items():
        flat += [name.encode(), value]
    return parse_letter(b"%d-0" % DIED_MS, flat)


def test_all_that_is_in_it() -> None:
    """Job, call, error, place and times are told apart."""
    found = letter(a=b"3", d=b"w1@1 w2@2")
    assert (found.id, found.job_id, found.task) == (f"{DIED_MS}-0", "j", "size")
    assert (found.state, found.error, found.message) == (JobState.FAILED, "app.Odd", "no tea")
    assert found.traceback == "Traceback"
    assert (found.args, found.kwargs) == (["a"], {"deep": 2})
    assert (found.attempt, found.deliveries, found.victims) == (3, 2, ("w1", "w2"))
    assert found.deaths == 2
    assert found.died_at == datetime(2025, 11, 24, 16, 0, 0, 123_000, UTC)
    assert found.queued_at == datetime(2025, 11, 24, 15, 59, 59, tzinfo=UTC)
    assert (found.worker, found.lane) == ("w1", "slow")
    assert (found.history, found.fields, found.is_job) == ((), (), True)


def test_timeout_is_a_timeout_error() -> None:
    """Its outcome names none; filters and people know it by that of rules for retries."""
    found = letter(encode_ended("size", 1, JobState.TIMED_OUT))
    assert (found.state, found.error) == (JobState.TIMED_OUT, "TimeoutError")


def test_what_is_no_job() -> None:
    """All of its fields are kept, in their order."""
    flat = [b"outcome", b"{}", b"worker", b"w", b"stream", b"s", b"entry", b"1-0", b"\xff", b"\xfe"]
    found = parse_letter(b"1-0", flat)
    assert not found.is_job
    assert found.fields == ((b"\xff", b"\xfe"),)
    assert (found.job_id, found.task, found.args, found.lane) == ("", "", None, "")


@pytest.mark.parametrize(
    "call", [b"", b"[]", b"\xff", b'{"args":[1]}', b'{"task":7,"args":[]}', b'{"task":"size"']
)
def test_call_that_cannot_be_read(call: bytes) -> None:
    """It has no arguments; the task is what the outcome says."""
    found = letter(call=call)
    assert (found.task, found.args, found.kwargs) == ("size", None, None)
    assert write_replay(found) == call


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NAMES = st.sampled_from(
    [b"outcome", b"worker", b"stream", b"entry", b"id", b"n", b"job", b"a", b"d", b"h"]
)
VALUES = st.binary() | JSON.map(lambda value: orjson.dumps(value, default=str))
OUTCOMES = st.fixed_dictionaries(
    {}, optional={"state": JSON, "error": JSON, "task": JSON, "n": JSON}
).map(orjson.dumps)
HISTORIES = st.lists(
    st.fixed_dictionaries({}, optional={"died": JSON, "state": JSON, "type": JSON})
).map(orjson.dumps)


@given(st.binary(), st.lists(st.binary() | NAMES | VALUES))
@example(b"99999999999999999999-0", [b"outcome"])
def test_garbage(letter_id: bytes, flat: list[bytes]) -> None:
    """Whatever a stranger wrote is read without an error."""
    found = parse_letter(letter_id, flat)
    write_history(found)
    write_replay(found)


@given(OUTCOMES | VALUES, VALUES, VALUES, HISTORIES | VALUES)
def test_garbage_in_its_place(outcome: bytes, call: bytes, victims: bytes, history: bytes) -> None:
    """The same for an entry that looks as if it were ours."""
    found = letter(outcome, call, a=victims, d=victims, h=history)
    assert found.job_id == "j"
    write_history(found)
    write_replay(found)


@pytest.mark.parametrize(
    "count", [b"", b"x", b"0", b"01", b"-1", b"1_0", b" 1", "٣".encode(), b"9" * 5_000]
)
def test_count_that_is_none(count: bytes) -> None:
    """An entry whose number cannot be meant is no job."""
    flat = [b"outcome", b"", b"worker", b"", b"stream", b"", b"entry", b""]
    assert not parse_letter(b"1-0", [*flat, b"id", b"j", b"n", count, b"job", CALL]).is_job


def test_time_beyond_the_calendar() -> None:
    """An entry of the far future was queued at the end of the calendar."""
    flat = [b"outcome", FAILED, b"worker", b"w", b"stream", b"s", b"entry", b"999999999999999-0"]
    flat += [b"id", b"j", b"n", b"1", b"job", CALL]
    assert parse_letter(b"1-0", flat).queued_at == datetime.max.replace(tzinfo=UTC)


def test_id_that_is_not_text() -> None:
    """An entry whose id is not UTF-8 was not written by a script: it is not a job."""
    flat = [b"outcome", FAILED, b"worker", b"w", b"stream", b"s", b"entry", b"1-0"]
    flat += [b"id", b"\xff", b"n", b"1", b"job", CALL]
    assert not parse_letter(b"1-0", flat).is_job


def test_history() -> None:
    """A letter's failure is added to those before it, cut to what helps."""
    found = letter(
        encode_ended("size", 2, JobState.FAILED, Failure("ValueError", "x" * 300, "")),
        h=b'[{"died":1000,"worker":"w0","state":"dead","type":"Poison","message":"gone"}, 7]',
    )
    [past] = found.history
    assert past.died_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (past.worker, past.state, past.error, past.message) == (
        "w0",
        JobState.DEAD,
        "Poison",
        "gone",
    )
    assert orjson.loads(write_history(found)) == [
        {"died": 1000, "worker": "w0", "state": "dead", "type": "Poison", "message": "gone"},
        {
            "died": DIED_MS,
            "worker": "w1",
            "state": "failed",
            "type": "ValueError",
            "message": "x" * 200,
        },
    ]


def test_history_is_bounded() -> None:
    """The oldest failures are forgotten."""
    history = b"[]"
    for _ in range(HISTORY_LENGTH + 5):
        history = write_history(letter(h=history))
    assert len(letter(h=history).history) == HISTORY_LENGTH


def test_call_as_it_was() -> None:
    """Without a reason nothing is written anew."""
    call = b'{ "task":"size", "later": 1.0}'
    assert write_replay(letter(call=call)) == call


def test_call_that_would_end_at_once() -> None:
    """The time by which it should have been started goes, what is not known stays."""
    call = b'{"task":"size","expires":1000,"newer":[1.5],"timeout":3}'
    assert write_replay(letter(call=call)) == b'{"task":"size","newer":[1.5],"timeout":3}'


def test_call_that_cannot_be_written_anew() -> None:
    """What is nested deeper than can be written stays as it is."""
    call = b'{"task":"size","expires":1,"args":%b%b}' % (b"[" * 500, b"]" * 500)
    assert letter(call=call).args is not None
    assert write_replay(letter(call=call)) == call


def test_call_with_other_arguments() -> None:
    """Each of the two is replaced where it is given."""
    assert orjson.loads(write_replay(letter(), args=["b"])) == {
        "task": "size",
        "args": ["b"],
        "kwargs": {"deep": 2},
    }
    assert orjson.loads(write_replay(letter(), kwargs={}))["args"] == ["a"]


def test_arguments_of_a_known_task_are_written_by_its_annotations() -> None:
    """What the task writes replaces both, and its secrets are listed."""

    def write(
        args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object], list[str]]:
        assert (args, kwargs) == (["b"], {"deep": 2})
        return (1,), {}, ["/args/0"]

    assert orjson.loads(write_replay(letter(), args=["b"], write=write)) == {
        "task": "size",
        "args": [1],
        "kwargs": {},
        "secrets": ["/args/0"],
    }


@pytest.mark.parametrize(
    ("stream", "lanes", "own", "lane"),
    [
        (b"slow", ("default", "slow"), "default", "slow"),
        (b"returned", ("default", "slow"), "slow", "slow"),
        (b"returned", ("slow", "default"), None, "default"),
        (b"gone", ("quick", "slow"), "gone", "quick"),
    ],
)
def test_lane(stream: bytes, lanes: tuple[str, ...], own: str | None, lane: str) -> None:
    """Where it was, else where its task's jobs wait, else where the queue's do."""
    found = letter(stream=b"aiostreamq:{q}:stream:" + stream)
    assert lane_to_replay_in(found, lanes, own) == lane


@pytest.mark.parametrize(
    ("said", "own", "keeps"),
    [(b"", None, True), (b"", 0, False), (b',"result_ttl":0', 60, False),
     (b',"result_ttl":5', 0, True)],
)  # fmt: skip
def test_keeps_result(said: bytes, own: float | None, keeps: bool) -> None:
    """What the call says counts before what the task says."""
    assert keeps_result(letter(call=b'{"task":"size"%b}' % said), own) is keeps


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (DeadLetterFilter(), True),
        (DeadLetterFilter("size"), True),
        (DeadLetterFilter("siz"), False),
        (DeadLetterFilter(error="app.Odd"), True),
        (DeadLetterFilter(error="Odd"), True),
        (DeadLetterFilter(error="dd"), False),
        (DeadLetterFilter("other", "Odd"), False),
    ],
)
def test_filter(wanted: DeadLetterFilter, matches: bool) -> None:
    """All that is said must hold; a type of error may be said without its module."""
    assert wanted.matches(letter()) is matches


def test_filter_of_nothing_is_open() -> None:
    """It matches every letter."""
    assert DeadLetterFilter().is_open
    assert not DeadLetterFilter("size").is_open
    assert not DeadLetterFilter(error="Odd").is_open


@given(st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_next_ids(ms: int, number: int) -> None:
    """Before and after are each other's way back, and in order."""
    one = f"{ms}-{number}"
    assert id_after(id_before(one)) == one
    assert earlier(one, id_before(one)) == id_before(one)
    assert earlier("+", one) == earlier(one, "+") == one
