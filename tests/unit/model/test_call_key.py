"""The key of a call: the same for the same arguments, however they are given."""

# Lambdas as users write them, whose parameters have no types.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel, Secret, SecretStr, field_serializer

from aiostreamq import Context, Debounce, KeepLatest, PayloadError, Throttle, Unique, UsageError
from aiostreamq.model.functions.call_key import check_rule, digest_of
from aiostreamq.model.functions.signature import TaskSignature
from aiostreamq.model.metadata import HeldKey, key_in
from aiostreamq.model.unique import ruled, wire, with_key


class Point(BaseModel):
    """An argument that is not JSON."""

    x: int
    y: int = 0


def plain(url: str, depth: int = 1, *, tags: dict[str, int] | None = None) -> None:
    """Take plain arguments."""


def rich(at: datetime, point: Point = Point(x=1), who: UUID | None = None) -> None:  # noqa: B008
    """Take others."""


def rest(first: int, *others: int, **named: int) -> None:
    """Take any."""


def secret(token: SecretStr) -> None:
    """Take a secret."""


def with_context(ctx: Context, url: str) -> None:
    """Take a parameter that the worker fills in."""


def call(function: Callable[..., object], rule: Unique, *args: object, **kwargs: object) -> str:
    """Return the digest of a call."""
    signature = TaskSignature("t", function, Context)
    check_rule(rule, "t", signature)
    return digest_of(rule, "t", signature, args, kwargs)


NOON = datetime(2026, 1, 1, tzinfo=UTC)

#: Calls that are the same.
SAME: dict[str, list[tuple[Callable[..., object], Unique, tuple[Any, ...], dict[str, Any]]]] = {
    "place or name": [
        (plain, Unique(), ("u",), {}),
        (plain, Unique(), (), {"url": "u"}),
        (plain, Unique(), ("u", 1), {}),
        (plain, Unique(), (), {"depth": 1, "url": "u", "tags": None}),
    ],
    "order in an object": [
        (plain, Unique(key="tags"), ("u",), {"tags": {"a": 1, "b": 2}}),
        (plain, Unique(key="tags"), ("v",), {"tags": {"b": 2, "a": 1}}),
    ],
    "other arguments": [
        (plain, Unique(key="url"), ("u", 1), {}),
        (plain, Unique(key=("url",)), ("u", 2), {}),
        (plain, Unique(key=["url"]), ("u", 2), {"tags": {}}),
    ],
    "rich values": [
        (rich, Unique(), (NOON,), {}),
        (rich, Unique(), (NOON, Point(x=1, y=0)), {"who": None}),
    ],
    "any arguments": [
        (rest, Unique(), (1, 2), {"a": 3}),
        (rest, Unique(), (1, 2), {"a": 3}),
    ],
    "function": [
        (plain, Unique(key=lambda url: url.lower()), ("U",), {}),
        (plain, Unique(key=lambda url, depth=5: (url * bool(depth)).lower()), ("u", 7), {}),
    ],
    "function that returns several": [
        (plain, Unique(key=lambda depth, url: (url, depth)), ("u",), {}),
        (plain, Unique(key=lambda depth, url: [url, depth]), ("u", 1), {}),
    ],
    "context": [
        (with_context, Unique(), ("u",), {}),
        (with_context, Unique(key="url"), (), {"url": "u"}),
    ],
}


@pytest.mark.parametrize("calls", SAME.values(), ids=SAME)
def test_same(
    calls: list[tuple[Callable[..., object], Unique, tuple[Any, ...], dict[str, Any]]],
) -> None:
    """They have one key."""
    assert (
        len({call(function, rule, *args, **kwargs) for function, rule, args, kwargs in calls}) == 1
    )


