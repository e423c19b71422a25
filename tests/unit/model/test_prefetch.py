"""How many jobs a worker reads ahead."""

from hypothesis import given
from hypothesis import strategies as st

from aiostreamq.model.prefetch import AHEAD, Throughput, read_count

COUNTS = st.integers(0, 500)


@given(st.integers(1, 500), COUNTS, COUNTS, COUNTS)
def test_never_more_than_will_soon_run(
    concurrency: int, running: int, backlog: int, prefetch: int
) -> None:
    """With what was asked for, no more is held than may run and wait."""
    running = min(running, concurrency)
    prefetch = min(prefetch, concurrency)
    count = read_count(concurrency, running, backlog, prefetch)
    if count > 0:
        assert running + backlog + count <= concurrency + prefetch


@given(st.integers(1, 500), COUNTS)
def test_an_idle_worker_always_asks(concurrency: int, prefetch: int) -> None:
    """Nothing held means something is read, whatever the pace."""
    assert read_count(concurrency, 0, 0, prefetch) >= concurrency


def test_slow_jobs_are_not_hoarded() -> None:
    """Where jobs take long, only free slots are filled."""
    pace = Throughput()
    pace.look(0, now=100.0)
    pace.look(10, now=200.0)
    assert pace.prefetch(100) == 0
    assert read_count(100, 100, 0, 0) <= 0
    assert read_count(100, 40, 0, 0) == 60


def test_quick_jobs_are_at_hand() -> None:
    """Where jobs take nothing, as many wait as may run."""
    pace = Throughput()
    for second in range(1, 20):
        pace.look(second * 20_000, now=float(second))
    assert pace.prefetch(100) == 100


def test_nothing_new_says_nothing() -> None:
    """A look in which nothing had ended, or no time had passed, leaves the pace."""
    pace = Throughput()
    pace.look(1000, now=1.0)
    rate = pace.rate
    pace.look(1000, now=2.0)
    pace.look(2000, now=0.5)
    assert pace.rate == rate


@given(st.lists(st.tuples(st.integers(0, 1000), st.just(0.0) | st.floats(1e-6, 10)), max_size=20))
def test_pace_stays_within_reason(looks: list[tuple[int, float]]) -> None:
    """The rate is never negative, and the prefetch never over the concurrency."""
    pace, finished, now = Throughput(), 0, 0.0
    for more, elapsed in looks:
        finished, now = finished + more, now + elapsed
        pace.look(finished, now)
        assert pace.rate >= 0
        assert 0 <= pace.prefetch(50) <= min(50, pace.rate * AHEAD + 1)
