"""Schedules as a table, as a page, as an explanation in English, and as JSON."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta, tzinfo
from typing import cast
from zoneinfo import ZoneInfo

import orjson

from aiostreamq import clock
from aiostreamq.client.schedules.schedule import Schedule
from aiostreamq.model.english import counted
from aiostreamq.model.schedules.definition import Definition
from aiostreamq.model.schedules.timing import DAY_MS, ClockChange, Cron, changes
from aiostreamq.model.terminal_text import ascii_json, visible
from aiostreamq.model.time import moment_or_none
from aiostreamq.model.values.masking import masked

# How many of the next ticks are shown.
SHOWN = 5

# How far ahead the changes of the clock are shown: a year and some days, so both of a year.
AHEAD_MS = 370 * DAY_MS

# Workers declare the schedules of their code each minute. A schedule that was not declared for
# this long is not fired: its code is gone, or no worker runs.
UNSEEN = timedelta(minutes=3)

COLUMNS = ("name", "task", "when", "next", "last", "runs", "state")


def as_json(schedule: Schedule) -> str:
    """Return a schedule as one line of JSON."""
    values = {field.name: getattr(schedule, field.name) for field in fields(schedule)}
    del values["definition"]
    return ascii_json(orjson.dumps({**values, "upcoming": schedule.upcoming(SHOWN)}).decode())


def as_row(schedule: Schedule) -> tuple[str, ...]:
    """Return the row of a table for a schedule, under COLUMNS."""
    return (
        schedule.name,
        schedule.task,
        _when(schedule),
        _utc(schedule.next),
        _utc(schedule.last),
        str(schedule.runs),
        _state(schedule),
    )


def _when(schedule: Schedule) -> str:
    if schedule.cron is None:
        return f"every {schedule.every:g} s"
    return f"{schedule.cron} {schedule.tz}"


def _state(schedule: Schedule) -> str:
    declared = schedule.declared_at
    if declared is not None and datetime.fromtimestamp(clock.wall(), UTC) - declared > UNSEEN:
        return "in no worker's code"
    if schedule.next is None and not schedule.is_paused:
        return "over"
    state = "paused" if schedule.is_paused else "on"
    return f"{state} (jobs paused)" if schedule.are_jobs_paused else state


def as_page(schedule: Schedule) -> str:
    """Return a schedule in full, a line for each fact."""
    definition = schedule.definition
    call = orjson.loads(masked(definition.envelope.encode()))
    facts = {
        "name": schedule.name,
        "task": schedule.task,
        "args": orjson.dumps(call.get("args", [])).decode(),
        "kwargs": orjson.dumps(call.get("kwargs", {})).decode(),
        "lane": schedule.lane,
        "when": _when(schedule),
        "state": _state(schedule),
        "made by": "code" if schedule.is_declared else "a call",
        "declared": _utc(schedule.declared_at) if schedule.is_declared else None,
        "overlap": schedule.overlap,
        "catch up": schedule.catch_up,
        "window": None if schedule.window is None else f"{schedule.window:g} s",
        "jitter": f"{schedule.jitter:g} s" if schedule.jitter else None,
        "start": _utc(schedule.start) if schedule.start else None,
        "end": _utc(schedule.end) if schedule.end else None,
        "runs": f"{schedule.runs}" + (f" of {schedule.max_runs}" if schedule.max_runs else ""),
        "skipped": str(schedule.skipped),
        "last": _utc(schedule.last),
        "last job": schedule.last_job_id,
        "next": _utc(schedule.next),
    }
    lines = [f"{name:10}{fact}" for name, fact in facts.items() if fact is not None]
    return "\n".join(map(visible, lines))


class Explanation:
    """An explanation in English of when a schedule is due."""

    def __init__(self, definition: Definition, now: int, schedule: Schedule | None = None) -> None:
        """Explain from *now* (ms) on; *schedule* is its present state, if it has been created."""
        self._definition = definition
        self._left: int | None = None  # ticks that remain; None: no limit
        if schedule is not None and schedule.max_runs is not None:
            self._left = max(0, schedule.max_runs - schedule.runs)
        self.is_paused = schedule is not None and schedule.is_paused
        self._timing = timing = definition.timing
        self._zone: tzinfo = UTC
        if isinstance(timing, Cron) and timing.zone != "UTC":
            self._zone = ZoneInfo(timing.zone)
        self.in_english = timing.in_english
        self.zone = timing.zone if isinstance(timing, Cron) else None
        count = SHOWN if self._left is None else min(SHOWN, self._left)
        self.next = [self._local(at) for at in definition.upcoming(now, count)]
        found = changes(timing, now, now + AHEAD_MS)
        self.clock_changes = [self._note(change) for change in found]

    def as_text(self) -> str:
        """Return the explanation for people."""
        lines = [f"{self.in_english}."]
        if self.zone is None:
            lines.append("By elapsed time: clock changes do not matter.")
        elif self.zone == "UTC":
            lines.append("In UTC, as no other time zone is given: clock changes do not matter.")
        else:
            lines.append(f"In the time of {self.zone}.")
        rules = self._definition.rules
        if rules.start is not None:
            lines.append(f"Not before {_utc(moment_or_none(rules.start))} (UTC).")
        if rules.end is not None:
            lines.append(f"Not after {_utc(moment_or_none(rules.end))} (UTC).")
        if self._left is not None:
            lines.append(f"No more than {counted(self._left, 'time')}.")
        upcoming = "It is paused. Resumed now, next:" if self.is_paused else "Next:"
        lines += ["", upcoming if self.next else "Never again."]
        lines += [f"  {at:%a %Y-%m-%d %H:%M:%S %Z}  ({_utc(at)})" for at in self.next]
        if self.clock_changes:
            lines += ["", "When the clocks change:", *(f"  {note}" for note in self.clock_changes)]
        return "\n".join(lines)

    def as_json(self) -> str:
        """Return the explanation for programs."""
        fields = {
            "words": self.in_english,
            "tz": self.zone or "UTC",
            "is_paused": self.is_paused,
            "next": [at.isoformat() for at in self.next],
            "clock_changes": self.clock_changes,
        }
        return ascii_json(orjson.dumps(fields).decode())

    def _note(self, change: ClockChange) -> str:
        """Return what happens to the schedule at one change of the clock."""
        old = datetime.fromtimestamp((change.at + change.before) / 1000, UTC)
        new = datetime.fromtimestamp((change.at + change.after) / 1000, UTC)
        start = f"{old:%Y-%m-%d}: the clock goes from {old:%H:%M} to {new:%H:%M}; "
        cron = cast("Cron", self._timing)
        if cron.is_hourly:
            return start + "the schedule follows elapsed time, no tick more or less"
        at = cron.moved_by(change)
        if at is None or self._definition.next_after(at - 1) != at:
            return start + "nothing is due in that time"
        first = self._local(at)
        if change.gain > 0:
            return start + f"skipped ticks come that much later, the first at {first:%H:%M}"
        return start + f"repeated ticks fire the first time only, the first at {first:%H:%M}"

    def _local(self, at: int) -> datetime:
        return datetime.fromtimestamp(at / 1000, self._zone)


def _utc(at: datetime | None) -> str:
    return "-" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