def test_different() -> None:
    """Each of these has a key of its own."""
    keys = [
        call(plain, Unique(), "u"),
        call(plain, Unique(), "U"),
        call(plain, Unique(), "u", 2),
        call(plain, Unique(), "1"),
        call(plain, Unique(key="depth"), "u", 1),
        call(plain, Unique(key="depth"), "u", True),
        call(plain, Unique(key="url"), "u"),
        call(plain, Unique(key=("url", "depth")), "u", 3),
        call(rest, Unique(), 1, 2),
        call(rest, Unique(), 1, 2, 2),
        call(rest, Unique(), 1, a=2),
        call(rich, Unique(), NOON, Point(x=2)),
        call(secret, Unique(), SecretStr("a")),
        call(secret, Unique(), SecretStr("b")),
    ]
    assert len(set(keys)) == len(keys)
    signature = TaskSignature("t", plain, Context)
    assert digest_of(Unique(), "other", signature, ("u",), {}) not in keys


#: Two equal sets whose members come in another order.
FORTH, BACK = frozenset([0, 8]), frozenset([8, 0])


class Tags(BaseModel):
    """Sets in a model, one of them in an object, and one that its serializer writes as text."""

    tags: frozenset[int]
    by_name: dict[str, set[int]] = {}
    text: frozenset[int] = frozenset()

    @field_serializer("text")
    def write_text(self, text: frozenset[int]) -> list[int]:
        """Write members in their order."""
        return sorted(text)


class Root(RootModel[frozenset[int]]):
    """A set with a name."""


@dataclass(frozen=True)
class Pair:
    """A set in a dataclass, which can be in a set."""

    tags: frozenset[int]
    token: SecretStr | None = None


#: Annotations, and what makes a value of them from a set.
SETS: dict[str, tuple[Any, Callable[[frozenset[int]], object]]] = {
    "set": (set[int], set),
    "frozenset": (frozenset[int], frozenset),
    "optional": (set[int] | None, set),
    "in a list": (list[frozenset[int]], lambda members: [members, members]),
    "in a tuple": (tuple[frozenset[int], int], lambda members: (members, 1)),
    "in an object": (dict[str, frozenset[int]], lambda members: {"a": members}),
    "in a set": (set[frozenset[int]], lambda members: {members, frozenset([9])}),
    "in a model": (
        Tags,
        lambda members: Tags(tags=members, by_name={"a": set(members)}, text=members),
    ),
    "root of a model": (Root, Root),
    "in a dataclass": (Pair, Pair),
    "in a dataclass in a set": (set[Pair], lambda members: {Pair(members, SecretStr("t"))}),
    "secret": (Secret[frozenset[int]], Secret[frozenset[int]]),
}


@pytest.mark.parametrize(("annotation", "make"), SETS.values(), ids=SETS)
@pytest.mark.parametrize("kind", ["argument", "rest", "named rest"])
def test_sets_have_no_order(
    annotation: Any, make: Callable[[frozenset[int]], object], kind: str
) -> None:
    """Equal sets have one key, in whichever order this process keeps their members."""
    assert list(FORTH) != list(BACK)

    def argument(tags: Any) -> None: ...

    def rest(*tags: Any) -> None: ...

    def named_rest(**tags: Any) -> None: ...

    function: Any = {"argument": argument, "rest": rest, "named rest": named_rest}[kind]
    function.__annotations__["tags"] = annotation
    keys = [
        call(function, Unique(), tags=value)
        if kind == "named rest"
        else call(function, Unique(), value)
        for value in (make(FORTH), make(BACK), make(frozenset([0, 9])))
    ]
    assert keys[0] == keys[1] != keys[2]


NO_TIME: Any = None


def odd(url: str, at: datetime = NO_TIME, *, session: object = object()) -> None:
    """Have defaults that cannot be sent."""


def test_defaults_that_cannot_be_sent() -> None:
    """A default is not sent, so a call without the argument has a key all the same."""
    assert call(odd, Unique(), "u") == call(odd, Unique(), url="u")
    assert call(odd, Unique(), "u", NOON) != call(odd, Unique(), "u")
    assert call(odd, Unique(key="url"), "u", NOON) == call(odd, Unique(key="url"), "u")


def test_other_arguments_are_not_written() -> None:
    """An argument that is not part of the key costs nothing, and cannot break it."""
    rule = Unique(key="at")
    assert call(rich, rule, NOON, Point(x=1)) == call(rich, rule, NOON, object())


