"""The limits of jobs and memory after which a worker process is replaced."""

import pytest

from aiostreamq import UsageError
from aiostreamq.cli.process.recycling import RecyclingLimits, own_limits, resident_bytes, size

MB = 1024**2


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("512mb", 512 * MB),
        ("512 MB", 512 * MB),
        ("512M", 512 * MB),
        ("512MiB", 512 * MB),
        ("1.5gb", 1536 * MB),
        ("2k", 2048),
        ("100b", 100),
    ],
)
def test_size(written: str, count: int) -> None:
    """Sizes are written as people do."""
    assert size("--max-rss", written) == count


@pytest.mark.parametrize("written", ["", "512", "mb", "-1mb", "1tb", "1 m b"])
def test_no_size(written: str) -> None:
    """What has no unit, or is none, is refused with an example."""
    with pytest.raises(UsageError, match=r"--max-rss .*: invalid size; give .* as in 512mb"):
        size("--max-rss", written)


def test_jobs() -> None:
    """The limit is reached with the job that it names."""
    limits = RecyclingLimits(10, None)
    assert limits.reason_to_end(9, rss=MB) is None
    assert limits.reason_to_end(10, rss=MB) == "it has run 10 jobs"


def test_memory() -> None:
    """The limit is passed by more than it names."""
    limits = RecyclingLimits(None, 100 * MB)
    assert limits.reason_to_end(10**9, rss=100 * MB) is None
    assert limits.reason_to_end(0, rss=101 * MB) == "it takes 101 MB of memory"


def test_spread() -> None:
    """Processes that start together do not end together; none ends before its limit."""
    limits = RecyclingLimits(1000, MB)
    assert limits.spread(0.0) == limits
    assert limits.spread(1.0) == RecyclingLimits(1100, MB)
    assert RecyclingLimits(None, MB).spread(1.0) == RecyclingLimits(None, MB)


def test_own_memory() -> None:
    """What this process takes is known, and a limit below it is refused."""
    assert 10 * MB < resident_bytes() < 10_000 * MB
    assert own_limits(RecyclingLimits(None, 10_000 * MB)) == RecyclingLimits(None, 10_000 * MB)
    with pytest.raises(UsageError, match=r"takes .* MB before its first job"):
        own_limits(RecyclingLimits(None, MB))
