"""unpark.lua: parked jobs return to the queue."""

from aiostreamq.store.delayed import PROMOTE_LIMIT
from tests.support.store import Store


async def test_unpark_looks_at_no_task_if_nothing_is_parked(store: Store) -> None:
    """Idle workers ask again and again, for however many tasks they know."""
    await store.call("SET", store.keys.prefix + "parked:t", "no stream: looking would raise")
    assert await store.parking.unpark(["t"]) == 0


async def test_unpark_moves_a_bounded_number(store: Store) -> None:
    """All of them come back, however many they are."""
    ids = [f"j{number}" for number in range(PROMOTE_LIMIT + 10)]
    await store.enqueue(*ids)
    read = await store.read(count=1_000)
    assert await store.parking.park([(delivery, "t") for delivery in read]) == len(ids)
    assert await store.parking.unpark(["t"]) == len(ids)
    assert sorted(d.job_id for d in await store.read(count=1_000)) == sorted(ids)
