"""Backlogs: where held jobs wait in line.

A backlog is named '<lane> <task> <token> <token>...'; it has a token for each limit of the task.
See lua/parts/backlog.lua.
"""

from typing import TYPE_CHECKING, NamedTuple

from aiostreamq.model.stored import text

if TYPE_CHECKING:
    from collections.abc import Mapping

# Places in line a millisecond.
_PLACES_A_MS = 1024


class HeldJob(NamedTuple):
    """A job that waits for room under its limits."""

    job_id: str
    place: int  #: in line; 0 if that is unknown
    backlog: str  #: the name of its backlog

    @property
    def since_ms(self) -> int:
        """When it came to its place in line, in ms since 1970."""
        return self.place // _PLACES_A_MS


def held_job(job_id: str, fields: "Mapping[bytes, bytes]") -> HeldJob:
    """Return a held job as its hash describes it.

    >>> held_job("a", {b"b": b"1024 default sync c=sync"})
    HeldJob(job_id='a', place=1024, backlog='default sync c=sync')
    """
    place, _, name = fields.get(b"b", b"").partition(b" ")
    return HeldJob(job_id, int(place) if place.isdigit() and len(place) < 20 else 0, text(name))


def lane_of_backlog(name: str) -> str:
    """Return the lane of the jobs of a backlog.

    >>> lane_of_backlog("default sync c=sync.tenant:acme")
    'default'
    """
    return name.partition(" ")[0]


def task_of_backlog(name: str) -> str:
    """Return the task of the jobs of a backlog.

    >>> task_of_backlog("default sync c=sync.tenant:acme")
    'sync'
    """
    return name.partition(" ")[2].partition(" ")[0]


def tokens_of_backlog(name: str) -> list[str]:
    """Return the tokens of the limits that the jobs of a backlog wait for.

    >>> tokens_of_backlog("default sync c=sync.tenant:acme r=api")
    ['c=sync.tenant:acme', 'r=api']
    """
    return name.split(" ")[2:]
