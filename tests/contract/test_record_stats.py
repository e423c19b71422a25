"""The counters and the index of jobs that have ended."""

from collections import Counter
from itertools import count
from time import monotonic

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiostreamq.model.delivery import Delivery, Settlement
from aiostreamq.model.job_state import JobState
from aiostreamq.model.stats import RECENT_IDS, STATS_MINUTES, kind_of
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.workers import WorkerRegistry
from tests.support.ends import counters, recent, states
from tests.support.random_examples import scaled
from tests.support.store import HOUR_MS, Store

# As ends.lua has it.
CALLS = count(1)

RECENT_LENGTH = 2000
RECENT_MS = 24 * HOUR_MS
STATS_MS = STATS_MINUTES * 60_000

DONE = kind_of("size", JobState.DONE, 0.01)
FAILED = kind_of("keep", JobState.FAILED, 2.0)


def ended(delivery: Delivery, kind: str = DONE) -> Settlement:
    """Return the end of a delivery, to be counted."""
    return Settlement(delivery, HOUR_MS, b'{"n":%d}' % delivery.number, False, kind, monotonic())


async def settle(store: Store, batch: list[Settlement], worker: str) -> list[Delivery]:
    """End deliveries and count those that were not refused, as a worker does."""
    settled = await store.deliveries.settle(batch, worker)
    await store.deliveries.record_stats(settled.ended, worker, next(CALLS))
    return settled.refused


async def test_counted_once(store: Store) -> None:
    """What ended is counted and named; the same call after a lost reply changes nothing."""
    await store.enqueue("a", "b", "c")
    first, second, third = await store.read()
    batch = [ended(first), ended(second, FAILED), ended(third)]
    assert await settle(store, batch, "w1") == []
    assert await states(store) == {("size", "done"): 2, ("keep", "failed"): 1}
    assert [one[:3] for one in await recent(store)] == [
        ("c", "size", JobState.DONE),
        ("b", "keep", JobState.FAILED),
        ("a", "size", JobState.DONE),
    ]
    told = await counters(store)
    assert (await store.deliveries.settle(batch, "w1")).refused == []
    assert await counters(store) == told
    assert len(await recent(store)) == 3


async def test_refused_is_not_counted(store: Store) -> None:
    """A job that somebody else ends is counted with that end alone."""
    await store.enqueue("a", "b", "c")
    lost, kept, failed = await store.read()
    await store.deliveries.requeue([lost])
    (again,) = await store.read("w2")
    batch = [ended(lost), ended(kept), ended(failed, FAILED)]
    assert await settle(store, batch, "w1") == [lost]
    assert await states(store) == {("size", "done"): 1, ("keep", "failed"): 1}
    assert [one.id for one in await recent(store)] == ["c", "b"]
    assert await settle(store, [ended(again)], "w2") == []
    assert await states(store) == {("size", "done"): 2, ("keep", "failed"): 1}


async def test_count_is_repeated(store: Store) -> None:
    """A call whose reply was lost counts once, whatever others have counted in between."""
    batches = [[ended(one)] for one in (await store.deliver("a"), await store.deliver("b"))]
    await store.deliveries.record_stats(batches[0], "w1", 1)
    await store.deliveries.record_stats(batches[1], "w2", 1)
    await store.deliveries.record_stats(batches[0], "w1", 1)
    assert await states(store) == {("size", "done"): 2}
    assert [one.id for one in await recent(store)] == ["a", "b"]
    await store.deliveries.record_stats(batches[0], "w1", 2)
    assert await states(store) == {("size", "done"): 3}


async def test_end_without_a_state_is_not_counted(store: Store) -> None:
    """What does not say how it ended is in no counter."""
    untold = Settlement(await store.deliver("a"), 0, b"")
    await settle(store, [untold], "w1")
    assert await counters(store) == []
    assert await recent(store) == []


async def test_all_expires(store: Store) -> None:
    """Counters and index go away when nothing ends any more."""
    await settle(store, [ended(await store.deliver("a"))], "w1")
    assert RECENT_MS - 60_000 < await store.pttl(store.keys.recent) <= RECENT_MS
    (name,) = [name for name in await store.key_names() if name.startswith("stats:")]
    for key in (store.keys.prefix + name, store.keys.counted("w1")):
        assert STATS_MS - 60_000 < await store.pttl(key) <= STATS_MS


@pytest.mark.heavy_in_memory
async def test_index_is_bounded(store: Store) -> None:
    """About the last entries are kept, however many jobs end."""
    too_many = RECENT_LENGTH + 500
    for at in range(0, too_many, 500):
        await store.enqueue(*(f"j{n}" for n in range(at, at + 500)))
    deliveries = await store.read(count=too_many)
    for delivery in deliveries:
        await settle(store, [ended(delivery)], "w1")
    kept = [one.id for one in await recent(store)]
    assert RECENT_LENGTH <= len(kept) < RECENT_LENGTH + 200
    assert kept == [delivery.job_id for delivery in deliveries[-len(kept) :]]


