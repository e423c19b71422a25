"""Groups of dead letters: those of one task with one error."""

from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.model.record import record
from aiostreamq.store.dead_letters import Span

if TYPE_CHECKING:
    from aiostreamq.model.dead_letters import DeadLetter
    from aiostreamq.store.dead_letters import DeadLetterStore


@record
class DeadLetterGroup:
    """The letters of one task with one type of error, among those that were looked at."""

    task: str
    error: str  #: qualified name of the exception's class; empty if there is none
    count: int
    newest: "DeadLetter"
    oldest_at: datetime  #: when the oldest of them died, in UTC


@record
class DeadLetterGroups:
    """The groups of the newest letters, the largest first."""

    groups: tuple[DeadLetterGroup, ...]
    searched: int  #: how many letters were looked at
    is_whole: bool  #: whether these were all


async def group_newest(store: "DeadLetterStore", searched: int, timeout: float) -> DeadLetterGroups:
    """Group the newest letters; see `DeadLetters.groups`."""
    found: dict[tuple[str, str], list[DeadLetter]] = {}
    counts: dict[tuple[str, str], int] = {}
    looked_at, is_whole, until = 0, True, clock.monotonic() + timeout
    async with aclosing(store.newest_first(Span())) as pages:
        async for page in pages:
            for letter in page:
                group = letter.task, letter.error
                counts[group] = counts.get(group, 0) + 1
                ends = found.setdefault(group, [letter, letter])
                ends[1] = letter
            looked_at += len(page)
            if looked_at >= searched or clock.monotonic() > until:
                is_whole = False
                break
    groups = [
        DeadLetterGroup(*group, counts[group], newest, oldest.died_at)
        for group, (newest, oldest) in found.items()
    ]
    groups.sort(key=lambda group: -group.count)
    return DeadLetterGroups(tuple(groups), looked_at, is_whole)
