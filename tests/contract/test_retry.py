"""retry.lua: a job gets its next attempt, once."""

import pytest

from aiostreamq.model.delivery import RetryRequest, WaiterMode
from aiostreamq.store.cancellation import Cancellation
from tests.support.store import ENVELOPE, Store


async def test_retry_without_delay_returns_the_job_at_once(store: Store) -> None:
    """The next attempt is a new delivery, ahead of what waits."""
    await store.enqueue("j")
    [first] = await store.read()
    assert await store.delayed.retry([RetryRequest(first, 0)]) == []
    [second] = await store.read("b")
    assert (second.job_id, second.number, second.attempt) == ("j", 2, 2)
    assert store.queue.streams[second.stream - 1].endswith(":returned")


async def test_retry_with_delay_keeps_the_job(store: Store) -> None:
    """The job keeps its id, its payload and its count of attempts while it waits."""
    await store.enqueue("j", mark=WaiterMode.CALLER)
    [first] = await store.read()
    await store.delayed.retry([RetryRequest(first, 1)])
    assert await store.results.job_state("j") == b"delayed"
    while not (await store.delayed.promote())[0]:
        pass
    [second] = await store.read()
    assert (second.number, second.attempt, second.envelope) == (2, 2, ENVELOPE)
    await store.delayed.retry([RetryRequest(second, 0)])
    [third] = await store.read()
    assert (third.number, third.attempt) == (3, 3)


async def test_late_retry_is_refused(store: Store) -> None:
    """A worker that has lost the job can not send it round again."""
    await store.enqueue("j")
    await store.workers.join("a", 1_000)
    [old] = await store.read("a")
    await store.workers.recover("a", "0 1000", 3)
    assert await store.delayed.retry([RetryRequest(old, 0)]) == [old]
    [new] = await store.read("b")
    assert (new.number, new.attempt) == (2, 1)
    assert await store.read("b") == []


@pytest.mark.parametrize("delay_ms", [0, 1, 60_000])
async def test_repeated_retry_changes_nothing(store: Store, delay_ms: int) -> None:
    """Repeated after a lost reply it is not refused, wherever the next attempt has got to."""
    await store.enqueue("j")
    [first] = await store.read("a")
    assert await store.delayed.retry([RetryRequest(first, delay_ms)]) == []
    assert await store.delayed.retry([RetryRequest(first, delay_ms)]) == []
    if delay_ms == 60_000:
        assert await store.results.job_state("j") == b"delayed"
        return
    while delay_ms and not (await store.delayed.promote())[0]:
        pass
    assert await store.delayed.retry([RetryRequest(first, delay_ms)]) == []
    [second] = await store.read("b")
    assert (second.number, second.attempt) == (2, 2)
    assert await store.delayed.retry([RetryRequest(first, delay_ms)]) == []
    assert await store.read("b") == []


async def test_retry_after_others_have_retried_is_refused(store: Store) -> None:
    """The attempt of another worker, which has taken the job over, is not taken for one's own."""
    await store.enqueue("j")
    await store.workers.join("a", 1_000)
    [old] = await store.read("a")
    await store.workers.recover("a", "0 1000", 3)
    [new] = await store.read("b")
    assert await store.delayed.retry([RetryRequest(new, 60_000)]) == []
    assert await store.delayed.retry([RetryRequest(old, 60_000)]) == [old]


async def test_repeated_retry_of_a_cancelled_job_is_accepted(store: Store) -> None:
    """It has ended as was asked, which is nothing to complain of."""
    await store.enqueue("j")
    [first] = await store.read("a")
    await Cancellation(store.queue).cancel(["j"])
    assert await store.delayed.retry([RetryRequest(first, 0)]) == []
    assert await store.delayed.retry([RetryRequest(first, 0)]) == []
    assert await store.read("b") == []


async def test_attempts_do_not_count_as_deaths(store: Store) -> None:
    """A job that was retried often is not given up for one worker that died with it."""
    await store.enqueue("j")
    for _ in range(5):
        [delivery] = await store.read("a")
        await store.delayed.retry([RetryRequest(delivery, 0)])
    await store.workers.join("b", 1_000)
    await store.read("b")
    reaped = await store.workers.recover("b", "0 1000", 3)
    [delivery] = await store.read("c")
    assert (reaped.returned, reaped.given_up) == (1, 0)
    assert (delivery.number, delivery.attempt) == (7, 6)
