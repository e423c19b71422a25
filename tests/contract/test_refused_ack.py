"""Redis refuses to acknowledge: what a script would take from a worker stays with the worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from aiostreamq.errors import BrokerError
from aiostreamq.model.delivery import Delivery, RetryRequest
from aiostreamq.model.outcome import encode_unreadable
from tests.support.redis_server import RedisServer
from tests.support.store import Store

Step = Callable[[Store, Delivery], Awaitable[object]]


async def recover(store: Store) -> object:
    """Take what a worker has from it, as it shows no further sign of life."""
    beats = await store.hash_at(store.keys.workers)
    return await store.workers.recover("w1", beats["w1"], 3)


#: Each step that takes a delivery from its worker.
STEPS: dict[str, Step] = {
    "retry": lambda store, one: store.delayed.retry([RetryRequest(one, 0)]),
    "requeue": lambda store, one: store.deliveries.requeue([one]),
    "park": lambda store, one: store.parking.park([(one, "t")]),
    "dead_letter_unreadable": lambda store, one: store.deliveries.dead_letter_unreadable(
        [(one.stream, one.entry)], encode_unreadable("no"), "w1"
    ),
    "recover_worker": lambda store, _: recover(store),
    "settle": lambda store, one: store.settle(one),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
async def test_delivery_stays_with_its_worker(own_redis_server: RedisServer, step: Step) -> None:
    """The step raises; once Redis allows it, the same step passes."""
    async with Store(own_redis_server.url) as store:
        await store.workers.join("w1", 1000)
        await store.enqueue("a")
        (delivery,) = await store.read()
        job = await store.hash_at(store.keys.job("a"))
        own_redis_server.ask("ACL", "SETUSER", "default", "-xack")
        with pytest.raises(BrokerError):
            await step(store, delivery)
        assert await store.hash_at(store.keys.job("a")) == job
        assert (await store.pending(), await store.consumers()) == (1, {"w1"})
        own_redis_server.ask("ACL", "SETUSER", "default", "+xack")
        await step(store, delivery)
        assert await store.pending() == 0
