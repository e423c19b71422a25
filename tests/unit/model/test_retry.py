"""When a job that failed runs again: arithmetic, and what is done about an exception."""

import asyncio
import copy
import dataclasses
import json
import pickle
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, cast
from zoneinfo import ZoneInfo

import aiohttp
import orjson
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq import Drop, JobCancelled, RateLimited, Retry, RetryLater, UsageError
from aiostreamq.model.duration import due_of, expiry_of
from aiostreamq.model.exception_names import kinds_of
from aiostreamq.model.outcome import Failure, RemoteException
from aiostreamq.model.retry import checked_retries, retries_to_wire
from aiostreamq.model.time import After, At
from aiostreamq.model.verdict import EndDead, EndDropped, EndFailed, GiveUp, RunAgain, judge

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW_MS = NOON.timestamp() * 1000
MADRID = ZoneInfo("Europe/Madrid")


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
    ("rule", "error", "covered"),
    [
        (Retry(3), ValueError(), True),
        (Retry(1), ValueError(), True),
        (Retry(3, on=(OSError,)), Flood(), True),
        (Retry(3, on=(OSError,)), ValueError(), False),
        (Retry(3, not_on=(OSError,)), Flood(), False),
        (Retry(3, on=("OSError",)), Flood(), True),
        (Retry(3), asyncio.CancelledError(), False),
        (Retry(3), SystemExit(), False),
    ],
)
def test_which_errors_are_covered(rule: Retry, error: BaseException, covered: bool) -> None:
    """A rule looks at the class and its parents; also by name."""
    assert rule.covers(error) is covered
    assert Retry.from_wire(orjson.loads(orjson.dumps(rule.to_wire()))).covers(error) is covered


class Hostile(type):
    """A metaclass that lets nothing be asked."""

    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(name)

    def __hash__(cls) -> int:
        raise RuntimeError("hash")

    def __eq__(cls, other: object) -> bool:
        raise RuntimeError("eq")


class Silent(OSError, metaclass=Hostile):
    """An error of it, which claims to be of no class."""

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # it is hostile
        raise RuntimeError("class")


class Nowhere(OSError):
    """An error whose module is no name."""

    __module__: Any = 5


class Outer:
    """What has an error inside."""

    class Inner(ValueError):
        """An error in a class."""


def group(*errors: BaseException) -> BaseException:
    """Return errors as a task group raises them."""
    return BaseExceptionGroup("several", errors)


def nested(depth: int) -> BaseException:
    """Return a group that is twice in a group that is twice in a group and so on."""
    inner = group(TimeoutError(), Flood())
    for _ in range(depth):
        inner = group(inner, inner)
    return inner


def named(*on: str, not_on: tuple[str, ...] = ()) -> Retry:
    """Return a rule that has names only."""
    return Retry(3, on=on, not_on=not_on)


NO_JSON = json.JSONDecodeError("no", "{", 0)

