"""The definition of a schedule: its task, its times, and its rules.

A tick is one planned time of a schedule, and the job that is enqueued for it. Moments are
milliseconds since 1970, by Redis's clock; the caller passes the current time.
"""

from collections.abc import Iterator
from dataclasses import field
from datetime import UTC, datetime
from typing import Literal, TypedDict, cast, get_args
from zlib import crc32

import orjson

from aiostreamq.errors import UsageError
from aiostreamq.model.duration import Duration
from aiostreamq.model.record import record
from aiostreamq.model.schedules.timing import (
    LAST_YEAR,
    SHORTEST_MS,
    Cron,
    Every,
    Timing,
    interval_of,
    iso,
    length_ms,
)
from aiostreamq.model.schedules.zones import Zone, zone_name

#: The fate of a tick while the job of the previous tick has not ended: it is enqueued anyway,
#: skipped, held until then (one tick), or enqueued and the old job is cancelled.
Overlap = Literal["allow", "skip", "buffer_one", "cancel_old"]

#: The missed ticks that are enqueued after an outage: none, the latest, or all.
CatchUp = Literal["none", "latest", "all"]

# The largest integer that Lua and all JSON parsers represent exactly.
MOST_RUNS = 2**53


class ScheduleRules(TypedDict, total=False):
    """The rules among the keyword arguments of `queue.cron(...)` and `queue.schedules.create`."""

    overlap: Overlap
    catch_up: CatchUp
    window: Duration | None
    jitter: Duration
    start: datetime | None
    end: datetime | None
    max_runs: int | None


@record
class Rules:
    """The rules of a schedule, checked and converted."""

    overlap: Overlap = "allow"
    catch_up: CatchUp = "latest"
    window: int | None = None  #: ms; ticks missed longer ago are not caught up
    jitter: int = 0  #: ms by which a job may start later than planned, at most
    start: int | None = None  #: no ticks before this
    end: int | None = None  #: no ticks after this
    max_runs: int | None = None  #: number of ticks that are enqueued, at most

    @classmethod
    def of(cls, given: ScheduleRules) -> "Rules":
        """Check the keyword arguments *given*, and convert them.

        Raises:
            UsageError: A rule is unknown or invalid.
        """
        # Callers without a type checker may pass anything: an `overlp` must not be ignored.
        if unknown := given.keys() - ScheduleRules.__annotations__.keys():
            known = ", ".join(ScheduleRules.__annotations__)
            raise UsageError(f"unknown rule {min(unknown)!r}: use one of {known}")
        window, runs = given.get("window"), given.get("max_runs")
        rules = cls(
            overlap=cast("Overlap", _one_of("overlap", given.get("overlap", "allow"), Overlap)),
            catch_up=cast("CatchUp", _one_of("catch_up", given.get("catch_up", "latest"), CatchUp)),
            window=None if window is None else length_ms("window", window),
            jitter=length_ms("jitter", given.get("jitter", 0)),
            start=_moment("start", given.get("start")),
            end=_moment("end", given.get("end")),
            max_runs=runs,
        )
        if rules.catch_up == "all" and window is None:
            raise UsageError(
                "catch_up='all' needs a window, such as window='1h': after a long outage all "
                "ticks of that time are enqueued at once"
            )
        if rules.catch_up == "none" and window is not None:
            raise UsageError("window= limits how far back to catch up; catch_up='none' never does")
        if runs is not None and type(runs) is not int:
            raise UsageError(f"max_runs must be an integer, got {runs!r}")
        if runs is not None and runs < 1:
            raise UsageError(f"max_runs={runs} would never run: leave it out for no limit")
        if runs is not None and runs > MOST_RUNS:
            raise UsageError(f"max_runs={runs} is too large: leave it out for no limit")
        if rules.start is not None and rules.end is not None and rules.end < rules.start:
            raise UsageError("end is before start: the schedule would never run")
        return rules

    def are_used_up(self, runs: int) -> bool:
        """Whether *runs* ticks reach the limit."""
        return self.max_runs is not None and runs >= self.max_runs


def _one_of(option: str, value: str, known: object) -> str:
    values = get_args(known)
    if value not in values:
        raise UsageError(f"{option}={value!r} is unknown: use one of {', '.join(values)}")
    return value


def _moment(option: str, at: object) -> int | None:
    """Return *at* in ms since 1970; a datetime without a time zone is in UTC."""
    if at is None:
        return None
    if not isinstance(at, datetime):
        raise UsageError(f"{option}={at!r} is not a datetime: use one")
    if not 2 <= at.year <= LAST_YEAR:  # so that it is valid in every time zone
        raise UsageError(f"{option}={at!r} is out of range: use a year from 2 to {LAST_YEAR}")
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def timing_of(
    cron: str | None, every: Duration | None, tz: Zone | None, start: int | None
) -> Timing:
    """Return the times of a schedule.

    Raises:
        UsageError: Not exactly one of *cron* and *every* is given, or it is invalid.
    """
    if (cron is None) == (every is None):
        raise UsageError("a schedule needs either cron='...' or every='...': give one of them")
    if every is not None:
        if tz is not None:
            raise UsageError("every= follows real time and has no time zone: leave tz= out")
        return Every(interval_of(every), start or 0)
    if not isinstance(cron, str):
        raise UsageError(
            f"cron={cron!r} is not a cron expression: write minute, hour, day, month and day of "
            f"the week, as in '0 9 * * mon'"
        )
    return Cron(" ".join(cron.split()), zone_name(tz))


