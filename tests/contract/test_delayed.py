"""delay, promote and retry: jobs for later, each once."""

from typing import cast

import pytest

from aiostreamq.model.delivery import RetryRequest, Settlement, WaiterMode
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.delayed import PROMOTE_LIMIT
from aiostreamq.store.results import Subscription
from tests.support.store import ENVELOPE, Store

LONG_AGO = "1000"


async def delay(store: Store, job_id: str, due: str, mark: str = WaiterMode.NOBODY) -> set[int]:
    """Keep one job for later."""
    return await store.delayed.delay([(job_id, DEFAULT_LANE, mark, due, ENVELOPE)], "me", 5)


async def words(store: Store) -> int:
    """How often the workers were told something."""
    return cast("int", await store.call("XLEN", store.keys.control))


async def test_job_waits_until_it_is_due(store: Store) -> None:
    """Before its time nothing can be read, and the time until then is told."""
    await delay(store, "j", "+60000")
    moved, wait = await store.delayed.promote()
    assert moved == 0
    assert wait == pytest.approx(45, abs=15)
    assert await store.read() == []
    assert await store.results.job_state("j") == b"delayed"
    assert await store.results.subscribe("me", ["j"]) == [Subscription.WILL_TELL]


async def test_due_job_is_in_its_lane(store: Store) -> None:
    """It is a job like any other then, and promoting again finds nothing."""
    await delay(store, "j", LONG_AGO, WaiterMode.CALLER)
    assert await store.delayed.promote() == (1, None)
    assert await store.delayed.promote() == (0, None)
    assert await store.results.job_state("j") == b"queued"
    [delivery] = await store.read()
    assert (delivery.job_id, delivery.number, delivery.attempt) == ("j", 1, 1)
    assert delivery.envelope == ENVELOPE
    await store.deliveries.settle([Settlement(delivery, 60_000, b'{"state":"done","n":1}')], "a")
    assert await store.call("LPOP", store.keys.inbox("me")) is not None


async def test_id_is_taken_while_it_waits(store: Store) -> None:
    """A delay that is repeated after a lost reply makes one job, and keeps its time."""
    assert await delay(store, "j", "+60000") == set()
    assert await delay(store, "j", LONG_AGO) == {0}
    assert await store.enqueue("j") == {0}
    assert (await store.delayed.promote())[0] == 0


async def test_one_call_moves_a_bounded_number(store: Store) -> None:
    """What is left is due at once; nothing is lost or moved twice."""
    ids = [f"j{number}" for number in range(PROMOTE_LIMIT + 10)]
    jobs = [(job_id, DEFAULT_LANE, WaiterMode.NOBODY, LONG_AGO, ENVELOPE) for job_id in ids]
    await store.delayed.delay(jobs, "me", 5)
    assert await store.delayed.promote() == (PROMOTE_LIMIT, 0)
    assert await store.delayed.promote() == (10, None)
    assert sorted(d.job_id for d in await store.read(count=1_000)) == sorted(ids)


async def test_workers_are_woken_by_what_is_earlier(store: Store) -> None:
    """Only a job that is due before all others is worth a word."""
    await delay(store, "a", "+60000")
    await delay(store, "b", "+90000")
    assert await words(store) == 1
    await delay(store, "c", "+30000")
    assert await words(store) == 2


async def test_retry_at_once(store: Store) -> None:
    """The next attempt is a new delivery, ahead of what waits."""
    await store.enqueue("j")
    [first] = await store.read()
    assert await store.delayed.retry([RetryRequest(first, 0)]) == []
    [second] = await store.read("b")
    assert (second.job_id, second.number, second.attempt) == ("j", 2, 2)
    assert store.queue.streams[second.stream - 1].endswith(":returned")


async def test_retry_later(store: Store) -> None:
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
async def test_repeated_retry(store: Store, delay_ms: int) -> None:
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


async def test_retry_after_others_have_retried(store: Store) -> None:
    """The attempt of another worker, which has taken the job over, is not taken for one's own."""
    await store.enqueue("j")
    await store.workers.join("a", 1_000)
    [old] = await store.read("a")
    await store.workers.recover("a", "0 1000", 3)
    [new] = await store.read("b")
    assert await store.delayed.retry([RetryRequest(new, 60_000)]) == []
    assert await store.delayed.retry([RetryRequest(old, 60_000)]) == [old]


async def test_repeated_retry_of_a_cancelled_job(store: Store) -> None:
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


async def test_parked_job_is_released(store: Store) -> None:
    """It leaves the stream, can be waited for, and comes back as it was for those who know it."""
    await store.enqueue("j")
    [first] = await store.read("a")
    assert await store.parking.park([(first, "t")]) == 1
    assert await store.parking.park([(first, "t")]) == 0, "it is not ours any more"
    assert await store.results.job_state("j") == b"parked"
    assert await store.results.subscribe("me", ["j"]) == [Subscription.WILL_TELL]
    assert await store.parking.unpark(["other"]) == 0
    assert await store.parking.unpark(["other", "t"]) == 1
    assert await store.parking.unpark(["t"]) == 0
    [second] = await store.read("b")
    assert (second.job_id, second.envelope, second.attempt) == ("j", ENVELOPE, 1)
    assert await store.call("EXISTS", store.keys.prefix + "parked:t") == 0


async def test_tasks_are_not_looked_at_where_nothing_is_parked(store: Store) -> None:
    """Idle workers ask again and again, for however many tasks they know."""
    await store.call("SET", store.keys.prefix + "parked:t", "no stream: looking would raise")
    assert await store.parking.unpark(["t"]) == 0


async def test_many_parked_jobs_are_released_in_bounded_steps(store: Store) -> None:
    """All of them come back, however many they are."""
    ids = [f"j{number}" for number in range(PROMOTE_LIMIT + 10)]
    await store.enqueue(*ids)
    read = await store.read(count=1_000)
    assert await store.parking.park([(delivery, "t") for delivery in read]) == len(ids)
    assert await store.parking.unpark(["t"]) == len(ids)
    assert sorted(d.job_id for d in await store.read(count=1_000)) == sorted(ids)