COVERED: list[tuple[Retry, BaseException, bool]] = [
    *(
        (named(name), NO_JSON, True)
        for name in ("json.JSONDecodeError", "json.decoder.JSONDecodeError")
    ),
    *((named(name), NO_JSON, True) for name in ("ValueError", "builtins.ValueError", "Exception")),
    (named("json.NoSuchError", "no_such_module.Error", "json.decoder.Error.x"), NO_JSON, False),
    *((named(name), TimeoutError(), True) for name in ("asyncio.TimeoutError", "socket.timeout")),
    *((named(name), OSError(), True) for name in ("IOError", "EnvironmentError", "socket.error")),
    (named("concurrent.futures.TimeoutError"), TimeoutError(), True),
    (named("redis.ConnectionError"), redis.ConnectionError(), True),
    (named("redis.RedisError"), redis.ConnectionError(), True),
    (named("redis.exceptions.RedisError"), redis.ConnectionError(), True),
    (named("redis.ConnectionError"), ConnectionError(), False),
    (named("aiohttp.ClientError"), aiohttp.ServerDisconnectedError(), True),
    (named("aiostreamq.JobError"), JobCancelled("1"), True),
    (named(f"{__name__}.Outer.Inner"), Outer.Inner(), True),
    (named(f"{__name__}.NO_JSON.x"), Outer.Inner(), False),
    (named("Exception", not_on=("json.JSONDecodeError",)), NO_JSON, False),
    # Whatever a class does when it is asked.
    (named("OSError"), Silent(), True),
    (named("ValueError"), Silent(), False),
    (named("OSError"), Nowhere(), True),
    # A group is covered if it is, or if all in it are.
    (named("OSError"), group(OSError(), Flood()), True),
    (named("OSError"), group(OSError(), ValueError()), False),
    (named("OSError"), group(group(Silent()), group(TimeoutError())), True),
    (named("OSError"), group(group(Silent()), group(KeyError())), False),
    (named("OSError", "ValueError"), group(OSError(), ValueError()), True),
    (named("ExceptionGroup"), group(OSError(), ValueError()), True),
    (named("Exception"), group(OSError(), ValueError()), True),
    (named("Exception"), group(OSError(), KeyboardInterrupt()), False),
    (named("Exception", not_on=("ValueError",)), group(OSError(), group(ValueError())), False),
    (named("Exception", not_on=("ExceptionGroup",)), group(OSError()), False),
    (named("OSError"), nested(100), True),
]


@pytest.mark.parametrize(("rule", "error", "covered"), COVERED, ids=range(len(COVERED)))
def test_errors_by_name(rule: Retry, error: BaseException, covered: bool) -> None:
    """A name is that of a class in any module that has it; groups are looked into.

    After the wire it is the same, and of an exception that stayed in another process too.
    """
    assert rule.covers(error) is covered
    travelled = Retry.from_wire(orjson.loads(orjson.dumps(rule.to_wire())))
    assert travelled.covers(error) is covered
    there = RemoteException(kinds_of(error, exported=True), Failure("", "", ""))
    assert travelled.covers(there) is covered


def test_error_of_a_module_that_is_not_loaded_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process raised is known there by the names that its packages give it."""
    error = aiohttp.ServerDisconnectedError()
    there = RemoteException(kinds_of(error, exported=True), Failure("", "", ""))
    for name in [one for one in sys.modules if one.partition(".")[0] == "aiohttp"]:
        monkeypatch.delitem(sys.modules, name)
    assert named("aiohttp.ClientError").covers(there)
    assert not named("aiohttp.WSServerHandshakeError").covers(there)


def test_module_that_fetches_what_it_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked, and may fail to give it."""

    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> object:
            if name == "Flood":
                return Flood
            raise ImportError(name)

    monkeypatch.setitem(sys.modules, "lazy_here", Lazy("lazy_here"))
    monkeypatch.setitem(sys.modules, "none_here", cast("ModuleType", None))
    assert named("lazy_here.Flood").covers(Flood())
    assert not named("lazy_here.Drought", "none_here.Flood").covers(Flood())


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "ClientError", "aiohttp.ClientError ", "aiohttp:ClientError", "aiohttp..Error"),
        *(".ClientError", "ClientError()", "OSError, ValueError", "OSError|KeyError", "a.b-c.E"),
        *("int", "print", "builtins.print", "json.loads", "json", "json.decoder", "os.path"),
    ],
)
@pytest.mark.parametrize("word", ["on", "not_on"])
def test_name_of_no_exception(word: str, name: str) -> None:
    """It is refused where it is written. One that came with a job covers nothing."""
    options: Any = {word: (name,)}
    with pytest.raises(UsageError, match=rf"^Retry\({word}="):
        Retry(3, **options)
    travelled = Retry.from_wire({**Retry(3).to_wire(), word: [name, "OSError"]})
    assert travelled.covers(OSError()) is (word == "on")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"max_retries": 3}, "write attempts=5, which counts the first run too"),
        ({"retries": 3}, "write attempts=5"),
        ({"delay": 3}, "write base='10s', or backoff="),
        ({"max_delay": 3}, "write cap='5m'"),
        ({"exceptions": (OSError,)}, r"write on=\(OSError,\)"),
        ({"attemps": 3}, r"write attempts=\.\.\."),
        ({"colour": 3}, "no option 'colour'"),
    ],
)
def test_unknown_option(options: dict[str, Any], told: str) -> None:
    """All options are named, and what the one is called here."""
    with pytest.raises(UsageError, match=told) as caught:
        Retry(**options)
    for field in dataclasses.fields(Retry):
        assert field.name in str(caught.value)


