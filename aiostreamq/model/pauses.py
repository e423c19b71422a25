"""Pauses of tasks and lanes, as the hash `paused` stores them.

Its fields are "task:<name>" and "lane:<name>", the values are the end of the pause in ms since
1970, or 0 for a pause without an end.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from aiostreamq.errors import UsageError
from aiostreamq.model.keys import checked_name
from aiostreamq.model.record import record
from aiostreamq.model.time import moment

TASK, LANE = "task:", "lane:"

# Digits of a time in ms, enough for the year 9999.
MOST_DIGITS = 15


@record
class Pause:
    """A paused task or lane."""

    task: str | None = None  #: name of the task, if one is paused
    lane: str | None = None  #: name of the lane, if one is paused
    until: datetime | None = None  #: when it resumes by itself, in UTC; None is never


def pause_fields(task: str | None, lane: str | None) -> list[str]:
    """Return the fields of the hash for a task, a lane, or both.

    >>> pause_fields("size", None)
    ['task:size']

    Raises:
        UsageError: A name is invalid, or neither is given.
    """
    fields = [] if task is None else [TASK + checked_name("task", task)]
    if lane is not None:
        fields.append(LANE + checked_name("lane", lane))
    if not fields:
        raise UsageError("nothing to pause or resume is named: specify task= or lane=")
    return fields


def has_pause(fields: Collection[str], task: str, lane: str | None) -> bool:
    """Whether one of *fields* pauses a job of *task* in *lane*; None is an unknown lane.

    >>> has_pause({"lane:slow"}, "size", "slow"), has_pause({"lane:slow"}, "size", None)
    (True, False)
    """
    return TASK + task in fields or (lane is not None and LANE + lane in fields)


def among(
    pauses: Mapping[str, int], tasks: Iterable[str], lanes: Iterable[str]
) -> Mapping[str, int]:
    """Return those *pauses* that concern some of *tasks* and *lanes*.

    >>> among({"task:size": 0, "task:keep": 0}, ["size"], ["slow"])
    {'task:size': 0}
    """
    wanted = {*(TASK + task for task in tasks), *(LANE + lane for lane in lanes)}
    return {field: until for field, until in pauses.items() if field in wanted}


def pauses_of(pauses: Mapping[str, int]) -> list[Pause]:
    """Return pauses, given by field with their end in ms since 1970; tasks first, by name."""
    found: list[Pause] = []
    for field in sorted(pauses, key=lambda field: (not field.startswith(TASK), field)):
        until = moment(pauses[field]) if pauses[field] else None
        if field.startswith(TASK):
            found.append(Pause(task=field.removeprefix(TASK), until=until))
        else:
            found.append(Pause(lane=field.removeprefix(LANE), until=until))
    return found


def holding(stored: Mapping[str, str], now_ms: float) -> dict[str, int]:
    """Return the pauses in force at *now_ms*, each with its end in ms; unreadable ones are omitted.

    >>> holding({"task:size": "0", "lane:slow": "1000", "x": "0"}, now_ms=2000)
    {'task:size': 0}
    """
    ends = {
        field: int(end)
        for field, end in stored.items()
        if field.startswith((TASK, LANE)) and end.isdecimal() and len(end) <= MOST_DIGITS
    }
    return {field: end for field, end in ends.items() if not end or end > now_ms}
