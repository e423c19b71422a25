"""What a schedule says, and what is decided about its ticks."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq.errors import UsageError
from aiostreamq.model.envelope import decode_envelope
from aiostreamq.model.schedules.catch_up import CHAIN, GRACE_MS, Step, steps
from aiostreamq.model.schedules.definition import (
    MOST_RUNS,
    Definition,
    Rules,
    ScheduleRules,
    job_id,
    timing_of,
)
from aiostreamq.model.schedules.timing import Cron, Every

SECOND = 1000
HOUR = 3600 * SECOND


def every_second(**words: object) -> Definition:
    """A schedule of one tick a second."""
    rules = Rules.of(ScheduleRules(**words))  # pyright: ignore[reportArgumentType] - tests give any word
    return Definition("t", Every(SECOND), rules, '{"task":"t"}', "default", "0")


def run(definition: Definition, planned: int, now: int) -> tuple[list[int], int | None]:
    """Decide until nothing is due; returns what is fired, and the tick that is planned then."""
    fired: list[int] = []
    at: int | None = planned
    while at is not None and at <= now:
        decided = steps(definition, at, now)
        assert decided
        assert [one.following for one in decided[:-1]] == [one.planned for one in decided[1:]]
        fired += [one.planned for one in decided if one.is_fired]
        at = decided[-1].following
    return fired, at


def test_tick_on_time() -> None:
    """One is fired, and the next is planned."""
    assert steps(every_second(), 5000, 5003) == [Step(5000, 6000, is_fired=True)]


@pytest.mark.parametrize(("catch_up", "window"), [("none", None), ("latest", None), ("all", "1h")])
def test_what_is_late_is_not_missed(catch_up: str, window: str | None) -> None:
    """Whatever the policy, a restart of the workers costs no tick."""
    definition = every_second(catch_up=catch_up, window=window)
    assert run(definition, 0, GRACE_MS) == ([n * SECOND for n in range(11)], 11 * SECOND)


def test_none_is_made_up_for() -> None:
    """After an outage it goes on with what is to come."""
    assert run(every_second(catch_up="none"), 0, HOUR) == ([], HOUR + SECOND)


def test_the_latest_is_made_up_for() -> None:
    """After an outage the last tick of it is fired, and no other."""
    assert run(every_second(), 0, HOUR + 5) == ([HOUR], HOUR + SECOND)


def test_the_latest_within_a_window() -> None:
    """What was missed too long ago is not made up for."""
    daily = Definition("t", Every(24 * HOUR), Rules.of({"window": "1h"}), "{}", "default", "0")
    assert run(daily, 0, HOUR) == ([0], 24 * HOUR)
    assert run(daily, 0, HOUR + 1) == ([], 24 * HOUR)


def test_all_within_a_window() -> None:
    """Each missed tick of the window is fired, and none twice."""
    fired, following = run(every_second(catch_up="all", window="5m"), 0, HOUR)
    assert fired == list(range(HOUR - 300 * SECOND, HOUR + 1, SECOND))
    assert following == HOUR + SECOND


def test_one_step_is_bounded() -> None:
    """However much was missed, one step decides about a part of it."""
    definition = every_second(catch_up="all", window="24h")
    assert len(steps(definition, 0, HOUR)) == CHAIN


def test_end_and_start_bound_it() -> None:
    """No tick is before the one or after the other; naive times are in UTC."""
    definition = every_second(
        start=datetime(1970, 1, 1, 1),  # noqa: DTZ001 - naive on purpose
        end=datetime(1970, 1, 1, 1, 0, 2, tzinfo=UTC),
    )
    assert list(definition.upcoming(0, 9)) == [HOUR, HOUR + SECOND, HOUR + 2 * SECOND]
    assert run(definition, HOUR, 2 * HOUR) == ([HOUR + 2 * SECOND], None)


@given(
    st.sampled_from([("none", None), ("latest", None), ("latest", 60), ("all", 60), ("all", 7200)]),
    st.integers(0, 2 * HOUR),
    st.sampled_from([Every(700), Cron("*/7 * * * * *"), Cron("*/3 * * * *", "Europe/Madrid")]),
)
def test_outage_of_any_length(policy: tuple[str, int | None], late: int, timing: Cron) -> None:
    """Ticks come in order, none twice, none of the future, and it always continues."""
    catch_up, window = policy
    rules = Rules.of(ScheduleRules(catch_up=catch_up, window=window))  # pyright: ignore[reportArgumentType] - as above
    definition = Definition("t", timing, rules, "{}", "default", "0")
    planned = definition.next_after(1_774_742_400_000)
    assert planned is not None
    now = planned + late
    fired, following = run(definition, planned, now)
    assert all(before < after for before, after in pairwise(fired))
    assert all(planned <= at <= now for at in fired)
    assert following == definition.next_after(now)
    if late <= GRACE_MS or (catch_up == "all" and window == 7200):
        assert fired[0] == planned
    elif catch_up != "none" and fired:
        assert definition.next_after(fired[-1]) == following


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"overlap": "maybe"}, "overlap='maybe'"),
        ({"catch_up": "some"}, "catch_up='some'"),
        ({"catch_up": "all"}, "needs a window"),
        ({"catch_up": "none", "window": 5}, "catch_up='none' never does"),
        ({"max_runs": 0}, "would never run"),
        ({"max_runs": "3"}, "max_runs must be an integer, got '3'"),
        ({"start": "2026-01-01"}, "start='2026-01-01' is not a datetime"),
        ({"overlp": "skip"}, "unknown rule 'overlp': use one of overlap, catch_up"),
        ({"jitter": "long"}, "jitter='long'"),
        ({"start": datetime(2026, 2, 1, tzinfo=UTC), "end": datetime(2026, 1, 1, tzinfo=UTC)},
         "end is before start"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_meant(words: ScheduleRules, complaint: str) -> None:
    """A mistake is told where it is made."""
    with pytest.raises(UsageError, match=complaint):
        Rules.of(words)


def test_cron_or_interval() -> None:
    """A schedule has one of them, and a zone only with the one."""
    with pytest.raises(UsageError, match="one of them"):
        timing_of(None, None, None, None)
    with pytest.raises(UsageError, match="one of them"):
        timing_of("@daily", 5, None, None)
    with pytest.raises(UsageError, match="has no time zone"):
        timing_of(None, 5, "Europe/Madrid", None)
    assert timing_of(None, "2s", None, 500) == Every(2000, 500)


@pytest.mark.parametrize("timing", [Every(5000, 7), Cron("0 9 * * mon", "Europe/Madrid")])
def test_definition_travels(timing: Cron) -> None:
    """What is kept in Redis is read as it was written; what is not known is ignored."""
    rules = Rules("skip", "all", 5, 6, 7, 8, 9)
    definition = Definition("t", timing, rules, '{"task":"t"}', "high", "2", 30, 40)
    written = definition.encode()
    assert Definition.decode(written) == definition
    assert Definition.decode(orjson.dumps({**orjson.loads(written), "new": 1})) == definition


def test_definition_of_a_release_before() -> None:
    """What was kept without a deadline, or with a fixed one in its job, means what it did."""
    told = {
        "v": 1, "task": "t", "every": 5000, "anchor": 0, "overlap": "allow", "catch_up": "latest",
        "jitter": 0, "lane": "default", "mark": "0", "expires": 30,
        "job": '{"task":"t","deadline":9000}',
    }  # fmt: skip
    definition = Definition.decode(orjson.dumps(told))
    assert (definition.expires, definition.deadline) == (30, None)
    assert decode_envelope(definition.envelope_for(5000, 5100)).deadline == 9000
    assert Definition.decode(definition.encode()) == definition


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"v":2}', b'{"v":1,"task":"t"}'])
def test_definition_that_is_none(raw: bytes) -> None:
    """What cannot be read is told so, and fires nothing."""
    with pytest.raises(ValueError, match=r"not a valid definition|unknown version"):
        Definition.decode(raw)


@pytest.mark.parametrize(
    "wrong",
    [
        {"every": 0}, {"every": 99}, {"every": "5"}, {"every": True}, {"every": None},
        {"anchor": 0.5}, {"cron": 5, "tz": "UTC"}, {"cron": "@daily", "tz": 5}, {"task": 5},
        {"job": 5}, {"lane": 5}, {"mark": 7}, {"overlap": "no"}, {"overlap": []},
        {"catch_up": "no"}, {"window": "x"}, {"window": -1}, {"jitter": "1"}, {"jitter": -1},
        {"start": "x"}, {"end": "x"}, {"max_runs": "x"}, {"max_runs": 0}, {"expires": "x"},
        {"deadline": "x"}, {"deadline": -1},
    ],
    ids=str,
)  # fmt: skip
def test_definition_that_could_not_be_used(wrong: dict[str, object]) -> None:
    """What would fail when its tick is due is refused when it is read."""
    definition = Definition("t", Every(5000), Rules(), '{"task":"t"}', "default", "0")
    told: dict[str, object] = orjson.loads(definition.encode())
    with pytest.raises(ValueError, match="not a valid definition"):
        Definition.decode(orjson.dumps({**told, **wrong}))


def test_job_of_a_tick() -> None:
    """It carries the tick, and its limits are reckoned from the time it is enqueued at."""
    definition = Definition("t", Every(5000), Rules(), '{"task":"t"}', "default", "0", 30, 40)
    told = orjson.loads(definition.envelope_for(5000, 5100))
    assert told == {"task": "t", "scheduled_for": 5000, "expires": 5130, "deadline": 5140}
    assert job_id("a", 5000) == "a@1970-01-01T00:00:05Z"


def test_jitter_is_the_same_in_every_process() -> None:
    """It spreads the ticks over its length, and asks no dice."""
    definition = every_second(jitter="10s")
    delays = [definition.delay("a", n * SECOND) for n in range(1000)]
    assert delays == [definition.delay("a", n * SECOND) for n in range(1000)]
    assert 0 <= min(delays) < 500
    assert 9_500 < max(delays) <= 10_000


def test_schedule_that_ends_before_it_starts_is_refused() -> None:
    """It would never run."""
    start, end = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(UsageError, match="end is before start"):
        every_second(start=start, end=end)


@pytest.mark.parametrize("year", [1, 9999])
def test_time_that_not_all_time_zones_can_represent_is_refused(year: int) -> None:
    """A worker in another time zone could not read it."""
    with pytest.raises(UsageError, match="is out of range"):
        every_second(start=datetime(year, 1, 1, tzinfo=UTC))


def test_runs_are_used_up() -> None:
    """A schedule without a limit never has all its runs."""
    assert not every_second().rules.are_used_up(10**9)
    assert not every_second(max_runs=2).rules.are_used_up(1)
    assert every_second(max_runs=2).rules.are_used_up(2)


def test_next_ticks_are_as_many_as_asked_for() -> None:
    """They are fewer if the schedule ends before."""
    assert [*every_second().upcoming(0, 2)] == [1000, 2000]
    end = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert [*every_second(end=end).upcoming(0, 2)] == [1000]


def test_job_of_a_tick_may_have_no_limit() -> None:
    """Its envelope has the time of the tick and nothing else, and no jitter delays it."""
    definition = every_second()
    assert definition.delay("s", 5000) == 0
    assert orjson.loads(definition.envelope_for(5000, 6000)) == {"task": "t", "scheduled_for": 5000}


def test_expression_that_is_not_text_is_refused() -> None:
    """The error shows how to write one."""
    with pytest.raises(UsageError, match="is not a cron expression"):
        timing_of(5, None, None, None)  # pyright: ignore[reportArgumentType]


def test_cron_expression_is_kept_with_single_spaces() -> None:
    """Two ways to write one expression are one definition."""
    assert timing_of(" 0  9 * * mon", None, None, None) == Cron("0 9 * * mon", "UTC")


def test_limit_of_runs_that_no_schedule_reaches_is_refused() -> None:
    """Lua would lose precision beyond it."""
    with pytest.raises(UsageError, match="is too large: leave it out"):
        every_second(max_runs=MOST_RUNS + 1)
