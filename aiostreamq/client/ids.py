"""Job ids: unique without coordination, and sorted by time.

They are short, because Redis holds each id twice while its job waits.
"""

import base64
import os

from aiostreamq import clock

# Random bytes are drawn for many ids at once: a system call for each would cost more
# than the rest of making an id.
_DRAWN_AT_ONCE = 768
_RANDOM_DIGITS = 11  # of 6 bits each
_TIME_DIGITS = 11  # of 4 bits each


class _Ids:
    """Makes ids from the time and from random digits that were drawn ahead."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._drawn = ""
        self._at = 0
        self._millisecond = 0
        self._prefix = ""

    def next(self) -> str:
        millisecond = int(clock.wall() * 1000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self._prefix = f"{millisecond:011x}"
        at = self._at
        if at == len(self._drawn):
            self._drawn = _random_digits(_DRAWN_AT_ONCE * _RANDOM_DIGITS)
            at = 0
        self._at = end = at + _RANDOM_DIGITS
        return self._prefix + self._drawn[at:end]


def _random_digits(count: int) -> str:
    # Letters and digits only: two of them stand for two of the 64 values each.
    return base64.b64encode(os.urandom(count * 3 // 4), b"xy").decode()


_ids = _Ids()
if hasattr(os, "register_at_fork"):
    # A child that used its parent's random digits would make its parent's ids.
    os.register_at_fork(after_in_child=_ids.forget)

#: Return 22 letters and digits: milliseconds as 11 hex digits, then 65 random bits. An id cannot
#: be guessed from other ids, so it may be shown to the user whose job it is.
new_job_id = _ids.next


def made_ms(job_id: str) -> int | None:
    """Return when a generated id was made, in ms since 1970; None for other ids."""
    if len(job_id) != _TIME_DIGITS + _RANDOM_DIGITS:
        return None
    try:
        return int(job_id[:_TIME_DIGITS], 16)
    except ValueError:
        return None
