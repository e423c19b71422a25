"""A schedule: what is enqueued when, and what is done about ticks that overlap or were missed.

A tick is one planned time of a schedule, and the job that is enqueued for it. Moments are
milliseconds since 1970, by Redis's clock; it is always the caller who says what time it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple, TypedDict, cast, get_args
from zlib import crc32

import orjson

from aiostreamq.errors import UsageError
from aiostreamq.model.duration import Duration
from aiostreamq.model.schedules.cron import (
    LAST_YEAR,
    SHORTEST_MS,
    Cron,
    Every,
    Timing,
    Zone,
    interval_of,
    iso,
    last_until,
    length_ms,
    zone_name,
)

#: What is done about a tick while the job of the one before has not ended: it is enqueued
#: all the same, left out, kept until then (one), or enqueued and the old job is cancelled.
Overlap = Literal["allow", "skip", "buffer_one", "cancel_old"]

#: Which ticks are made up for after an outage: none, the last of them, or all.
CatchUp = Literal["none", "latest", "all"]

# A tick that comes so many ms late is late: the workers were restarted, or had much to do. Only
# what is later was missed, and is what `catch_up` decides about.
GRACE_MS = 10_000

# What Lua and all readers of JSON can count.
MOST_RUNS = 2**53

# How many ticks of one schedule are made up for in one step.
CHAIN = 50


class ScheduleRules(TypedDict, total=False):
    """The rules of a schedule, as `queue.cron(...)` and `queue.schedules.create(...)` take them."""

    overlap: Overlap
    catch_up: CatchUp
    window: Duration | None
    jitter: Duration
    start: datetime | None
    end: datetime | None
    max_runs: int | None


@dataclass(frozen=True, slots=True)
class Rules:
    """The settled rules of a schedule."""

    overlap: Overlap = "allow"
    catch_up: CatchUp = "latest"
    window: int | None = None  #: ms; what was missed longer ago is not made up for
    jitter: int = 0  #: ms by which a job may be started later than planned
    start: int | None = None  #: no tick before
    end: int | None = None  #: no tick after
    max_runs: int | None = None  #: how many ticks are enqueued at most

    @classmethod
    def of(cls, words: ScheduleRules) -> "Rules":
        """Settle *words*.

        Raises:
            UsageError: One of them is no rule, or cannot be meant.
        """
        # Callers without a type checker may say anything: an `overlp` must not be let through.
        if unknown := words.keys() - ScheduleRules.__annotations__.keys():
            known = ", ".join(ScheduleRules.__annotations__)
            raise UsageError(f"there is no rule {min(unknown)!r}: use one of {known}")
        window, runs = words.get("window"), words.get("max_runs")
        rules = cls(
            overlap=cast("Overlap", _one_of("overlap", words.get("overlap", "allow"), Overlap)),
            catch_up=cast("CatchUp", _one_of("catch_up", words.get("catch_up", "latest"), CatchUp)),
            window=None if window is None else length_ms("window", window),
            jitter=length_ms("jitter", words.get("jitter", 0)),
            start=_moment("start", words.get("start")),
            end=_moment("end", words.get("end")),
            max_runs=runs,
        )
        if rules.catch_up == "all" and window is None:
            raise UsageError(
                "catch_up='all' needs a window, such as window='1h': after a long outage all "
                "ticks of that time are enqueued at once"
            )
        if rules.catch_up == "none" and window is not None:
            raise UsageError("window says how far back to catch up; catch_up='none' does not")
        if runs is not None and type(runs) is not int:
            raise UsageError(f"max_runs={runs!r} is no whole number")
        if runs is not None and runs < 1:
            raise UsageError(f"max_runs={runs} would never run: leave it out for any number")
        if runs is not None and runs > MOST_RUNS:
            raise UsageError(f"max_runs={runs} is too many to count: leave it out for any number")
        if rules.start is not None and rules.end is not None and rules.end < rules.start:
            raise UsageError("end is before start: the schedule would never run")
        return rules

    def are_used_up(self, runs: int) -> bool:
        """Whether *runs* ticks are as many as there may be."""
        return self.max_runs is not None and runs >= self.max_runs


def _one_of(option: str, word: str, known: object) -> str:
    words = get_args(known)
    if word not in words:
        raise UsageError(f"{option}={word!r} is not known: use one of {', '.join(words)}")
    return word


def _moment(option: str, at: object) -> int | None:
    """*at* in ms since 1970; without a zone it is meant in UTC."""
    if at is None:
        return None
    if not isinstance(at, datetime):
        raise UsageError(f"{option}={at!r} is no moment: use a datetime")
    if not 2 <= at.year <= LAST_YEAR:  # in every time zone it must be one
        raise UsageError(f"{option}={at!r} is out of reach: use a year from 2 to {LAST_YEAR}")
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def timing_of(
    cron: str | None, every: Duration | None, tz: Zone | None, start: int | None
) -> Timing:
    """Return when a schedule is due.

    Raises:
        UsageError: Not exactly one of *cron* and *every* is given, or it cannot be meant.
    """
    if (cron is None) == (every is None):
        raise UsageError("a schedule is either cron='...' or every='...': give one of them")
    if every is not None:
        if tz is not None:
            raise UsageError("every= goes by real time and knows no time zone: leave tz= out")
        return Every(interval_of(every), start or 0)
    if not isinstance(cron, str):
        raise UsageError(
            f"cron={cron!r} is not an expression: write minute, hour, day, month and day of the "
            f"week, as in '0 9 * * mon'"
        )
    return Cron(" ".join(cron.split()), zone_name(tz))


@dataclass(frozen=True, slots=True)
class Definition:
    """All that a schedule says, as it is kept in Redis."""

    task: str
    timing: Timing
    rules: Rules
    #: of its jobs, JSON, with their secrets; what depends on the tick is added for each
    envelope: str = field(repr=False)
    lane: str
    mark: str  #: as the enqueue script takes it
    expires: int | None = None  #: ms from its enqueue in which a job must be started
    deadline: int | None = None  #: the same for its end; a fixed time is in the envelope

    def encode(self) -> bytes:
        """Write it as JSON; the same definition is always the same bytes."""
        timing: dict[str, object]
        if isinstance(self.timing, Cron):
            timing = {"cron": self.timing.expression, "tz": self.timing.zone}
        else:
            timing = {"every": self.timing.interval, "anchor": self.timing.anchor}
        rules = {name: getattr(self.rules, name) for name in Rules.__slots__}
        limits = {"expires": self.expires, "deadline": self.deadline}
        rest = {"lane": self.lane, "mark": self.mark, **limits, "job": self.envelope}
        told = {"v": 1, "task": self.task, **timing, **rules, **rest}
        return orjson.dumps({name: value for name, value in told.items() if value is not None})

    @classmethod
    def decode(cls, raw: bytes) -> "Definition":
        """Read what `encode` has written; fields that are not known are ignored.

        Raises:
            ValueError: It is no definition of a version that is known here.
        """
        try:
            told = orjson.loads(raw)
            if told["v"] != 1:
                raise ValueError(f"of version {told['v']!r}, which is not known here")
            timing: Timing
            if "cron" in told:
                timing = Cron(_text(told, "cron"), _text(told, "tz"))
            else:
                timing = Every(_number(told, "every", SHORTEST_MS), _number(told, "anchor"))
            return cls(
                _text(told, "task"), timing, _rules(told), _text(told, "job"),
                _text(told, "lane"), _text(told, "mark"), _number_or_none(told, "expires", 0),
                _number_or_none(told, "deadline", 0),
            )  # fmt: skip
        except (KeyError, TypeError, AttributeError, UsageError, orjson.JSONDecodeError) as error:
            raise ValueError(f"none that is known here: {error}") from error

    def next_after(self, after: int) -> int | None:
        """Return the first tick later than *after*, or None where there is none."""
        rules = self.rules
        if rules.start is not None:
            after = max(after, rules.start - 1)
        found = self.timing.next_after(after)
        if found is None or (rules.end is not None and found > rules.end):
            return None
        return found

    def upcoming(self, after: int, count: int) -> Iterator[int]:
        """Give the next *count* ticks later than *after*, or fewer where there are no more."""
        for _ in range(count):
            found = self.next_after(after)
            if found is None:
                return
            yield found
            after = found

    def envelope_for(self, scheduled_for: int, now: int) -> bytes:
        """Write the job of one tick, which is enqueued at *now*, or may start then."""
        told = f',"scheduled_for":{scheduled_for}'
        if self.expires is not None:
            told += f',"expires":{now + self.expires}'
        if self.deadline is not None:
            told += f',"deadline":{now + self.deadline}'
        return f"{self.envelope[:-1]}{told}}}".encode()

    def delay(self, name: str, planned: int) -> int:
        """Return the ms by which the jitter puts the job of a tick off.

        The same for whoever asks, so that it does not matter which worker fires the tick.
        """
        if not self.rules.jitter:
            return 0
        return crc32(job_id(name, planned).encode()) % (self.rules.jitter + 1)


def _rules(told: dict[str, object]) -> Rules:
    told = {"overlap": "allow", "catch_up": "latest", "jitter": 0, **told}
    return Rules(
        overlap=cast("Overlap", _one_of("overlap", _text(told, "overlap"), Overlap)),
        catch_up=cast("CatchUp", _one_of("catch_up", _text(told, "catch_up"), CatchUp)),
        window=_number_or_none(told, "window", 0),
        jitter=_number(told, "jitter", 0),
        start=_number_or_none(told, "start"),
        end=_number_or_none(told, "end"),
        max_runs=_number_or_none(told, "max_runs", 1),
    )


def _text(told: dict[str, object], name: str) -> str:
    value = told[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}")
    return value


def _number(told: dict[str, object], name: str, least: int | None = None) -> int:
    value = told[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}")
    if least is not None and value < least:
        raise TypeError(f"{name} is {value!r}")
    return value


def _number_or_none(told: dict[str, object], name: str, least: int | None = None) -> int | None:
    return None if told.get(name) is None else _number(told, name, least)


class Step(NamedTuple):
    """What is done about one tick."""

    planned: int  #: the tick
    following: int | None  #: the tick that is planned then; None is the end of the schedule
    is_fired: bool  #: whether it is enqueued; else it was missed, and is left out


def steps(definition: Definition, planned: int, now: int) -> list[Step]:
    """Decide what is done about the ticks from *planned* on that are due at *now*.

    What is not decided yet because it is much is decided when this is asked again.
    """
    rules = definition.rules
    if now - planned > GRACE_MS:
        start = _first_made_up_for(definition, planned, now)
        if start != planned:
            return [Step(planned, start, is_fired=False)]
    if now - planned > GRACE_MS and rules.catch_up == "latest":
        return [Step(planned, definition.next_after(planned), is_fired=True)]
    chain: list[Step] = []
    at: int | None = planned
    while at is not None and at <= now and len(chain) < CHAIN:
        following = definition.next_after(at)
        chain.append(Step(at, following, is_fired=True))
        at = following
    return chain


def _first_made_up_for(definition: Definition, planned: int, now: int) -> int | None:
    """The tick to go on with after an outage; None where that was the end."""
    rules = definition.rules
    if rules.catch_up == "none":
        return definition.next_after(now)
    horizon = now - rules.window - 1 if rules.window is not None else planned - 1
    if rules.catch_up == "latest":
        until = now if rules.end is None else min(now, rules.end)
        last = last_until(definition.timing, planned, until)
        return last if last > horizon else definition.next_after(now)
    return planned if planned > horizon else definition.next_after(horizon)


def job_id(name: str, planned: int) -> str:
    """Return the id of the job of a tick: it can be enqueued once, whoever tries.

    >>> job_id("nightly", 0)
    'nightly@1970-01-01T00:00:00Z'
    """
    return f"{name}@{iso(planned)}"
