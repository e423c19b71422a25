"""Job ids: unique without asking anybody, and sorted by time."""

import os
import time

# Random bytes are drawn for many ids at once: a system call each would cost
# more than all the rest of making an id.
_DRAWN_AT_ONCE = 512
_RANDOM_BYTES = 8


class _Randomness:
    """Bytes drawn from the system ahead of their use."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._drawn = b""
        self._at = 0

    def take(self) -> bytes:
        at = self._at
        taken = self._drawn[at : at + _RANDOM_BYTES]
        if not taken:
            self._drawn = os.urandom(_DRAWN_AT_ONCE * _RANDOM_BYTES)
            at, taken = 0, self._drawn[:_RANDOM_BYTES]
        self._at = at + _RANDOM_BYTES
        return taken


_randomness = _Randomness()
if hasattr(os, "register_at_fork"):
    # A child that went on with its parent's bytes would make its parent's ids.
    os.register_at_fork(after_in_child=_randomness.forget)


def new_job_id() -> str:
    """Return 28 hex digits: 48 bits of milliseconds, then 64 random bits.

    Not guessable from other ids, so that one can be shown to the user whose job it is.
    """
    return ((time.time_ns() // 1_000_000).to_bytes(6, "big") + _randomness.take()).hex()
