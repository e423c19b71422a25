"""Job ids: unique without asking anybody, and sorted by time.

Short, because each id stands twice in Redis while its job waits.
"""

import base64
import os
import time

# Randomness is drawn for many ids at once: a system call each would cost more
# than all the rest of making an id.
_DRAWN_AT_ONCE = 768
_RANDOM_DIGITS = 11  # of 6 bits each
_TIME_DIGITS = 11  # of 4 bits each


class _Ids:
    """Makes ids from the time and randomness drawn ahead of its use."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._drawn = ""
        self._at = 0
        self._millisecond = 0
        self._prefix = ""

    def next(self) -> str:
        millisecond = time.time_ns() // 1_000_000
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
    # Letters and digits only: two of the 64 digits stand for two values each.
    return base64.b64encode(os.urandom(count * 3 // 4), b"xy").decode()


_ids = _Ids()
if hasattr(os, "register_at_fork"):
    # A child that went on with its parent's randomness would make its parent's ids.
    os.register_at_fork(after_in_child=_ids.forget)

#: Returns 22 letters and digits: milliseconds as 11 hex digits, then 65 random bits. Not
#: guessable from other ids, so that one can be shown to the user whose job it is.
new_job_id = _ids.next


def made_ms(job_id: str) -> int | None:
    """Milliseconds since 1970 when an id of our own making was made; None for others."""
    if len(job_id) != _TIME_DIGITS + _RANDOM_DIGITS:
        return None
    try:
        return int(job_id[:_TIME_DIGITS], 16)
    except ValueError:
        return None
