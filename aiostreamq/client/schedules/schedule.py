"""One schedule, as users see it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from aiostreamq.errors import UsageError
from aiostreamq.model.pauses import has_pause
from aiostreamq.model.schedules.cron import Cron
from aiostreamq.model.schedules.definition import CatchUp, Definition, Overlap
from aiostreamq.model.schedules.unreadable import UnreadableSchedule
from aiostreamq.model.time import milliseconds_since_1970, moment, moment_or_none

if TYPE_CHECKING:
    from aiostreamq.store.schedules import State


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule as it stands. Times are in UTC."""

    name: str
    task: str  #: name of the task
    cron: str | None  #: the expression; None where it goes by `every`
    every: float | None  #: seconds between two ticks; None where it goes by `cron`
    tz: str  #: name of the time zone that `cron` is meant in
    overlap: Overlap
    catch_up: CatchUp
    window: float | None  #: seconds; what was missed longer ago is not made up for
    jitter: float  #: seconds by which a job may be started later than planned
    start: datetime | None  #: no tick before
    end: datetime | None  #: no tick after
    max_runs: int | None  #: how many ticks are enqueued at most
    lane: str  #: of its jobs
    is_paused: bool
    are_jobs_paused: bool  #: its task or its lane is: its jobs wait, whether it is or not
    is_declared: bool  #: code declares it; else it was made at run time
    declared_at: datetime | None  #: when a worker whose code declares it said so last
    next: datetime | None  #: the next tick; None where it is paused or over
    last: datetime | None  #: the last tick that was enqueued
    last_job_id: str | None  #: the job of that
    runs: int  #: how many ticks were enqueued
    skipped: int  #: how many were left out because of `overlap`
    definition: Definition  #: all of it, as it is kept; not part of the public face

    def upcoming(self, count: int = 5) -> list[datetime]:
        """Return the next ticks, *count* of them or fewer where it ends before."""
        if self.next is None:
            return []
        before = milliseconds_since_1970(self.next) - 1
        left = count if self.max_runs is None else min(count, self.max_runs - self.runs)
        return [moment(at) for at in self.definition.upcoming(before, left)]


def definition_of(found: "State | UnreadableSchedule") -> tuple["State", Definition]:
    """Return what is known of a schedule, and what it says.

    Raises:
        UsageError: It makes no sense, or none that is known here.
    """
    if isinstance(found, UnreadableSchedule):
        raise _unreadable(found.name, found.why)
    try:
        return found, Definition.decode(found.definition)
    except ValueError as error:
        raise UsageError(
            f"schedule {found.name!r} is {error}: it may be of a newer release of aiostreamq"
        ) from error


def schedule_of(found: "State | UnreadableSchedule", paused: Mapping[str, int]) -> Schedule:
    """Return a schedule as it stands, beside what is *paused*.

    Raises:
        UsageError: It makes no sense, or none that is known here.
    """
    state, definition = definition_of(found)
    try:
        return _schedule(state, definition, paused)
    except (ValueError, OverflowError, OSError) as error:  # a time that no calendar has
        raise _unreadable(state.name, str(error)) from error


def read_all(
    found: "Iterable[State | UnreadableSchedule]", paused: Mapping[str, int]
) -> tuple[list[Schedule], list[UsageError]]:
    """Return schedules as they stand, and what is wrong with the others."""
    schedules: list[Schedule] = []
    errors: list[UsageError] = []
    for one in found:
        try:
            schedules.append(schedule_of(one, paused))
        except UsageError as error:
            errors.append(error)
    return schedules, errors


def _unreadable(name: str, why: str) -> UsageError:
    return UsageError(
        f"schedule {name!r} makes no sense as it is kept, {why}: delete it, and make it again"
    )


def _schedule(state: "State", definition: Definition, paused: Mapping[str, int]) -> Schedule:
    timing, rules = definition.timing, definition.rules
    is_cron = isinstance(timing, Cron)
    return Schedule(
        name=state.name,
        task=definition.task,
        cron=timing.expression if is_cron else None,
        every=None if is_cron else timing.interval / 1000,
        tz=timing.zone if is_cron else "UTC",
        overlap=rules.overlap,
        catch_up=rules.catch_up,
        window=None if rules.window is None else rules.window / 1000,
        jitter=rules.jitter / 1000,
        start=moment_or_none(rules.start),
        end=moment_or_none(rules.end),
        max_runs=rules.max_runs,
        lane=definition.lane,
        is_paused=state.is_paused,
        are_jobs_paused=has_pause(paused, definition.task, definition.lane),
        is_declared=state.is_code,
        declared_at=moment_or_none(state.seen),
        next=moment_or_none(state.at),
        last=moment_or_none(state.last_at),
        last_job_id=state.last or None,
        runs=state.runs,
        skipped=state.skipped,
        definition=definition,
    )
