"""The difference between a second signal and an echo of the first."""

from collections.abc import Callable

from aiostreamq import clock

# Seconds. A shell and the program that runs it, or a terminal and a wrapper, may send SIGINT and
# SIGTERM at once. A person who sends a second signal takes longer, or sends the same again.
MOMENT = 0.5


class SignalEchoFilter:
    """Recognizes a signal that repeats the first one.

    >>> signals = SignalEchoFilter(now=lambda: 7.0)
    >>> [signals.is_news(number) for number in (2, 15, 15)]
    [True, False, True]
    """

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        """*now* returns seconds that only grow; None takes the clock of this process."""
        self._now = now or clock.monotonic
        self._seen = set[int]()
        self._began: float | None = None  # when the first came

    def is_news(self, number: int) -> bool:
        """Whether a signal is more than an echo: a signal of another kind, at once."""
        now = self._now()
        if self._began is None:
            self._began = now
        is_echo = bool(self._seen) and number not in self._seen and now - self._began < MOMENT
        self._seen.add(number)
        return not is_echo
