"""unpark.lua: parked jobs return to the queue."""

from aiostreamq.store.delayed import PROMOTE_LIMIT
from tests.support.store import Store, calls_of


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


async def test_a_worker_that_knows_many_tasks(store: Store) -> None:
    """Only the tasks are looked at for which jobs are parked: a call took longer than its jobs."""
    await store.enqueue("a", "b", "c")
    held = await store.read(count=3)
    tasks = [f"t{number}" for number in range(3000)]
    await store.parking.park(list(zip(held, ["t7", "t7", "t2000"], strict=True)))
    before = await calls_of(store, "xrange")
    assert await store.parking.unpark([*tasks, "unknown"]) == 3
    looks = await calls_of(store, "xrange") - before
    assert looks <= 5, "each job, and what comes behind the last of a task"
    assert {one.job_id for one in await store.read("w2")} == {"a", "b", "c"}
    assert await store.parking.are_any_set_aside() == (False, False)
