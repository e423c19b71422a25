"""`Schedule`: one schedule as users see it, and the reading of stored ones."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from aiostreamq.errors import UsageError
from aiostreamq.model.pauses import has_pause
from aiostreamq.model.record import record
from aiostreamq.model.schedules.definition import CatchUp, Definition, Overlap
from aiostreamq.model.schedules.timing import Cron
from aiostreamq.model.schedules.unreadable import UnreadableSchedule
from aiostreamq.model.time import milliseconds_since_1970, moment, moment_or_none

if TYPE_CHECKING:
    from aiostreamq.store.schedule_replies import State


@record
class Schedule:
    """The current state of one schedule. Times are in UTC."""

    name: str
    task: str  #: name of the task
    cron: str | None  #: the expression; None if it has an interval
    every: float | None  #: seconds between two ticks; None if it has a cron expression
    tz: str  #: name of the time zone of `cron`
    overlap: Overlap
    catch_up: CatchUp
    window: float | None  #: seconds; ticks that were missed longer ago are not made up for
    jitter: float  #: the most seconds by which a job may start later than planned
    start: datetime | None  #: no ticks before this time
    end: datetime | None  #: no ticks after this time
    max_runs: int | None  #: the most ticks that are enqueued
    lane: str  #: the lane of its jobs
    is_paused: bool
    are_jobs_paused: bool  #: whether its task or lane is paused, so that its jobs wait
    is_declared: bool  #: whether code declares it; otherwise it was created at run time
    declared_at: datetime | None  #: when a worker last declared it from its code
    next: datetime | None  #: the next tick; None if it is paused or over
    last: datetime | None  #: the last tick that was enqueued
    last_job_id: str | None  #: id of the job of the last tick
    runs: int  #: how many ticks were enqueued
    skipped: int  #: how many ticks were skipped because of `overlap`
    definition: Definition  #: the stored definition; not part of the public API

    @property
    def in_english(self) -> str:
        """When it is due, in words, such as "At 02:30 every day"."""
        return self.definition.timing.in_english

    def upcoming(self, count: int = 5) -> list[datetime]:
        """Return the next *count* ticks, or fewer if the schedule ends before."""
        if self.next is None:
            return []
        before = milliseconds_since_1970(self.next) - 1
        left = count if self.max_runs is None else min(count, self.max_runs - self.runs)
        return [moment(at) for at in self.definition.upcoming(before, left)]


def definition_of(found: "State | UnreadableSchedule") -> tuple["State", Definition]:
    """Return the state and the definition of a stored schedule.

    Raises:
        UsageError: It is damaged, or of a newer release.
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
    """Return a stored schedule for users, given the current pauses of tasks and lanes.

    Raises:
        UsageError: It is damaged, or of a newer release.
    """
    state, definition = definition_of(found)
    return _schedule(state, definition, paused)


def read_all(
    found: "Iterable[State | UnreadableSchedule]", paused: Mapping[str, int]
) -> tuple[list[Schedule], list[UsageError]]:
    """Return the stored schedules that can be read, and the errors of the others."""
    schedules: list[Schedule] = []
    errors: list[UsageError] = []
    for one in found:
        try:
            schedules.append(schedule_of(one, paused))
        except UsageError as error:
            errors.append(error)
    return schedules, errors


def _unreadable(name: str, why: str) -> UsageError:
    return UsageError(f"schedule {name!r} is damaged, {why}: delete it, and create it again")


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