def test_rule_is_copied() -> None:
    """As other values are."""
    rule = Retry(5, on=("aiohttp.ClientError",), backoff=[1, "5s"])
    assert (
        copy.deepcopy(rule) == pickle.loads(pickle.dumps(rule)) == dataclasses.replace(rule) == rule
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
    ("error", "said", "attempt", "verdict"),
    [
        (ValueError(), None, 1, EndFailed()),
        (ValueError(), Retry(3, jitter=False), 1, RunAgain(1.0)),
        (ValueError(), Retry(3, jitter=False), 2, RunAgain(2.0)),
        (ValueError(), Retry(3, jitter=False), 3, EndFailed()),
        (ValueError(), Retry(1), 1, EndFailed()),
        (ValueError(), Retry(3, on=(OSError,)), 1, EndFailed()),
        (RetryLater("10s"), None, 99, RunAgain(10.0)),
        (RetryLater(10), Retry(2), 1, RunAgain(10.0)),
        (RetryLater(10), Retry(2), 2, EndFailed()),
        (RetryLater(10), Retry(2, on=(OSError,)), 1, RunAgain(10.0)),
        (RetryLater(NOON + timedelta(seconds=10)), None, 99, RunAgain(10.0)),
        (RetryLater((NOON + timedelta(seconds=10)).astimezone(MADRID)), None, 1, RunAgain(10.0)),
        (RetryLater(NOON), None, 1, RunAgain(0.0)),
        (RetryLater(NOON - timedelta(days=1)), None, 1, RunAgain(0.0)),
        (RetryLater(NOON), Retry(2), 2, EndFailed()),
        (Drop("late"), Retry(2), 1, EndDropped("late")),
        (Drop("late"), Retry(2), 2, EndDropped("late")),
        (GiveUp("no task"), Retry(2), 1, EndDead("no task")),
    ],
)
def test_verdicts(error: BaseException, said: Retry | None, attempt: int, verdict: object) -> None:
    """What a task raises to steer comes before its rule; without either it fails."""
    assert judge(error, checked_retries(said), attempt, 0.5, NOW_MS) == verdict


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (datetime(2026, 1, 1), r"^after=.* has no time zone: write datetime.now\(UTC\)"),  # noqa: DTZ001  # that is the point
        (-1, r"^after=-1 is not a duration"),
        ("noon", r"^after='noon' is not a duration"),
        (None, r"^after=None is not a duration"),
    ],
)
def test_what_is_not_later(after: Any, why: str) -> None:
    """It is refused where it is raised, with the fix."""
    with pytest.raises(UsageError, match=why):
        RetryLater(after)


def test_later_says_when() -> None:
    """The message is what whoever awaits is told, once no attempt is left."""
    assert str(RetryLater()) == "again after 0 s"
    assert str(RetryLater("1.5s")) == "again after 1.5 s"
    assert str(RetryLater(NOON)) == "again at 2026-01-01T12:00:00+00:00"


@pytest.mark.parametrize(
    ("limit", "after", "why"),
    [
        ("", 1, r"^RateLimited\(''\) is invalid: give the name of a limit"),
        (7, 1, r"^RateLimited\(7\) is invalid"),
        ("api", -1, r"^after=-1 is not a duration"),
        ("api", float("nan"), r"^after=nan is not a duration"),
        ("api", "soon", r"^after='soon' is not a duration"),
        ("api", "25h", r"^after='25h' is too long for a limit to be quiet: give a day at most"),
    ],
)
def test_what_quiets_no_limit(limit: Any, after: Any, why: str) -> None:
    """It is refused where it is raised."""
    with pytest.raises(UsageError, match=why):
        RateLimited(limit, after)


