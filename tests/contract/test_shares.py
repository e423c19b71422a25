"""Whose turn it is among lanes, whatever their weights, their fill, and what was before."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import accumulate

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiostreamq.store import lane_reader
from aiostreamq.store.lane_reader import LaneReader
from tests.support.random_examples import scaled
from tests.support.store import Store

FAIR = settings(
    max_examples=scaled(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)

#: What comes into some lane, and how much is read then.
Round = tuple[int, int, int]

some_weights = st.lists(st.integers(1, 20), min_size=2, max_size=5)
some_rounds = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 60), st.integers(1, 40)), min_size=1, max_size=25
)


@pytest.fixture(params=["few", "many"])
def script(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by the script for few lanes, and by that for many."""
    if request.param == "many":
        monkeypatch.setattr(lane_reader, "FEW_LANES", 1)


class Lanes:
    """A queue with a lane for each weight, read by one worker, and what should be in it."""

    def __init__(self, store: Store, weights: list[int], *, strict: bool) -> None:
        self.weights = {f"l{place}": weight for place, weight in enumerate(weights)}
        self.waiting = Counter(dict.fromkeys(self.weights, 0))
        self._intake = LaneReader(store.queue, self.weights, strict=strict)
        self._store = store
        self._added = 0

    async def add(self, lane: str, count: int) -> None:
        """Have so many jobs wait."""
        ids = [f"j{number}" for number in range(self._added, self._added + count)]
        self._added += count
        for start in range(0, count, 500):
            await self._store.enqueue(*ids[start : start + 500], lane=lane)
        self.waiting[lane] += count

    async def read(self, count: int) -> Counter[str]:
        """Read; returns how many came of each lane. As many as there are come."""
        read = await self._intake.read(self._store.link, "w1", count, None)
        lane_at = self._store.queue.lane_at
        taken = Counter(dict.fromkeys(self.weights, 0))
        taken.update(str(lane_at(one.stream)) for one in read.deliveries)
        assert taken.total() == min(count, self.waiting.total())
        self.waiting.subtract(taken)
        return taken

    async def play(self, rounds: list[Round]) -> list[tuple[Counter[str], set[str]]]:
        """Fill and read; returns of each read what came, and which lanes it left work in."""
        reads: list[tuple[Counter[str], set[str]]] = []
        for place, added, count in rounds:
            await self.add(f"l{place % len(self.weights)}", added)
            taken = await self.read(count)
            reads.append((taken, {lane for lane, left in self.waiting.items() if left}))
        return reads


def on_lanes(
    url: str, weights: list[int], test: Callable[[Lanes], Awaitable[None]], *, strict: bool = False
) -> None:
    """Run a test on an empty queue."""

    async def run() -> None:
        async with Store(url, lanes=[f"l{place}" for place in range(len(weights))]) as store:
            await store.call("FLUSHALL")
            await store.queue.create_groups(store.link)
            await test(Lanes(store, weights, strict=strict))

    asyncio.run(run())


def slack(weights: dict[str, int], lane: str) -> float:
    """How many jobs a lane may be off its share: less than its next turn, whenever one looks."""
    return 1 + len(weights) * weights[lane] / sum(weights.values())


@pytest.mark.usefixtures("script")
@FAIR
@given(weights=some_weights, rounds=some_rounds)
def test_no_lane_is_passed_over(store_url: str, weights: list[int], rounds: list[Round]) -> None:
    """As long as a lane has work it gets its share, whichever others come and go in between."""

    async def test(lanes: Lanes) -> None:
        reads = await lanes.play(rounds)
        for lane, weight in lanes.weights.items():
            share = weight / sum(weights)
            # By how much it is behind its share since any read from which on it had work.
            behind = 0.0
            for taken, left in reads:
                is_full = lane in left
                behind = max(0.0, behind) + taken.total() * share - taken[lane] if is_full else 0.0
                assert behind <= slack(lanes.weights, lane)

    on_lanes(store_url, weights, test)


@pytest.mark.usefixtures("script")
@FAIR
@given(weights=some_weights, rounds=some_rounds)
def test_no_lane_is_ahead(store_url: str, weights: list[int], rounds: list[Round]) -> None:
    """As long as all have work, none gets more than its share; none has saved up turns."""

    async def test(lanes: Lanes) -> None:
        reads = await lanes.play(rounds)
        for lane, weight in lanes.weights.items():
            share = weight / sum(weights)
            ahead = 0.0
            for taken, left in reads:
                are_full = left == set(lanes.weights)
                ahead = max(0.0, ahead) + taken[lane] - taken.total() * share if are_full else 0.0
                assert ahead <= slack(lanes.weights, lane)

    on_lanes(store_url, weights, test)


@pytest.mark.heavy_in_memory
@pytest.mark.usefixtures("script")
@FAIR
@given(
    weights=st.lists(st.integers(1, 8), min_size=2, max_size=4),
    before=some_rounds,
    counts=st.lists(st.integers(1, 100), min_size=1),
)
def test_within_a_tenth(
    store_url: str, weights: list[int], before: list[Round], counts: list[int]
) -> None:
    """Over a while in which all lanes are full, shares are within 10 % of the weights."""
    # From so many on, what one job more or less makes of the lightest lane's share is that little.
    enough = 10 * (sum(weights) // min(weights) + len(weights))

    async def test(lanes: Lanes) -> None:
        await lanes.play(before)
        for lane in lanes.weights:
            await lanes.add(lane, enough + max(counts))
        taken = Counter[str]()
        while taken.total() < enough:
            for count in counts:
                taken += await lanes.read(count)
                if taken.total() >= enough:
                    break
        for lane, weight in lanes.weights.items():
            assert taken[lane] / taken.total() == pytest.approx(weight / sum(weights), rel=0.1)

    on_lanes(store_url, weights, test)


@pytest.mark.usefixtures("script")
@FAIR
@given(weights=some_weights, rounds=some_rounds)
def test_strict(store_url: str, weights: list[int], rounds: list[Round]) -> None:
    """On request, nothing comes of a lane while a weightier one has work."""

    async def test(lanes: Lanes) -> None:
        for taken, left in await lanes.play(rounds):
            order = sorted(lanes.weights, key=lambda lane: -lanes.weights[lane])
            was_left = accumulate((lane in left for lane in order[:-1]), initial=False)
            for lane, before in zip(order, was_left, strict=True):
                assert not (before and taken[lane])

    on_lanes(store_url, weights, test, strict=True)


@pytest.mark.heavy_in_memory
@FAIR
@given(weights=some_weights, rounds=some_rounds, strict=st.booleans())
def test_both_scripts_deliver_as_many(
    store_url: str,
    weights: list[int],
    rounds: list[Round],
    monkeypatch: pytest.MonkeyPatch,
    *,
    strict: bool,
) -> None:
    """It is only a matter of cost which of the two is called.

    They may differ in which of two lanes with equal turns comes first, unless order is strict.
    """
    taken: list[list[Counter[str]]] = []

    async def test(lanes: Lanes) -> None:
        taken.append([each for each, _ in await lanes.play(rounds)])

    for few in (1, len(weights)):
        monkeypatch.setattr(lane_reader, "FEW_LANES", few)
        on_lanes(store_url, weights, test, strict=strict)
    if strict:
        assert taken[0] == taken[1]
    else:
        assert [each.total() for each in taken[0]] == [each.total() for each in taken[1]]
