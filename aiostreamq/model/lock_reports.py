"""The values that `queue.locks` returns about locks."""

from collections.abc import Mapping
from datetime import UTC, datetime

from aiostreamq.model.record import record


@record
class LockInfo:
    """A lock that is held, or waited for."""

    name: str
    holder: str  #: the job, if there is one, and the host and process; empty if the lock is free
    fence: int  #: the number of this hold; 0 if the lock is free
    since: datetime | None  #: when it was taken, by Redis's clock, in UTC
    until: datetime | None  #: when its lease is over unless it is renewed
    waiting: int  #: how many wait for it


def lock_info(name: str, fields: Mapping[str, str], waiting: int, now_ms: int) -> LockInfo | None:
    """Return what is known about a lock; None if it is free and has no waiters.

    >>> lock_info("a", {"until": "1"}, 2, 5)
    LockInfo(name='a', holder='', fence=0, since=None, until=None, waiting=2)

    Args:
        name: The lock.
        fields: Its hash, into which other programs may have written.
        waiting: How many wait for it.
        now_ms: The time of Redis.
    """
    until, since, fence = (_number(fields.get(one, "")) for one in ("until", "since", "fence"))
    if "owner" in fields and until > now_ms:
        who = fields.get("who", "")
        return LockInfo(name, who, fence, _moment(since), _moment(until), waiting)
    return LockInfo(name, "", 0, None, None, waiting) if waiting else None


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) <= 15 else 0


def _moment(ms: int) -> datetime | None:
    # Nothing of this century is later than the limit, which datetime can show.
    return datetime.fromtimestamp(ms / 1000, UTC) if ms < 200_000_000_000_000 else None
