"""Job ids: unique without asking anybody, and sorted by time."""

import os
import time

# Randomness is drawn for many ids at once: a system call each would cost more
# than all the rest of making an id.
_DRAWN_AT_ONCE = 512
_RANDOM_DIGITS = 16


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
            self._prefix = f"{millisecond:012x}"
        at = self._at
        if at == len(self._drawn):
            self._drawn = os.urandom(_DRAWN_AT_ONCE * _RANDOM_DIGITS // 2).hex()
            at = 0
        self._at = end = at + _RANDOM_DIGITS
        return self._prefix + self._drawn[at:end]


_ids = _Ids()
if hasattr(os, "register_at_fork"):
    # A child that went on with its parent's randomness would make its parent's ids.
    os.register_at_fork(after_in_child=_ids.forget)

#: Returns 28 hex digits: 48 bits of milliseconds, then 64 random bits. Not guessable
#: from other ids, so that one can be shown to the user whose job it is.
new_job_id = _ids.next
