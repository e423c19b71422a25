"""take: what a worker is given of several lanes."""

from collections import Counter

import pytest

from aiostreamq.store import lane_reader
from aiostreamq.store.lane_reader import LaneReader
from aiostreamq.store.reads import Read
from tests.support.store import Store

WEIGHTS = {"slow": 1, "default": 4}

#: More lanes than one command of the script for many lanes names.
THOUSANDS = {f"tenant{number}": 1 + number % 3 for number in range(2500)}


@pytest.fixture(autouse=True, params=["few", "many"])
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by the script for few lanes, and by that for many."""
    if request.param == "many":
        monkeypatch.setattr(lane_reader, "FEW_LANES", 1)


async def fill(store: Store, **counts: int) -> None:
    """Enqueue so many jobs into each lane."""
    for lane, count in counts.items():
        await store.enqueue(*(f"{lane}{number}" for number in range(count)), lane=lane)


def lanes_of(store: Store, read: Read) -> Counter[str]:
    """How many deliveries came from each lane."""
    names = {place: key.rpartition(":")[2] for place, key in enumerate(store.queue.streams, 1)}
    return Counter(names[delivery.stream] for delivery in read.deliveries)


async def test_shares(store: Store) -> None:
    """While all have work, each gets its share, in many small reads as in a large one."""
    await fill(store, slow=500, default=500)
    intake = LaneReader(store.queue, WEIGHTS, strict=False)
    small = Counter[str]()
    for _ in range(100):
        small += lanes_of(store, await intake.read(store.link, "w1", 1, None))
    assert small == {"default": 80, "slow": 20}
    assert lanes_of(store, await intake.read(store.link, "w1", 100, None)) == small


async def test_leftover_goes_to_who_has_work(store: Store) -> None:
    """A lane without jobs costs nobody a slot."""
    await fill(store, slow=50, default=3)
    intake = LaneReader(store.queue, WEIGHTS, strict=False)
    read = await intake.read(store.link, "w1", 40, None)
    assert lanes_of(store, read) == {"default": 3, "slow": 37}


async def test_weightier_one_comes_at_once(store: Store) -> None:
    """Behind a backlog that had everything for itself, a job of a weightier lane is the next."""
    await fill(store, slow=200)
    intake = LaneReader(store.queue, WEIGHTS, strict=False)
    for _ in range(100):
        await intake.read(store.link, "w1", 1, None)
    await fill(store, default=1)
    assert lanes_of(store, await intake.read(store.link, "w1", 1, None)) == {"default": 1}


async def test_strict(store: Store) -> None:
    """On request, a lane waits until all weightier ones are empty."""
    await fill(store, slow=5, default=5)
    intake = LaneReader(store.queue, WEIGHTS, strict=True)
    found = [await intake.read(store.link, "w1", 4, None) for _ in range(3)]
    assert [lanes_of(store, read) for read in found] == [
        {"default": 4},
        {"default": 1, "slow": 3},
        {"slow": 2},
    ]


async def test_returned_work_is_first(store: Store) -> None:
    """What has waited before does not wait again."""
    await store.deliveries.requeue([await store.deliver("again")])
    await fill(store, default=5)
    intake = LaneReader(store.queue, WEIGHTS, strict=False)
    read = await intake.read(store.link, "w1", 3, None)
    assert read.deliveries[0].job_id == "again"
    assert len(read.deliveries) == 3


async def test_returned_work_is_half_of_it(store: Store) -> None:
    """A flood of it leaves room for the lanes, and takes all where they have nothing."""
    ids = [f"again{number}" for number in range(20)]
    await store.enqueue(*ids)
    await store.deliveries.requeue(await store.read())
    await fill(store, default=6)
    intake = LaneReader(store.queue, WEIGHTS, strict=False)
    found = [await intake.read(store.link, "w1", 8, None) for _ in range(3)]
    assert [lanes_of(store, read) for read in found] == [
        {"returned": 4, "default": 4},
        {"returned": 6, "default": 2},
        {"returned": 8},
    ]


async def test_lanes_that_are_not_served(store: Store) -> None:
    """Of one lane alone, nothing else is read."""
    await fill(store, slow=2, default=2)
    intake = LaneReader(store.queue, {"slow": 1}, strict=False)
    assert lanes_of(store, await intake.read(store.link, "w1", 9, None)) == {"slow": 2}
    assert await intake.read(store.link, "w1", 9, None) == Read()


async def test_one_lane_costs_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read by the plain command, as if there were no shares: no script is called."""

    async def refuse(*call: object) -> None:
        raise AssertionError(f"a script was called: {call}")

    await fill(store, default=3)
    intake = LaneReader(store.queue, {"default": 1}, strict=False)
    monkeypatch.setattr(store.queue, "run_on", refuse)
    assert lanes_of(store, await intake.read(store.link, "w1", 2, None)) == {"default": 2}
    assert lanes_of(store, await intake.read(store.link, "w1", 2, 1000)) == {"default": 1}


