"""Invalid arguments of a worker are refused by name."""

import pytest

from aiostreamq import Queue, UsageError, Worker


@pytest.mark.parametrize("option", ["concurrency", "threads", "processes", "max_worker_deaths"])
@pytest.mark.parametrize("count", [0, -1, "5", 2.5, None, True])
def test_no_count(option: str, count: object) -> None:
    """A number that leaves nothing to do is refused by its name."""
    with pytest.raises(UsageError, match=rf"^{option}={count!r}: use 1 or more, "):
        Worker(Queue("memory://"), **{option: count})  # pyright: ignore[reportArgumentType]  # they are all of them numbers


@pytest.mark.parametrize("option", ["lease", "loop_block_warning", "shutdown_timeout"])
def test_no_time(option: str) -> None:
    """So is what is no length of time."""
    with pytest.raises(UsageError, match=rf"^{option}=-1 is not a duration: give seconds"):
        Worker(Queue("memory://"), **{option: -1})  # pyright: ignore[reportArgumentType]  # the same


def test_short_lease() -> None:
    """A lease that would cost workers their jobs is refused with the shortest."""
    with pytest.raises(UsageError, match=r"^lease='900ms' would .* use 1 s or more$"):
        Worker(Queue("memory://"), lease="900ms")
