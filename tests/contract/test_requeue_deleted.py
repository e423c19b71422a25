"""What a worker has continues although its stream was deleted beneath it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import pytest

from aiostreamq.errors import BrokerError
from aiostreamq.model.delivery import Delivery, RetryRequest, WaiterMode
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.connection.link import Argument, Reply
from tests.support.store import ENVELOPE, Store, outcome_of

Act = Callable[[Store, Delivery], Awaitable[object]]

LATER_MS = 60_000


async def retry(store: Store, delivery: Delivery) -> object:
    """Have the job run again at once."""
    return await store.delayed.retry([RetryRequest(delivery, 0)])


async def hand_back(store: Store, delivery: Delivery) -> object:
    """Give the job to another."""
    return await store.deliveries.requeue([delivery])


async def park(store: Store, delivery: Delivery) -> object:
    """Set the job aside."""
    return await store.parking.park([(delivery, "size")])


async def delete_stream(store: Store, delivery: Delivery) -> None:
    """Lose all that is in it, and make it anew as a worker's next read does."""
    await store.call("DEL", store.queue.streams[delivery.stream - 1])
    await store.queue.create_groups(store.link)


async def delete_entry(store: Store, delivery: Delivery) -> None:
    """Lose the one."""
    await store.call("XDEL", store.queue.streams[delivery.stream - 1], delivery.entry)


HARM = pytest.mark.parametrize("harm", [delete_stream, delete_entry])
ACTS = pytest.mark.parametrize(("act", "attempt"), [(retry, 2), (hand_back, 1), (park, 1)])


async def read_again(store: Store) -> Delivery:
    """Be the next worker."""
    await store.delayed.promote()
    [again] = await store.read("w2")
    return again


@HARM
@ACTS
async def test_next_run(
    store: Store, harm: Callable[[Store, Delivery], Awaitable[None]], act: Act, attempt: int
) -> None:
    """Whoever is next has the whole job, and whoever awaits it is told."""
    delivery = await store.deliver("a", mark=WaiterMode.CALLER)
    await harm(store, delivery)
    await act(store, delivery)
    again = await read_again(store)
    assert (again.job_id, again.number, again.envelope) == ("a", 2, ENVELOPE)
    assert again.attempt == attempt
    assert await store.settle(again) == []
    assert await store.results.subscribe("me", ["a"]) == [outcome_of(again)]
    assert len(await store.list_at(store.keys.inbox("me"))) == 1


@ACTS
async def test_repeated(store: Store, act: Act, attempt: int) -> None:
    """Told again after a lost reply it is there once, and no loss of the worker's."""
    delivery = await store.deliver("a")
    await delete_stream(store, delivery)
    assert await act(store, delivery) == await act(store, delivery)
    assert (await read_again(store)).attempt == attempt


async def test_retry_later(store: Store) -> None:
    """The next attempt begins no sooner, and workers are told of it."""
    delivery = await store.deliver("a")
    await delete_stream(store, delivery)
    assert await store.delayed.retry([RetryRequest(delivery, LATER_MS)]) == []
    moved, wait = await store.delayed.promote()
    assert moved == 0
    assert wait == pytest.approx(LATER_MS / 1000, abs=1)
    assert await store.call("XLEN", store.keys.control) == 1


async def test_beside_others(store: Store) -> None:
    """Those whose entries are there go the usual way."""
    await store.enqueue("a")
    await store.enqueue("b", lane="slow")
    [a, b] = await store.read()
    await delete_stream(store, a)
    assert await store.deliveries.requeue([a, b]) == 2
    await store.delayed.promote()
    assert {d.job_id for d in await store.read("w2")} == {"a", "b"}


@ACTS
async def test_all_is_flushed(store: Store, act: Act, attempt: int) -> None:
    """A job whose hash is gone as well was meant to go."""
    assert attempt
    delivery = await store.deliver("a")
    await store.call("FLUSHALL")
    await act(store, delivery)
    await store.queue.create_groups(store.link)
    await store.delayed.promote()
    assert await store.read("w2") == []


