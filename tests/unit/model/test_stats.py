"""Counters of ended jobs, written and read."""

from collections import Counter
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiostreamq.model.delivery import Delivery, Settlement
from aiostreamq.model.job_state import JobState
from aiostreamq.model.stats import (
    BOUNDS,
    RECENT_IDS,
    SHORTEST,
    Kinds,
    Tally,
    kind_of,
    middle_of,
    percentiles,
    read_recent,
    read_stats,
    tally_of,
)

NOW_MS = 1_764_000_000_000
NOW = 5_000.0  # the same by the monotonic clock

ENDS = (JobState.DONE, JobState.FAILED, JobState.TIMED_OUT, JobState.EXPIRED)
kinds = st.builds(
    kind_of,
    st.sampled_from(["size", "a.b:c-d_e"]),
    st.sampled_from(ENDS),
    st.none() | st.floats(0, 1e6),
)


def settlement(job_id: str, kind: str, waited: float = 0.0, ran: float = 0.0) -> Settlement:
    """Return the end of a job that was added so many seconds before it ran."""
    added = NOW_MS - round((waited + ran) * 1000)
    delivery = Delivery(2, b"%d-0" % added, job_id, 1, b"{}")
    return Settlement(delivery, 1000, b"{}", False, kind, NOW - ran)


def tally(*batch: Settlement, late: float = 0.0) -> Tally:
    """Add a batch up, so many seconds after the last of it ended."""
    return tally_of(batch, NOW_MS + late * 1000, NOW + late)


def counted(fields: str) -> Iterable[tuple[bytes, bytes]]:
    """Return fields and numbers."""
    parts = fields.encode().split()
    return zip(parts[::2], parts[1::2], strict=True)


def entry_of(told: Tally) -> dict[bytes, bytes]:
    """Return the entry of `recent` that record_stats.lua makes of it."""
    return {b"kinds": told.kinds.encode(), b"codes": told.codes.encode(), b"ids": told.ids.encode()}


@given(st.lists(kinds, min_size=1, max_size=250))
def test_counters_add_up(batch: list[str]) -> None:
    """Whatever ends, each job is counted once, with what it was and how long it had waited."""
    told = tally(*(settlement(f"j{place}", kind) for place, kind in enumerate(batch)))
    counts = {kind.decode(): int(n) for kind, n in counted(told.kinds)}
    assert Counter(counts) == Counter(batch)
    assert sum(int(n) for _, n in counted(told.waits)) == len(batch)
    ended = read_recent(entry_of(told))
    assert [one.id for one in ended] == [f"j{place}" for place in reversed(range(len(batch)))]
    assert [f"{one.task}|{one.state}" for one in reversed(ended)] == [
        kind.rpartition("|")[0] for kind in batch
    ]
    read = read_stats([counted(told.kinds), counted(told.waits)])
    assert sum(one.total for one in read.values()) == len(batch)
    ran = [kind for kind in batch if not kind.endswith("-")]
    assert sum(sum(one.ran.values()) for one in read.values()) == len(ran)
    assert sum(one.ran is not None for one in ended) == len(ran)


@given(st.floats(0, 3e5))
def test_kind_of_what_returned(ran: float) -> None:
    """The kinds that are made once are those that are made each time."""
    bucket = sum(ran >= bound for bound in BOUNDS)
    assert Kinds()["size"][bucket] == kind_of("size", JobState.DONE, ran)


@pytest.mark.parametrize("late", [0.0, 60.0])
def test_wait(late: float) -> None:
    """How long jobs had waited is told of the first of each task, whenever they are counted."""
    done = kind_of("size", JobState.DONE, 1.0)
    other = kind_of("keep", JobState.DONE, 0.0)
    told = tally(
        settlement("a", done, waited=10, ran=1),
        settlement("b", done, waited=2, ran=1),
        settlement("c", other, waited=0.001),
        late=late,
    )
    read = read_stats([counted(told.waits)])
    assert median(read["size"].waited) == pytest.approx(10, rel=0.2)
    assert sum(read["size"].waited.values()) == 2
    assert median(read["keep"].waited) == pytest.approx(0.001, rel=0.2)


def test_not_counted() -> None:
    """Those who do not say what ended do not count it; nor does nothing."""
    assert tally() == Tally()
    assert tally(settlement("a", "")) == Tally()