@given(st.text(max_size=20), st.integers(-(2**63), 2**64 - 1))
def test_any_value(url: str, depth: int) -> None:
    """A digest is short, and the same each time."""
    found = call(plain, Unique(), url, depth)
    assert found == call(plain, Unique(), depth=depth, url=url)
    assert len(found) == 32


def test_task_known_by_name() -> None:
    """Without the code, arguments by position have their places as names."""
    rule = Unique(key="url")
    assert digest_of(rule, "t", None, (), {"url": "u"}) == call(plain, rule, "u")
    every = {"tags": None, "depth": 1, "url": "u"}
    assert digest_of(Unique(), "t", None, (), every) == call(plain, Unique(), "u")
    assert digest_of(Unique(), "t", None, ("u",), {}) != call(plain, Unique(), "u")
    assert digest_of(Unique(key="0"), "t", None, ("u", 5), {}) == digest_of(
        Unique(key="0"), "t", None, ("u", 6), {}
    )
    with pytest.raises(UsageError, match="'url', which this call does not have: give it by name"):
        digest_of(rule, "t", None, ("u",), {})


def raising(url: str) -> object:
    """Raise."""
    raise KeyError(url)


def returning(value: object) -> Callable[[str], object]:
    """Return a key function that returns a value."""

    def key(url: str) -> object:
        return value

    return key


@pytest.mark.parametrize(
    ("rule", "error", "message"),
    [
        (Unique(key=raising), UsageError, "task 't': its key function raised KeyError: 'u'"),
        (Unique(key=returning(1j)), PayloadError, "task 't': its key is not plain JSON: .*complex"),
        (Unique(key=returning(float("nan"))), PayloadError, "its key is not plain JSON: .*NaN"),
        (Unique(key=returning({1: 2})), PayloadError, "its key is not plain JSON"),
        (Unique(key=returning(object())), PayloadError, "its key is not plain JSON"),
    ],
)
def test_broken_key(rule: Unique, error: type[Exception], message: str) -> None:
    """A key that cannot be made is an error of the call, which names the task."""
    with pytest.raises(error, match=message):
        call(plain, rule, "u")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "uri",
            "made from argument 'uri', which the task does not take; it takes: url, depth, tags",
        ),
        (("url", "uri"), "made from argument 'uri'"),
        (lambda uri: uri, "made from argument 'uri'"),
        (lambda *args: args, "must name each argument"),
        (lambda url, **named: (url, named), "must name each argument"),
        (lambda url, /: url, "must name each argument"),
        (print, "must name each argument"),
        (type, "cannot be found|must name each"),
    ],
)
def test_argument_that_does_not_exist(key: Any, message: str) -> None:
    """A key of arguments that the task does not have is refused before any call."""
    with pytest.raises(UsageError, match=message):
        check_rule(Unique(key=key), "t", TaskSignature("t", plain, Context))


async def later(url: str) -> str:
    """Return a key too late."""
    return url


def several(url: str) -> Iterator[str]:
    """Yield keys."""
    yield url


@pytest.mark.parametrize("key", [later, several], ids=["async", "generator"])
def test_function_that_does_not_return_its_key(key: Any) -> None:
    """It is refused before any call, and not each call."""
    with pytest.raises(UsageError, match=r"its key function .* must return the key at"):
        check_rule(Unique(key=key), "t", TaskSignature("t", plain, Context))


def test_parameter_of_the_worker() -> None:
    """A parameter that callers leave out is not part of a key."""
    with pytest.raises(UsageError, match="'ctx', which the task does not take; it takes: url"):
        check_rule(Unique(key="ctx"), "t", TaskSignature("t", with_context, Context))


@pytest.mark.parametrize("key", ["", (), [], ("url", ""), ("url", 1), 5, {"url"}, b"url"])
def test_invalid_key(key: Any) -> None:
    """It is neither names nor a function."""
    with pytest.raises(UsageError, match=r"key=.* is invalid: give the name of an argument"):
        Unique(key=key)
    with pytest.raises(UsageError, match=r"key=.* is invalid: give the name of an argument"):
        KeepLatest(key)


@pytest.mark.parametrize("on_conflict", ["", "Return", None, 5])
def test_invalid_conflict(on_conflict: Any) -> None:
    """It is none of the words."""
    with pytest.raises(UsageError, match=r"Unique\(on_conflict=.*\) is unknown: use 'return', "):
        Unique(on_conflict=on_conflict)