@ACTS
async def test_others_have_it(store: Store, act: Act, attempt: int) -> None:
    """What was recovered from a worker is not brought back by it."""
    assert attempt
    delivery = await store.deliver("a")
    await store.deliveries.requeue([delivery])
    [again] = await store.read("w2")
    await delete_stream(store, delivery)
    await act(store, delivery)
    await store.delayed.promote()
    assert await store.read("w3") == []
    assert await store.settle(again) == []


async def test_waits_still(store: Store) -> None:
    """Where the group alone was deleted, Redis sends the job again: not a second one."""
    delivery = await store.deliver("a")
    await store.call("XGROUP", "DESTROY", store.keys.stream("default"), "aiostreamq")
    await store.queue.create_groups(store.link)
    assert await store.delayed.retry([RetryRequest(delivery, 0)]) == [delivery]
    assert (await read_again(store)).number == 1


async def test_ended(store: Store) -> None:
    """An end that kept nothing stays the end."""
    delivery = await store.deliver("a")
    await store.settle(delivery, keep_ms=0)
    assert await store.deliveries.requeue_deleted([RetryRequest(delivery, 0)]) == [0]
    assert (await store.delayed.promote())[0] == 0


async def test_cancelled(store: Store) -> None:
    """A job that was cancelled while it ran ends instead."""
    delivery = await store.deliver("a")
    await Cancellation(store.queue).cancel(["a"])
    await delete_stream(store, delivery)
    assert await store.delayed.retry([RetryRequest(delivery, 0)]) == []
    assert (await store.delayed.promote())[0] == 0
    assert b"cancelled" in cast("bytes", await store.results.job_state("a"))


async def test_foreign_key(store: Store) -> None:
    """Where something else is in the place of `delayed` the job stays as it is."""
    delivery = await store.deliver("a")
    await delete_stream(store, delivery)
    await store.call("SET", store.keys.delayed, "?")
    with pytest.raises(BrokerError, match="WRONGTYPE"):
        await store.deliveries.requeue_deleted([RetryRequest(delivery, 0)])
    await store.call("DEL", store.keys.delayed)
    assert await store.deliveries.requeue_deleted([RetryRequest(delivery, 0)]) == []
    assert (await read_again(store)).job_id == "a"


@pytest.mark.parametrize(
    ("sizes", "calls"),
    [
        ([], []),
        ([10] * 250, [250]),
        ([400_000] * 5, [2, 2, 1]),
        ([2_000_000] * 3, [1, 1, 1]),
        ([10, 2_000_000, 10, 999_900, 80, 30], [1, 1, 3, 1]),
    ],
    ids=["none", "small", "some", "each too large", "mixed"],
)
async def test_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch, sizes: list[int], calls: list[int]
) -> None:
    """One call has a megabyte of payloads at most, or one job; the places are those of all."""
    for number, size in enumerate(sizes):
        await store.enqueue(f"{number}", envelope=b"x" * size)
    held = await store.read(count=len(sizes)) if sizes else []
    await store.call("DEL", store.keys.stream("default"))
    await store.queue.create_groups(store.link)
    ended = [one for one in held if one.job_id in {"0", f"{len(sizes) - 1}"}]
    for delivery in ended:
        await store.settle(delivery, keep_ms=0)
    sent: list[int] = []
    run = store.queue.run

    async def noted(script: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Reply:
        sent.append((len(arguments) - 1) // 7)
        return await run(script, keys, arguments)

    monkeypatch.setattr(store.queue, "run", noted)
    kept = await store.deliveries.requeue_deleted([RetryRequest(one, 0) for one in held])
    assert sent == calls
    assert [held[place] for place in kept] == ended
    monkeypatch.undo()
    while (await store.delayed.promote())[0]:
        pass
    again = await store.read("w2", count=len(sizes)) if sizes else []
    given = {one.job_id: len(one.envelope) for one in held if one not in ended}
    assert {one.job_id: len(one.envelope) for one in again} == given
