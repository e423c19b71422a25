"""What is paused, and until when."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from aiostreamq.errors import UsageError
from aiostreamq.model.keys import checked_name

TASK, LANE = "task:", "lane:"

# Digits of a time in ms until the year 9999.
MOST_DIGITS = 15


@dataclass(frozen=True, slots=True)
class Pause:
    """A task or a lane that is paused."""

    task: str | None = None  #: its name, if it is a task
    lane: str | None = None  #: its name, if it is a lane
    until: datetime | None = None  #: when it goes on by itself, in UTC; None is when it is resumed


def paused_words(task: str | None, lane: str | None) -> list[str]:
    """Write what is meant as it is kept.

    >>> paused_words("size", None)
    ['task:size']
    """
    words = [] if task is None else [TASK + checked_name("task", task)]
    if lane is not None:
        words.append(LANE + checked_name("lane", lane))
    if not words:
        raise UsageError("it is not said what is meant: give task= or lane=")
    return words


def has_pause(told: Collection[str], task: str, lane: str | None) -> bool:
    """Say whether jobs of a task, in a lane that is maybe not known, wait for what is paused.

    >>> has_pause({"lane:slow"}, "size", "slow"), has_pause({"lane:slow"}, "size", None)
    (True, False)
    """
    return TASK + task in told or (lane is not None and LANE + lane in told)


def among(told: Mapping[str, int], tasks: Iterable[str], lanes: Iterable[str]) -> Mapping[str, int]:
    """What is paused of some tasks and lanes.

    >>> among({"task:size": 0, "task:keep": 0}, ["size"], ["slow"])
    {'task:size': 0}
    """
    meant = {*(TASK + task for task in tasks), *(LANE + lane for lane in lanes)}
    return {word: until for word, until in told.items() if word in meant}


def pauses_of(told: Mapping[str, int]) -> list[Pause]:
    """Read what is paused until when (ms since 1970); tasks first, by name."""
    found: list[Pause] = []
    for word in sorted(told, key=lambda word: (not word.startswith(TASK), word)):
        until = datetime.fromtimestamp(told[word] / 1000, UTC) if told[word] else None
        if word.startswith(TASK):
            found.append(Pause(task=word.removeprefix(TASK), until=until))
        else:
            found.append(Pause(lane=word.removeprefix(LANE), until=until))
    return found


def holding(told: Mapping[str, str], now_ms: float) -> dict[str, int]:
    """What holds at *now_ms*, with its end in ms; 0 for none. Strangers' words are left out.

    >>> holding({"task:size": "0", "lane:slow": "1000", "x": "0"}, now_ms=2000)
    {'task:size': 0}
    """
    limits = {
        word: int(limit)
        for word, limit in told.items()
        if word.startswith((TASK, LANE)) and limit.isdecimal() and len(limit) <= MOST_DIGITS
    }
    return {word: limit for word, limit in limits.items() if not limit or limit > now_ms}