def test_rate_limited() -> None:
    """It takes what a Duration may be, and says what is to happen."""
    for after in (90, "90s", "1.5m", timedelta(seconds=90)):
        assert RateLimited("api", after).after == 90
    assert RateLimited("api", "1d").after == 86400
    assert str(RateLimited("api", after="250ms")) == "limit 'api' is quiet for 0.25 s"


#: Five attempts for floods with pauses of 10 s and more, two for other errors with those of 1 s.
FLOODS_FIRST = (
    Retry(5, on=(Flood,), base=10, jitter=False),
    Retry(2, not_on=(KeyError,), jitter=False),
)


@pytest.mark.parametrize(
    ("error", "attempt", "verdict"),
    [
        (Flood(), 1, RunAgain(10.0)),
        (Flood(), 4, RunAgain(80.0)),
        (Flood(), 5, EndFailed()),
        (ValueError(), 1, RunAgain(1.0)),
        (ValueError(), 2, EndFailed()),  # though floods have attempts left
        (ValueError(), 4, EndFailed()),
        (KeyError(), 1, EndFailed()),  # no rule is for it
        (RetryLater(3), 4, RunAgain(3.0)),  # as the rule that allows most
        (RetryLater(3), 5, EndFailed()),
    ],
)
def test_first_rule_that_covers_decides(
    error: BaseException, attempt: int, verdict: object
) -> None:
    """It alone, by the attempts of the job; what no rule covers fails. Also after the wire."""
    rules = checked_retries(FLOODS_FIRST)
    assert judge(error, rules, attempt, 0.5, NOW_MS) == verdict
    written = cast("list[dict[str, object]]", orjson.loads(orjson.dumps(retries_to_wire(rules))))
    travelled = tuple(map(Retry.from_wire, written))
    assert judge(error, travelled, attempt, 0.5, NOW_MS) == verdict


def test_earlier_rule_decides_with_fewer_attempts() -> None:
    """A later one is no second chance."""
    rules = checked_retries((Retry(1, on=(Flood,)), Retry(5)))
    assert judge(Flood(), rules, 1, 0.5, NOW_MS) == EndFailed()
    assert judge(OSError(), rules, 1, 0.5, NOW_MS) == RunAgain(0.5)


@pytest.mark.parametrize(
    "rules",
    [
        (Retry(5, on=(TimeoutError,)), Retry(2)),
        (Retry(5, on=(Flood,)), Retry(2, on=(OSError,)), Retry(1, on=(BaseException,))),
        (Retry(5, on=(Flood, KeyError)), Retry(2, on=(OSError, KeyError))),
        (Retry(5, not_on=(OSError,)), Retry(2)),
        (Retry(5, not_on=(OSError,)), Retry(2, on=(OSError,))),
        (Retry(5, not_on=(OSError,)), Retry(2, on=(KeyError,))),  # an error may be both
        (Retry(5, not_on=(OSError,)), Retry(2, not_on=(Flood,))),
        (Retry(5), Retry(2, on=("asyncio.exceptions.CancelledError",))),  # no Exception
        [Retry(5, on=(TimeoutError,)), Retry(2)],
        # A group with one of both is for the last only.
        (Retry(5, on=(OSError,)), Retry(4, on=(KeyError,)), Retry(2, on=(Flood, KeyError))),
        (Retry(5),),
    ],
)
def test_rules_in_their_order(rules: Sequence[Retry]) -> None:
    """Each may decide about something."""
    assert checked_retries(rules) == tuple(rules)


