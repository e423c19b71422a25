"""The JSON of a call."""

from collections.abc import Sequence

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiostreamq import PayloadError, Retry
from aiostreamq.model.envelope import (
    Envelope,
    Malformed,
    decode_envelope,
    encode_envelope,
    encode_head,
    inheriting,
)
from tests.support.random_examples import scaled

STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | STRINGS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(STRINGS, inner, max_size=4),
    max_leaves=5,
)


def envelope_of(
    args: Sequence[object] = (),
    kwargs: dict[str, object] | None = None,
    overrides: dict[str, object] | None = None,
) -> bytes:
    """Write a call of the task `size`."""
    return encode_envelope(encode_head("size"), args, kwargs or {}, overrides or {})


@settings(max_examples=scaled(1000), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(JSON, max_size=3), st.dictionaries(STRINGS, JSON, max_size=2))
def test_random_payloads(args: list[object], kwargs: dict[str, object]) -> None:
    """Whatever JSON can say arrives as it was sent."""
    found = decode_envelope(envelope_of(args, kwargs))
    assert found == Envelope("size", args, kwargs, None, None)


def test_wire_format() -> None:
    """The bytes are a public contract: other languages write them, old workers read them."""
    assert orjson.loads(envelope_of(["https://a.b"], {"tenant": 7})) == {
        "task": "size",
        "args": ["https://a.b"],
        "kwargs": {"tenant": 7},
    }
    assert orjson.loads(envelope_of()) == {"task": "size"}


def test_options_of_one_job() -> None:
    """What was said about this job alone comes along."""
    raw = envelope_of(overrides={"timeout": 30.0, "result_ttl": 0})
    found = decode_envelope(raw)
    assert (found.timeout, found.result_ttl) == (30.0, 0)


@pytest.mark.parametrize(
    ("told", "rules"),
    [
        (None, ()),
        ({"attempts": 5, "on": ["OSError"]}, (Retry(5, on=("OSError",)),)),
        ([{"attempts": 5}], (Retry(5),)),
        ([{"attempts": 5, "on": ["OSError"]}, {}], (Retry(5, on=("OSError",)), Retry())),
        ([{"attempts": 5}, {"attempts": 2}], (Retry(5), Retry(2))),  # the second harms nobody
    ],
)
def test_rules_of_one_job(told: object, rules: tuple[Retry, ...]) -> None:
    """One comes as an object, several as a list."""
    assert decode_envelope(envelope_of(overrides={"retry": told})).retry == rules


def test_fields_of_a_newer_producer() -> None:
    """What is not known is ignored."""
    raw = b'{"v":1,"task":"size","args":[1],"colour":"red","shapes":{"a":1}}'
    assert decode_envelope(raw) == Envelope("size", [1], {}, None, None)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{}",
        b'{"v":1}',
        b'{"args":[]}',
        b'{"v":2,"task":"a"}',
        b'{"v":"1","task":"a"}',
        b'{"v":1,"task":7}',
        b'{"v":1,"task":"a","args":{}}',
        b'{"v":1,"task":"a","kwargs":[]}',
        b'{"v":1,"task":"a","args":null}',
        b'{"v":1,"task":"a","timeout":"soon"}',
        b'{"v":1,"task":"a","timeout":-1}',
        b'{"v":1,"task":"a","timeout":true}',
        b'{"v":1,"task":"a","result_ttl":[]}',
        b'{"v":1,"task":"a","retry":{"on":[5]}}',
        b'{"v":1,"task":"a","retry":{"on":"Exception"}}',
        b'{"v":1,"task":"a","retry":{"backoff":{"1":2}}}',
        b'{"v":1,"task":"a","retry":{"attempts":2.5}}',
        b'{"v":1,"task":"a","retry":{"base":{}}}',
        b'{"v":1,"task":"a","retry":5}',
        b'{"v":1,"task":"a","retry":[]}',
        b'{"v":1,"task":"a","retry":[5]}',
        b'{"v":1,"task":"a","retry":[{},null]}',
        b'{"v":1,"task":"a","retry":[{"attempts":5},{"attempts":0}]}',
        b'{"v":1,"task":"a","retry":[[{}]]}',
        b'{"v":1,"task":"a","expires":"soon"}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_envelope(raw: bytes) -> None:
    """It is refused as such."""
    with pytest.raises(Malformed):
        decode_envelope(raw)


@given(st.binary() | JSON.map(orjson.dumps))
def test_whatever_comes(raw: bytes) -> None:
    """Any bytes are an envelope or Malformed; nothing else is raised."""
    try:
        found = decode_envelope(raw)
    except Malformed:
        return
    assert type(found.task) is str


def test_what_can_not_travel() -> None:
    """It is refused while it is written."""
    with pytest.raises(PayloadError):
        envelope_of([float("nan")])


@pytest.mark.parametrize("name", ["a", "mail.send", 'quo"te', "größe", "a\\b"])
def test_task_names(name: str) -> None:
    """Whatever a task is called, it is called so at the other end."""
    assert decode_envelope(encode_envelope(encode_head(name), [1], {}, {})).task == name


@pytest.mark.parametrize(
    ("deadline", "limit", "bound"),
    [(None, 5.0, 5.0), (7.0, 5.0, 5.0), (3.0, 5.0, 3.0), (3.0, None, 3.0)],
)
def test_inheriting_envelope_has_the_earlier_deadline(
    deadline: float | None, limit: float | None, bound: float
) -> None:
    """A job has no later deadline than the job that enqueues it."""
    overrides: dict[str, object] = {} if deadline is None else {"deadline": deadline}
    found = orjson.loads(inheriting(envelope_of([1], overrides=overrides), limit, {}))
    assert found == {"task": "size", "args": [1], "deadline": bound}


@pytest.mark.parametrize("headers", [None, 1, "a", [], ["a"], {"a": 1}, {"a": None}, {"a": {}}])
def test_headers_of_other_types_are_malformed(headers: object) -> None:
    """Headers of another type, by another program, are refused before the job runs."""
    with pytest.raises(Malformed, match="headers is not an object whose values are strings"):
        decode_envelope(envelope_of(overrides={"headers": headers}))


@pytest.mark.parametrize("headers", [{}, {"tenant": "acme"}, {"a": "", "b": "\u20ac"}])
def test_headers_arrive(headers: dict[str, str]) -> None:
    """Headers are a field of the envelope, and arrive as they were sent."""
    assert decode_envelope(envelope_of(overrides={"headers": headers})).headers == headers