def test_long_ids() -> None:
    """An entry holds whole ids, as many as there is room for, and the kinds of all."""
    done = kind_of("size", JobState.DONE, 0.0)
    ids = [f"{place}".ljust(256, "x") for place in range(200)]
    told = tally(*(settlement(job_id, done) for job_id in ids))
    assert len(told.ids) <= RECENT_IDS
    kept = [one.id for one in reversed(read_recent(entry_of(told)))]
    assert kept == ids[: len(kept)]
    assert len(kept) == (RECENT_IDS + 1) // 257
    assert told.kinds == f"{done} 200"


def median(buckets: Mapping[int, int]) -> float:
    """Return the seconds that half of the jobs did not exceed."""
    return percentiles(sorted(buckets.items()), [0.5])[0]


@given(st.lists(st.floats(SHORTEST, 86_400), min_size=1, max_size=50), st.floats(0.01, 1))
def test_percentile(took: list[float], share: float) -> None:
    """It is right to a fifth."""
    buckets = Counter(sum(one >= bound for bound in BOUNDS) for one in took)
    ordered = sorted(took)
    exact = {ordered[min(len(took) - 1, max(0, int(share * len(took)) - off))] for off in (0, 1)}
    (found,) = percentiles(sorted(buckets.items()), [share])
    assert any(found == pytest.approx(one, rel=0.2) for one in exact)


def test_percentiles_together() -> None:
    """Each is what it would be alone."""
    buckets = [(3, 10), (7, 1), (20, 89)]
    shares = (0.0, 0.1, 0.105, 0.5, 1.0)
    alone = [percentiles(buckets, [share])[0] for share in shares]
    assert percentiles(buckets, shares) == alone
    assert alone == [middle_of(3), middle_of(3), middle_of(7), middle_of(20), middle_of(20)]


def test_ends_of_the_scale() -> None:
    """What is shorter or longer than all buckets is told as their ends."""
    assert 0 < middle_of(0) < SHORTEST
    assert middle_of(len(BOUNDS)) == middle_of(99) == BOUNDS[-1]


def test_never_ran() -> None:
    """A job that never ran says nothing about how long its task runs."""
    read = read_stats([counted(f"{kind_of('size', JobState.EXPIRED, None)} 3 size|done|5 1")])
    assert read["size"].states == {JobState.EXPIRED: 3, JobState.DONE: 1}
    assert sum(read["size"].ran.values()) == 1


@pytest.mark.parametrize(
    "field",
    [
        "",
        "size",
        "size|done",
        "size|done|",
        "size||3",
        "size|new|3",
        "size|new|-",
        "size|wait|-",
        "size|done|x",
        "a|b|c|d",
    ],
)
def test_strange_counters(field: str) -> None:
    """What is not known here is left out: newer releases may count more."""
    (ends,) = read_stats([[(field.encode(), b"1")]]).values()
    assert (ends.total, ends.states, ends.ran, ends.waited) == (0, {}, {}, {})


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"1.5", b"\xff"])
def test_strange_numbers(value: bytes) -> None:
    """What is not a number counts nothing."""
    read = read_stats([[(b"size|done|5", value)], [(b"size|done|5", b"2")]])
    assert read["size"].total == 2


@given(
    st.lists(
        st.dictionaries(
            st.tuples(st.sampled_from("ab"), st.sampled_from(["done|3", "failed|-", "wait|2"])),
            st.integers(1, 9),
        )
    )
)
def test_minutes_add_up(minutes: list[dict[tuple[str, str], int]]) -> None:
    """Each task has the sum of its counters, although tasks with the same ones are alike."""
    read = read_stats(
        [(f"{task}|{kind}".encode(), b"%d" % n) for (task, kind), n in minute.items()]
        for minute in minutes
    )
    for task in "ab":
        done, failed, waited = (
            sum(minute.get((task, kind), 0) for minute in minutes)
            for kind in ("done|3", "failed|-", "wait|2")
        )
        if ends := read.get(task):
            counts = (JobState.DONE, done), (JobState.FAILED, failed)
            assert ends.states == {state: count for state, count in counts if count}
            assert ends.ran == ({3: done} if done else {})
            assert ends.waited == ({2: waited} if waited else {})
            assert ends.total == done + failed
        else:
            assert (done, failed, waited) == (0, 0, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {b"kinds": b"size|done|0 1", b"codes": b"zz", b"ids": b"a"},
        {b"kinds": b"size|done|0 1", b"codes": b"07", b"ids": b"a"},
        {b"kinds": b"size|new|0 1", b"codes": b"00", b"ids": b"a"},
        {b"kinds": b"\xff", b"codes": b"00", b"ids": b"a"},
    ],
)
def test_strange_entries(fields: dict[bytes, bytes]) -> None:
    """An entry that is none of ours names no jobs."""
    assert read_recent(fields) == []