@pytest.mark.parametrize(
    "rules",
    [
        (Retry(5), Retry(2)),
        (Retry(5), Retry(2, on=(TimeoutError,))),
        (Retry(2), Retry(5, on=("Exception",))),
        (Retry(5, on=(OSError,)), Retry(2, on=(Flood,))),
        (Retry(5, on=(OSError, KeyError)), Retry(4), Retry(2, on=(Flood, KeyError))),
        (Retry(5), Retry(2, on=("OSError",))),
        (Retry(5, on=(OSError,)), Retry(2, on=("IOError",))),
        (Retry(5, on=("a.B",)), Retry(2, on=("a.B",))),
        (Retry(5, on=(BaseException,)), Retry(2, on=("a.B",))),
        (Retry(5, not_on=(Flood,)), Retry(2, not_on=(OSError,))),
        (Retry(5, not_on=(OSError,)), Retry(2, on=(KeyError,), not_on=(OSError, ValueError))),
    ],
)
def test_rule_that_is_never_reached(rules: Sequence[Retry]) -> None:
    """It is refused, as the order is not what was meant."""
    with pytest.raises(UsageError, match=rf"^retry: rule {len(rules)}, .* can never decide"):
        checked_retries(rules)


class FloodedKey(Flood, KeyError):
    """An exception with parents that have nothing to do with each other."""


KINDS = (BaseException, Exception, OSError, Flood, KeyError, FloodedKey)
SOME_KINDS = st.sets(st.sampled_from(KINDS), max_size=3).map(tuple)


@given(st.lists(st.builds(Retry, on=SOME_KINDS, not_on=SOME_KINDS), min_size=1, max_size=3))
def test_no_rule_that_could_decide_is_refused(rules: list[Retry]) -> None:
    """Whatever the rules: if each covers something that none before it covers, all is well."""
    covering = [[at for at, rule in enumerate(rules) if rule.covers(kind())] for kind in KINDS]
    deciding = {found[0] for found in covering if found}
    decisive = [rule for at, rule in enumerate(rules) if at in deciding]
    if decisive:
        assert checked_retries(decisive) == tuple(decisive)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ((), "holds no rule"),
        ([], "holds no rule"),
        *(
            (said, "is not a retry rule: write")
            for said in (3, "5", {Retry(5)}, (Retry(5), 3), (None,))
        ),
    ],
    ids=str,
)
def test_what_is_no_rule(said: Any, why: str) -> None:
    """It is refused with what to write instead."""
    with pytest.raises(UsageError, match=rf"^retry=.* {why}"):
        checked_retries(said)


def test_rules_on_the_wire() -> None:
    """One is an object, as ever, and so is none; only more are a list."""
    one, other = FLOODS_FIRST
    assert retries_to_wire((one,)) == retries_to_wire(checked_retries([one])) == one.to_wire()
    assert retries_to_wire(()) == Retry(1).to_wire()
    assert retries_to_wire(FLOODS_FIRST) == [one.to_wire(), other.to_wire()]


def test_when_a_job_is_due() -> None:
    """Delays are by Redis's clock, times are as written; a time without zone is refused."""
    assert due_of("1.5s", None) == After(1500)
    assert expiry_of("1.5s") == After(1500)
    assert expiry_of(None) is None
    assert expiry_of(datetime(2026, 1, 1, tzinfo=UTC)) == At(1767225600000)
    with pytest.raises(UsageError, match="never let the job run"):
        expiry_of(0)
    with pytest.raises(UsageError, match=r"expires=.* has no time zone"):
        expiry_of(datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point
    assert due_of(0, None) is None
    assert due_of(None, datetime(2026, 1, 1, tzinfo=UTC)) == At(1767225600000)
    with pytest.raises(UsageError, match="time zone"):
        due_of(None, datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point
    with pytest.raises(UsageError, match="one of them"):
        due_of(1, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("moment", ["10s", 1_767_225_600])
def test_what_is_no_moment(moment: Any) -> None:
    """A length of time where a moment is meant is refused, and so is the reverse."""
    with pytest.raises(UsageError, match=r"^at=.* is not a datetime: .* delay= takes"):
        due_of(None, moment)
    delay: Any = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(UsageError, match=r"^delay=.* is a datetime, .*: use at="):
        due_of(delay, None)