async def test_poison(store: Store) -> None:
    """A job that is given up because its workers died is counted and named once, as dead."""
    roster = WorkerRegistry(store.queue)
    await store.enqueue("a", "b")
    await roster.join("w1", 1000)
    poison, other = await store.read("w1")
    assert await roster.recover("w1", "0 1000", 1) == (0, 2, 1)
    assert await states(store) == {("size", "dead"): 2}
    assert await recent(store) == [(job, "size", JobState.DEAD, None) for job in ("b", "a")]
    assert (await roster.recover("w1", "dead", 1)).given_up == 0
    assert await settle(store, [ended(poison), ended(other)], "w1") == [poison, other]
    assert await states(store) == {("size", "dead"): 2}


async def cancel(store: Store, *ids: str) -> None:
    """Cancel jobs, all of which wait."""
    assert await Cancellation(store.queue).cancel(ids) == [b"queued"] * len(ids)


async def test_cancelled_expires(store: Store) -> None:
    """So do they where jobs end without a worker."""
    await store.enqueue("a")
    await cancel(store, "a")
    assert RECENT_MS - 60_000 < await store.pttl(store.keys.recent) <= RECENT_MS
    (name,) = [name for name in await store.key_names() if name.startswith("stats:")]
    assert STATS_MS - 60_000 < await store.pttl(store.keys.prefix + name) <= STATS_MS


async def test_cancelled_of_many_tasks(store: Store) -> None:
    """Each is counted as what it is."""
    tasks = {f"j{at:02}": f"t{at}" for at in range(60)}
    for job_id, task in tasks.items():
        await store.enqueue(job_id, envelope=b'{"v":1,"args":[],"task":"%b"}' % task.encode())
    await cancel(store, *tasks)
    assert await states(store) == {(task, "cancelled"): 1 for task in tasks.values()}
    assert {one.id: one.task for one in await recent(store)} == tasks


async def test_cancelled_without_a_name(store: Store) -> None:
    """A task that cannot be part of a counter's name is counted without one."""
    long = b'{"args":["%b"],"task":"size"}' % (b"x" * 5000)
    odd = (b"", b"{", b"[1]", b'{"task":7}', b'{"task":"a b"}', b'{"task":"a|b|3 9"}', long)
    for at, envelope in enumerate(odd):
        await store.enqueue(f"j{at}", envelope=envelope)
    await cancel(store, *(f"j{at}" for at in range(len(odd))))
    assert await states(store) == {("", "cancelled"): len(odd)}
    assert len(await recent(store)) == len(odd)


async def test_cancelled_of_long_ids(store: Store) -> None:
    """All are counted, and as many named as there is room for."""
    ids = [f"{at}".ljust(256, "x") for at in range(100)]
    await store.enqueue(*ids)
    await cancel(store, *ids)
    assert await states(store) == {("size", "cancelled"): 100}
    kept = [one.id for one in reversed(await recent(store))]
    assert kept == ids[: RECENT_IDS // 257]


async def test_cancelled_beside_strange_keys(store: Store) -> None:
    """What others have put there keeps no job from ending."""
    await store.call("SET", store.keys.recent, "strange")
    await store.enqueue("a")
    await cancel(store, "a")
    assert await store.call("EXISTS", store.keys.result("a")) == 1
    assert await counters(store) == []


@settings(max_examples=scaled(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_sum_of_the_counters(store: Store, data: st.DataObject) -> None:
    """The counters say how many jobs have ended, and the index which.

    Whoever ends them, in whatever batches, and however often a call is repeated.
    """
    await store.call("FLUSHALL")
    await store.queue.create_groups(store.link)
    ids = [f"j{place}" for place in range(12)]
    await store.enqueue(*ids)
    known = await store.read("w1")
    kinds = {job_id: data.draw(st.sampled_from([DONE, FAILED])) for job_id in ids}
    over = Counter[str]()
    for _ in range(data.draw(st.integers(1, 6))):
        if data.draw(st.booleans()):
            alive = [d for d in known if data.draw(st.booleans())]
            await store.deliveries.requeue(alive)
            known += await store.read("w2")
        chosen = data.draw(st.lists(st.sampled_from(known), min_size=1, unique=True, max_size=8))
        batch = [ended(one, kinds[one.job_id]) for one in chosen]
        batch = [one for one in batch if one.delivery.job_id not in over]
        refused = await settle(store, batch, "w1")
        if data.draw(st.booleans()):
            assert (await store.deliveries.settle(batch, "w1")).refused == refused
        over.update(one.delivery.job_id for one in batch if one.delivery not in refused)
    ended_jobs = {job for job in over if await store.call("EXISTS", store.keys.result(job))}
    assert ended_jobs == set(over)
    expected = Counter(tuple(kinds[job].split("|")[:2]) for job in ended_jobs)
    assert await states(store) == expected
    assert sorted(one.id for one in await recent(store)) == sorted(ended_jobs)