async def test_blocked_read_is_woken(store: Store) -> None:
    """With nothing there, it waits at Redis; what comes is delivered."""
    intake = LaneReader(store.queue, WEIGHTS, strict=False)
    assert await intake.read(store.link, "w1", 9, 1) == Read()
    await fill(store, slow=2)
    assert lanes_of(store, await intake.read(store.link, "w1", 9, 1000)) == {"slow": 2}


async def test_passed_on(store: Store) -> None:
    """Returned work can be given to a lane; the job is found there."""
    await store.deliveries.requeue([await store.deliver("a")])
    (delivery,) = await store.read("w1")
    assert await store.deliveries.requeue([delivery], "slow") == 1
    (there,) = await store.stream_at(store.keys.stream("slow"))
    assert (there["id"], there["n"]) == ("a", "3")
    assert await store.results.job_state("a") == b"queued"


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("strict", [False, True], ids=["by weight", "strict"])
@pytest.mark.parametrize("count", [1, 7, 500])
async def test_thousands_of_lanes(store_url: str, count: int, *, strict: bool) -> None:
    """Among lanes that are empty, or whose jobs all run, those that wait are found."""
    async with Store(store_url, lanes=[*THOUSANDS]) as store:
        await fill(store, tenant3=2, tenant1200=1)
        intake = LaneReader(store.queue, THOUSANDS, strict=strict)
        assert (await intake.read(store.link, "w1", 500, None)).deliveries
        for lane in ("tenant2499", "tenant8"):
            await store.enqueue(f"new in {lane}", lane=lane)
        found = Counter[str]()
        for _ in range(2):
            found += lanes_of(store, await intake.read(store.link, "w1", count, None))
        assert found == {"tenant2499": 1, "tenant8": 1}
        assert await intake.read(store.link, "w1", count, None) == Read()


@pytest.mark.heavy_in_memory
async def test_thousands_of_full_lanes(store_url: str) -> None:
    """All lanes get their shares, although one read is for fewer jobs than there are lanes."""
    lanes = dict(list(THOUSANDS.items())[:300])
    async with Store(store_url, lanes=[*lanes]) as store:
        for lane in lanes:
            await fill(store, **{lane: 10})
        intake = LaneReader(store.queue, lanes, strict=False)
        found = Counter[str]()
        for _ in range(20):
            found += lanes_of(store, await intake.read(store.link, "w1", 60, None))
        # 1,200 jobs; the weights 1, 2 and 3 have 100 lanes each.
        assert all(abs(found[lane] - 2 * weight) <= 1 for lane, weight in lanes.items())


async def test_lanes_of_one_weight(store_url: str) -> None:
    """Each gets the same, and a lone job is found in whichever lane it is once all were empty."""
    lanes = [f"tenant{number}" for number in range(20)]
    async with Store(store_url, lanes=lanes) as store:
        for lane in lanes:
            await fill(store, **{lane: 3})
        intake = LaneReader(store.queue, dict.fromkeys(lanes, 3), strict=False)
        for _ in range(3):
            found = lanes_of(store, await intake.read(store.link, "w1", 20, None))
            assert found == dict.fromkeys(lanes, 1)
        for lane in ("tenant19", "tenant0", "tenant7"):
            for _ in range(2):
                assert await intake.read(store.link, "w1", 20, None) == Read()
            await store.enqueue(f"alone in {lane}", lane=lane)
            assert lanes_of(store, await intake.read(store.link, "w1", 1, None)) == {lane: 1}
