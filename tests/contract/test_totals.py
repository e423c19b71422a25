"""The totals of ended jobs, which never fall."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiostreamq.model.delivery import Settlement
from aiostreamq.model.job_state import JobState
from aiostreamq.model.stats import BOUNDS, UNKNOWN, kind_of
from aiostreamq.model.totals import OTHER_TASKS, TOTAL_BOUNDS, TaskTotals, read_totals
from aiostreamq.store.inspect.snapshot import TOTALS_PAGE, totals_of
from tests.contract.test_record_stats import CALLS
from tests.support.random_examples import scaled
from tests.support.store import HOUR_MS, Store

# As stats.lua has it.
MOST_TOTALS = 20_000


async def totals(store: Store) -> dict[str, TaskTotals]:
    """Return the totals by task."""
    return {one.name: one for one in read_totals(await totals_of(store.queue))}


async def count(store: Store, kinds: list[str]) -> None:
    """Count ends of these kinds, in one call."""
    delivery = await store.deliver("a")
    now = store.queue.clock.now_ms() / 1000  # not waited at all, by the clock of the tally
    batch = [Settlement(delivery, HOUR_MS, b"", False, kind, now) for kind in kinds]
    await store.deliveries.record_stats(batch, "w1", next(CALLS))


ends = st.tuples(
    st.sampled_from(["size", "keep", "a.b:c-d"]),
    st.sampled_from([JobState.DONE, JobState.FAILED, JobState.TIMED_OUT]),
    st.none() | st.floats(0, 200_000),
)


@settings(max_examples=scaled(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.lists(ends, min_size=1, max_size=30))
async def test_totals_are_the_ends(
    store: Store, data: list[tuple[str, JobState, float | None]]
) -> None:
    """Each end counts for its task, its state, and the bucket of the time that it ran."""
    await store.call("FLUSHALL")
    await store.queue.create_groups(store.link)
    await count(store, [kind_of(*end) for end in data])
    found = await totals(store)
    assert set(found) == {task for task, _, _ in data}
    for name, one in found.items():
        states = [state for task, state, _ in data if task == name]
        assert one.ended == {state: states.count(state) for state in states}
        ran = [seconds for task, _, seconds in data if task == name and seconds is not None]
        for bound, below in zip(one.ran.bounds, _running_sums(one.ran.counts), strict=False):
            assert below == sum(seconds < bound for seconds in ran)
        assert one.ran.count == len(ran)
        assert one.waited.count == len(states)


def _running_sums(counts: tuple[int, ...]) -> list[int]:
    return [sum(counts[: place + 1]) for place in range(len(counts))]


@pytest.mark.parametrize("bound", TOTAL_BOUNDS)
async def test_bounds(store: Store, bound: float) -> None:
    """A time at a bound is above it, and one just below it is below."""
    kinds = [kind_of("size", JobState.DONE, seconds) for seconds in (bound, bound * 0.999)]
    await count(store, kinds)
    ran = (await totals(store))["size"].ran
    place = TOTAL_BOUNDS.index(bound)
    assert (ran.counts[place], ran.counts[place + 1]) == (1, 1)


async def test_estimated_sum(store: Store) -> None:
    """The sum is right within the width of a bucket."""
    times = [0.003, 0.02, 0.5, 2.0, 70.0]
    await count(store, [kind_of("size", JobState.DONE, seconds) for seconds in times])
    ran = (await totals(store))["size"].ran
    assert sum(times) / 4 < ran.estimated_sum < sum(times) * 4


async def test_repeated_call(store: Store) -> None:
    """The same call after a lost reply changes nothing."""
    delivery = await store.deliver("a")
    batch = [Settlement(delivery, HOUR_MS, b"", False, kind_of("size", JobState.DONE, 1.0), 0.0)]
    number = next(CALLS)
    for _ in range(2):
        await store.deliveries.record_stats(batch, "w1", number)
    assert (await totals(store))["size"].ended == {JobState.DONE: 1}


async def test_totals_do_not_expire(store: Store) -> None:
    """They stay as long as the queue does."""
    await count(store, [kind_of("size", JobState.DONE, 1.0)])
    assert await store.pttl(store.keys.totals) == -1


async def test_number_of_fields_is_bounded(store: Store) -> None:
    """Tasks that come when there are too many are counted as others, and none is lost."""
    known = [part for at in range(MOST_TOTALS) for part in (f"t{at}|done|{UNKNOWN}", "1")]
    for at in range(0, len(known), 2000):
        await store.call("HSET", store.keys.totals, *known[at : at + 2000])
    kinds = [kind_of("t7", JobState.DONE, None)]
    kinds += [kind_of(task, JobState.FAILED, 1.0) for task in ("new", "newer", "new")]
    await count(store, kinds)
    fields = cast("int", await store.call("HLEN", store.keys.totals))
    assert fields <= MOST_TOTALS + 2 * len(BOUNDS)
    found = await totals(store)
    assert found["t7"].ended == {JobState.DONE: 2}
    assert "new" not in found
    assert found[OTHER_TASKS].ended == {JobState.FAILED: 3}
    assert found[OTHER_TASKS].ran.count == 3


@pytest.mark.parametrize("fields", [0, 1, TOTALS_PAGE * 3])
async def test_all_pages_are_read(store: Store, fields: int) -> None:
    """They are read page by page, whatever their number."""
    if fields:
        flat = [part for at in range(fields) for part in (f"t{at}|done|3", "2")]
        await store.call("HSET", store.keys.totals, *flat)
    found = await totals(store)
    assert len(found) == fields
    assert all(one.ended == {JobState.DONE: 2} for one in found.values())


@pytest.mark.parametrize(
    "field", ["", "|", "size", "size|done", "size|nothing|3", "size|done|3|4", "size|done|x"]
)
async def test_unreadable_counters(store: Store, field: str) -> None:
    """Fields that another program has put there do not hide the rest."""
    await store.call("HSET", store.keys.totals, field, "1", "size|failed|3", "2", "size|done|1", "")
    (found,) = [one for one in (await totals(store)).values() if one.name == "size"]
    assert found.ended.get(JobState.FAILED) == 2
    assert found.ran.count == 2