@pytest.mark.parametrize("until", ["", "ended", None, 0, "0s", -1, float("nan"), "10 years"])
def test_invalid_time(until: Any) -> None:
    """It is none of the words, and not a time that is longer than 0."""
    with pytest.raises(
        UsageError, match=r"^Unique\(until\)=.*or use until='done' or until='started'"
    ):
        Unique(until=until)
    with pytest.raises(UsageError, match=r"^Throttle\(window\)="):
        Throttle(until)
    with pytest.raises(UsageError, match=r"^Debounce\(wait\)="):
        Debounce(until)
    if until is not None:
        with pytest.raises(UsageError, match=r"^Debounce\(max_wait\)="):
            Debounce(1, max_wait=until)


def test_longest_wait_is_longer() -> None:
    """A longest wait that is shorter than each wait is a mistake."""
    with pytest.raises(UsageError, match=r"Debounce\(max_wait='1s'\) is shorter than wait='5s'"):
        Debounce("5s", max_wait="1s")


@pytest.mark.parametrize(
    ("time", "ms"),
    [("10m", 600_000), (0.0001, 1), (timedelta(seconds=2), 2000), (1e10, 3 * 10**12)],
)
def test_window(time: Any, ms: int) -> None:
    """It is in milliseconds, and at least one."""
    assert Unique(until=time).window_ms == Throttle(time).window_ms == ms
    assert wire(Unique(until=time, on_conflict="raise"), 5) == f"window raise 5 {ms} 0"
    assert wire(Throttle(time), 5) == f"window return 5 {ms} 0"


def test_wire() -> None:
    """Rules without a window have 0."""
    assert wire(Debounce("5s", max_wait=60), 7) == "moved return 7 5000 60000"
    assert wire(Debounce(1), 7) == "moved return 7 1000 0"
    assert wire(KeepLatest(), 7) == "latest return 7 0 0"
    assert wire(Unique(), 5) == "done return 5 0 0"
    assert wire(Unique(until="started", on_conflict="drop"), 0) == "started drop 0 0 0"


def test_one_rule() -> None:
    """A rule that is given replaces that of another option; None takes only its own away."""
    unique, throttle = Unique(), Throttle(1)
    assert ruled(unique, {}) is unique
    assert ruled(unique, {"throttle": throttle}) is throttle
    assert ruled(throttle, {"unique": unique}) is unique
    assert ruled(throttle, {"unique": None}) is throttle
    assert ruled(throttle, {"throttle": None}) is None
    assert ruled(None, {"throttle": None, "unique": unique}) is unique
    with pytest.raises(UsageError, match="unique= and throttle= exclude each other"):
        ruled(None, {"unique": unique, "throttle": throttle})
    for option, wrong in (("unique", throttle), ("throttle", unique), ("throttle", "10s")):
        with pytest.raises(UsageError, match=f"{option} takes a rule, got .*: use {option}="):
            ruled(None, {option: wrong})


@pytest.mark.parametrize("held", [None, 7, "", "k", "window:k", ["done:k"]])
def test_unknown_form_in_envelope(held: object) -> None:
    """A form that only a newer release knows is ignored."""
    assert key_in({"key": held}) is None


def test_in_envelope() -> None:
    """The digest is in the envelope, for the worker, unless the key has a window."""
    envelope = b'{"task":"t"}'
    assert with_key(envelope, Unique(), "7d") == b'{"task":"t","key":"done:7d"}'
    started = with_key(envelope, Unique(until="started"), "7d")
    assert started == b'{"task":"t","key":"started:7d"}'
    assert with_key(envelope, Throttle(1), "7d") == envelope
    assert with_key(envelope, Debounce(1), "7d") == b'{"task":"t","key":"done:7d"}'
    assert with_key(envelope, KeepLatest(), "7d") == b'{"task":"t","key":"done:7d"}'
    assert key_in({"key": "done:7d"}) == HeldKey("7d", is_freed_at_start=False)
    assert key_in({"key": "started:7d"}) == HeldKey("7d", is_freed_at_start=True)
