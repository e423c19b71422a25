"""A queue recreates what was deleted from Redis while it works."""

from collections.abc import Awaitable, Callable

import pytest

from aiostreamq.model.keys import GROUP
from aiostreamq.store.connection.link import CommandError
from tests.support.store import Store, outcome_of

Harm = Callable[[Store], Awaitable[object]]


async def flush_scripts(store: Store) -> None:
    """Forget the scripts, as a restart or a failover does."""
    await store.call("SCRIPT", "FLUSH")


async def destroy_group(store: Store) -> None:
    """Lose a group, as an operator may."""
    await store.call("XGROUP", "DESTROY", store.keys.stream("default"), GROUP)


async def delete_stream(store: Store) -> None:
    """Lose a stream with its group."""
    await store.call("DEL", store.keys.stream("default"))


async def flush_all(store: Store) -> None:
    """Lose everything."""
    await store.call("FLUSHALL")
    await store.call("SCRIPT", "FLUSH")


HARM = pytest.mark.parametrize("harm", [flush_scripts, destroy_group, delete_stream, flush_all])


@HARM
async def test_next_job(store: Store, harm: Harm) -> None:
    """Whatever is gone, the next job is enqueued, read, settled and told of."""
    await harm(store)
    await store.enqueue("a")
    await store.queue.create_groups(store.link)
    (delivery,) = await store.read()
    assert await store.settle(delivery) == []
    assert await store.results.subscribe("me", ["a"]) == [outcome_of(delivery)]


@HARM
async def test_each_call(store: Store, harm: Harm) -> None:
    """Every call finds its way by itself."""
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.enqueue("a"),
        lambda: store.results.subscribe("me", ["a"]),
        lambda: store.results.job_state("a"),
        lambda: store.deliveries.settle([], "w1"),
        lambda: store.deliveries.requeue([]),
        lambda: store.deliveries.dead_letter_unreadable([], b"{}", "w1"),
        lambda: store.deliveries.read_all_own("w1"),
        lambda: store.workers.deregister("w1"),
    ]
    for call in calls:
        await harm(store)
        await call()


async def test_group_destroyed_while_a_job_waits(store: Store) -> None:
    """A group that is made again begins with what is still to do."""
    await store.enqueue("a")
    await destroy_group(store)
    with pytest.raises(CommandError, match="NOGROUP"):
        await store.read()
    await store.queue.create_groups(store.link)
    assert [d.job_id for d in await store.read()] == ["a"]


async def test_group_destroyed_while_a_job_runs(store: Store) -> None:
    """Its end counts while nobody else has begun; whoever had begun gets the same answer."""
    delivery = await store.deliver("a")
    await destroy_group(store)
    await store.queue.create_groups(store.link)
    (again,) = await store.read("w2")
    assert await store.settle(delivery) == []
    assert await store.settle(again) == []
    assert await store.read("w3") == []
