"""Which signals mean what has been said already."""

import time
from collections.abc import Callable

# Seconds. Who stops a process may send SIGINT and SIGTERM at once: a shell and what runs it, a
# terminal and a wrapper. A person who sends a signal once more takes longer, or sends the same.
MOMENT = 0.5


class Signals:
    """Counts what is meant.

    >>> signals = Signals(clock=lambda: 7.0)
    >>> [signals.is_news(sign) for sign in (2, 15, 15)]
    [True, False, True]
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen = set[int]()
        self._began: float | None = None  # when the first came

    def is_news(self, sign: int) -> bool:
        """Whether a signal is more than the echo of the first: another kind of it, at once."""
        now = self._clock()
        if self._began is None:
            self._began = now
        is_echo = bool(self._seen) and sign not in self._seen and now - self._began < MOMENT
        self._seen.add(sign)
        return not is_echo
