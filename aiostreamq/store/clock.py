"""Redis's time, as it is known here between two answers."""

import time


class ServerClock:
    """Goes on from the last time that Redis told, by this machine's steady clock.

    All that is stored is dated by Redis, so what is compared with it is too: a
    step of this machine's own clock changes nothing.
    """

    def __init__(self) -> None:
        self._ahead_ms = time.time() * 1000 - time.monotonic() * 1000

    def set(self, now_ms: float) -> None:
        """Note that Redis has just told *now_ms*, milliseconds since 1970."""
        self._ahead_ms = now_ms - time.monotonic() * 1000

    def now_ms(self) -> int:
        """Milliseconds since 1970, by Redis's clock."""
        return int(time.monotonic() * 1000 + self._ahead_ms)