@record
class Definition:
    """A schedule as it is stored in Redis, without its changing state."""

    task: str
    timing: Timing
    rules: Rules
    #: envelope of its jobs, JSON, secrets included; fields that depend on the tick are added later
    envelope: str = field(repr=False)
    lane: str
    mark: str  #: a WaiterMode, for the enqueue script
    expires: int | None = None  #: ms after its enqueue within which a job must start
    deadline: int | None = None  #: the same for its end; a fixed time is in the envelope

    def encode(self) -> bytes:
        """Return it as JSON; equal definitions give the same bytes."""
        timing: dict[str, object]
        if isinstance(self.timing, Cron):
            timing = {"cron": self.timing.expression, "tz": self.timing.zone}
        else:
            timing = {"every": self.timing.interval, "anchor": self.timing.anchor}
        rules = {name: getattr(self.rules, name) for name in Rules.__match_args__}
        limits = {"expires": self.expires, "deadline": self.deadline}
        rest = {"lane": self.lane, "mark": self.mark, **limits, "job": self.envelope}
        fields = {"v": 1, "task": self.task, **timing, **rules, **rest}
        return orjson.dumps({name: value for name, value in fields.items() if value is not None})

    @classmethod
    def decode(cls, raw: bytes) -> "Definition":
        """Parse what `encode` returned; unknown fields are ignored.

        Raises:
            ValueError: It is not a definition, or one of an unknown version.
        """
        try:
            fields = orjson.loads(raw)
            if fields["v"] != 1:
                raise ValueError(f"a definition of unknown version {fields['v']!r}")
            timing: Timing
            if "cron" in fields:
                timing = Cron(_text(fields, "cron"), _text(fields, "tz"))
            else:
                timing = Every(_number(fields, "every", SHORTEST_MS), _number(fields, "anchor"))
            return cls(
                _text(fields, "task"), timing, _rules(fields), _text(fields, "job"),
                _text(fields, "lane"), _text(fields, "mark"),
                _number_or_none(fields, "expires", 0), _number_or_none(fields, "deadline", 0),
            )  # fmt: skip
        except (KeyError, TypeError, AttributeError, UsageError, orjson.JSONDecodeError) as error:
            raise ValueError(f"not a valid definition: {error}") from error

    def next_after(self, after: int) -> int | None:
        """Return the first tick later than *after*, or None if there is none."""
        rules = self.rules
        if rules.start is not None:
            after = max(after, rules.start - 1)
        found = self.timing.next_after(after)
        if found is None or (rules.end is not None and found > rules.end):
            return None
        return found

    def upcoming(self, after: int, count: int) -> Iterator[int]:
        """Yield the next *count* ticks later than *after*, or fewer if there are no more."""
        for _ in range(count):
            found = self.next_after(after)
            if found is None:
                return
            yield found
            after = found

    def envelope_for(self, scheduled_for: int, now: int) -> bytes:
        """Return the envelope of one tick's job, which can start at *now* at the earliest."""
        fields = f',"scheduled_for":{scheduled_for}'
        if self.expires is not None:
            fields += f',"expires":{now + self.expires}'
        if self.deadline is not None:
            fields += f',"deadline":{now + self.deadline}'
        return f"{self.envelope[:-1]}{fields}}}".encode()

    def delay(self, name: str, planned: int) -> int:
        """Return the ms by which the jitter delays the job of a tick.

        It depends only on the tick, so that it does not matter which worker fires it.
        """
        if not self.rules.jitter:
            return 0
        return crc32(job_id(name, planned).encode()) % (self.rules.jitter + 1)


def _rules(fields: dict[str, object]) -> Rules:
    fields = {"overlap": "allow", "catch_up": "latest", "jitter": 0, **fields}
    return Rules(
        overlap=cast("Overlap", _one_of("overlap", _text(fields, "overlap"), Overlap)),
        catch_up=cast("CatchUp", _one_of("catch_up", _text(fields, "catch_up"), CatchUp)),
        window=_number_or_none(fields, "window", 0),
        jitter=_number(fields, "jitter", 0),
        start=_number_or_none(fields, "start"),
        end=_number_or_none(fields, "end"),
        max_runs=_number_or_none(fields, "max_runs", 1),
    )


def _text(fields: dict[str, object], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}")
    return value


def _number(fields: dict[str, object], name: str, least: int | None = None) -> int:
    value = fields[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}")
    if least is not None and value < least:
        raise TypeError(f"{name} is {value!r}")
    return value


def _number_or_none(fields: dict[str, object], name: str, least: int | None = None) -> int | None:
    return None if fields.get(name) is None else _number(fields, name, least)


def job_id(name: str, planned: int) -> str:
    """Return the id of a tick's job, which lets the job be enqueued only once.

    >>> job_id("nightly", 0)
    'nightly@1970-01-01T00:00:00Z'
    """
    return f"{name}@{iso(planned)}"
