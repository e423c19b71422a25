"""Notices: what a page says about the action that led to it.

The address holds only which notice and a number, so that a forged link cannot make a page
say anything else.
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from aiostreamq.model.english import counted

# The notices by their names. "{n}" is a number and its noun.
_NOTICES = {
    "cancelled": ("Cancelled: {n}.", "job"),
    "stopping": ("The worker was asked to stop the job.", "job"),
    "ended": ("Nothing was done: the job had ended already.", "job"),
    "replayed": ("Enqueued again: {n}.", "job"),
    "kept": ("Not replayed: another job has its id or its key by now.", "job"),
    "purged": ("Deleted: {n}.", "dead letter"),
    "paused": ("Paused. Running jobs continue.", ""),
    "resumed": ("Resumed.", ""),
    "triggered": ("Enqueued a job of the schedule.", ""),
    "more": ("Done for {n}. There are more to look at: confirm to continue.", "job"),
}


class Notice(NamedTuple):
    """A notice on a page."""

    text: str


def notice_of(query: Mapping[str, str]) -> Notice | None:
    """Return the notice that an address asks for, or None.

    >>> notice_of({"did": "cancelled", "n": "2"}).text
    'Cancelled: 2 jobs.'
    """
    found = _NOTICES.get(query.get("did", ""))
    if found is None:
        return None
    text, noun = found
    count = query.get("n", "")
    number = int(count) if count.isdecimal() and len(count) < 12 else 0
    return Notice(text.format(n=counted(number, noun) if noun else ""))


def notice(did: str, count: int | None = None) -> str:
    """Return the part of an address that asks for a notice.

    >>> notice("cancelled", 2)
    'did=cancelled&n=2'
    """
    return urlencode({"did": did} | ({} if count is None else {"n": str(count)}))
