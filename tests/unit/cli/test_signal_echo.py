"""Two signals that arrive together count as one if the second is an echo."""

import signal
from collections.abc import Callable

import pytest

from aiostreamq.cli.process.signal_echo import MOMENT, SignalEchoFilter

INT, TERM = signal.SIGINT, signal.SIGTERM


def clock_of(times: list[float]) -> Callable[[], float]:
    """Return a clock that shows one time after the other."""
    shown = iter(times)
    return lambda: next(shown)


@pytest.mark.parametrize(
    ("came", "news"),
    [
        ([(INT, 0.0)], [True]),
        ([(INT, 0.0), (TERM, 0.0)], [True, False]),
        ([(TERM, 0.0), (INT, MOMENT * 0.9)], [True, False]),
        ([(TERM, 0.0), (INT, MOMENT)], [True, True]),
        ([(INT, 0.0), (INT, 0.0)], [True, True]),
        ([(INT, 0.0), (TERM, 0.1), (TERM, 0.2)], [True, False, True]),
        ([(INT, 0.0), (TERM, 0.1), (INT, 0.2)], [True, False, True]),
        ([(INT, 0.0), (TERM, 0.1), (INT, 60.0)], [True, False, True]),
        ([(INT, 0.0), (TERM, 60.0)], [True, True]),
    ],
)
def test_signals(came: list[tuple[int, float]], news: list[bool]) -> None:
    """One of the other kind is the echo of the first if it comes at once; all else is news."""
    signals = SignalEchoFilter(clock_of([at for _, at in came]))
    assert [signals.is_news(sign) for sign, _ in came] == news
