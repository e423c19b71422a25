"""skip_cancelled: entries of cancelled jobs that are next in a stream are dropped at once."""

import random
from collections import deque
from typing import TYPE_CHECKING, cast

import pytest

from aiostreamq.model.delivery import Settlement, WaiterMode
from aiostreamq.model.keys import GROUP
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.deliveries import ID_MS
from aiostreamq.store.lane_reader import LaneReader
from tests.support.ends import states
from tests.support.store import ENVELOPE, Store

if TYPE_CHECKING:
    from aiostreamq.model.delivery import Delivery


async def skip(store: Store, limit: int = 250) -> tuple[int, bool]:
    """Call the script; returns how many it dropped, and whether there may be more."""
    keys = [store.keys.cancelled, *store.queue.streams]
    arguments = [GROUP, "w1", store.keys.prefix, limit]
    dropped, has_more = cast("list[int]", await store.queue.run("skip_cancelled", keys, arguments))
    return dropped, has_more == 1


async def cancel(store: Store, *ids: str) -> None:
    """Cancel jobs."""
    await Cancellation(store.queue).cancel(ids)


async def enqueue(store: Store, count: int, lane: str = "default") -> list[str]:
    """Enqueue jobs; returns their ids."""
    ids = [f"{lane}{number}" for number in range(count)]
    await store.enqueue(*ids, lane=lane)
    return ids


async def lag(store: Store) -> int | None:
    """The lag of the default lane's group, as autoscalers see it."""
    ((*flat,),) = cast(
        "list[list[bytes]]", await store.call("XINFO", "GROUPS", store.keys.stream("default"))
    )
    return cast("int | None", dict(zip(flat[::2], flat[1::2], strict=True)).get(b"lag"))


async def counts_lag(store: Store) -> bool:
    """Whether the server counts the lag of a group: Redis does from 7.0 on, fakeredis does not."""
    version = (await store.queue.open()).version
    return version >= (7, 0) and not store.connector.is_in_memory


@pytest.mark.parametrize("count", [1, 3, 64, 200])
async def test_dropped_up_to_the_first_other(store: Store, count: int) -> None:
    """Those in front go, with all that was remembered of them; what comes behind is delivered."""
    await cancel(store, *await enqueue(store, count))
    await store.enqueue("alive", "last")
    await cancel(store, "last")
    before = await states(store)
    assert await skip(store) == (count, False)
    assert await skip(store) == (0, False), "as after a lost reply"
    assert await store.pending() == 0
    assert await states(store) == before, "they were counted when they were cancelled"
    assert await store.call("ZRANGE", store.keys.cancelled, 0, -1) == [b"last"]
    assert await store.call("EXISTS", store.keys.job("default0")) == 0
    assert await store.enqueue("default0") == {0}, "its outcome is kept, and its id taken"
    if await counts_lag(store):
        assert await lag(store) == 2
    read = await store.deliveries.read(store.link, "w1", 10, None)
    assert [one.job_id for one in read.deliveries] == ["alive", "last"]
    assert [one.job_id for one in read.cancelled] == ["last"]


@pytest.mark.parametrize(
    ("mark", "envelope"),
    [
        (WaiterMode.NO_RESULT, ENVELOPE),
        (WaiterMode.NOBODY, b'{"task":"size","result_ttl":0}'),
        (WaiterMode.NOBODY, b'{"task":"size","result_ttl":1}'),
    ],
)
async def test_id_stays_taken(store: Store, mark: str, envelope: bytes) -> None:
    """For a minute if the outcome is not kept as long."""
    await store.enqueue("a", mark=mark, envelope=envelope)
    await cancel(store, "a")
    assert await skip(store) == (1, False)
    await store.call("DEL", store.keys.result("a"))
    assert 0 < await store.pttl(store.keys.job("a")) <= ID_MS
    assert await store.call("HMGET", store.keys.job("a"), "e", "c") == [None, b"ended"]
    assert await store.enqueue("a") == {0}


async def test_id_of_a_job_that_has_run(store: Store) -> None:
    """Its worker may come late, and finds that the job was cancelled."""
    late = await store.deliver("a")
    await store.deliveries.requeue([late])
    await cancel(store, "a")
    assert await skip(store) == (1, False)
    assert (await store.deliveries.settle([Settlement(late, 1000, b"{}")], "w1")).ended == []
    assert await store.call("HGET", store.keys.job("a"), "c") == b"ended"


async def test_lag_stays_known(store: Store) -> None:
    """Redis counts how many wait, whatever was dropped."""
    ids = await enqueue(store, 20)
    await store.read(count=3)
    await cancel(store, *ids[3:10], *ids[12:])
    assert await skip(store) == (7, False)
    if await counts_lag(store):
        assert await lag(store) == 10
    await store.read(count=1)
    if await counts_lag(store):
        assert await lag(store) == 9


@pytest.mark.parametrize("running", [0, 1, 3])
@pytest.mark.parametrize("behind", [0, 1, 5])
async def test_lag_stays_known_round_after_round(store: Store, running: int, behind: int) -> None:
    """It does if jobs run, if none does, and if nothing waits behind what is dropped."""
    await store.enqueue(*(f"running{number}" for number in range(running)))
    await store.read(count=running or 1)
    for turn in range(4):
        dropped = [f"dropped{turn}-{number}" for number in range(6)]
        waiting = [f"waiting{turn}-{number}" for number in range(behind)]
        await store.enqueue(*dropped, *waiting)  # in one call, so in the same millisecond
        await cancel(store, *dropped)
        assert await skip(store, 4) == (4, True)
        assert await skip(store, 4) == (2, False)
        assert await skip(store, 4) == (0, False)
        if await counts_lag(store):
            assert await lag(store) == behind
        read: list[Delivery] = []
        for left in reversed(range(behind)):
            read += await store.read(count=1)
            if await counts_lag(store):
                assert await lag(store) == left
        assert await store.settle(*read) == []
    assert await store.pending() == running


async def test_lag_is_known_again(store: Store) -> None:
    """Redis forgets it when the newest delivery ends before others; a skip restores it."""
    ids = await enqueue(store, 20)
    _, last = await store.read(count=2)
    await store.settle(last)
    await store.read(count=1)
    await cancel(store, *ids[3:10])
    assert await skip(store) == (7, False)
    await store.read(count=1)
    if await counts_lag(store):
        assert await lag(store) == 9


class History:
    """Random steps of a worker and a producer, beside a model of the lane.

    Args:
        store: The queue.
        seed: Seeds the choice of the steps.
    """

    def __init__(self, store: Store, seed: int) -> None:
        self.store = store
        self.draw = random.Random(seed)
        self.waiting: deque[str] = deque()  #: the oldest first
        self.cancelled: set[str] = set()
        self.running: list[Delivery] = []  #: the oldest first
        self.is_lag_known = True
        self._ids = 0

    async def step(self) -> None:
        """Do something, and look."""
        await self.draw.choice([self.enqueue, self.cancel, self.skip, self.read, self.end])()
        assert await self.store.pending() == len(self.running)
        length = await self.store.call("XLEN", self.store.keys.stream("default"))
        assert length == len(self.running) + len(self.waiting)
        if self.is_lag_known and await counts_lag(self.store):
            assert await lag(self.store) == len(self.waiting)

    async def enqueue(self) -> None:
        """Put jobs into the lane, in the same millisecond."""
        ids = [f"j{self._ids + number}" for number in range(self.draw.randint(1, 8))]
        self._ids += len(ids)
        self.waiting.extend(ids)
        await self.store.enqueue(*ids)

    async def cancel(self) -> None:
        """Cancel jobs that wait, those of a stretch or here and there."""
        some = list(self.waiting)[: self.draw.randint(1, 10)]
        chosen = [one for one in some if self.draw.random() < self.draw.choice([0.6, 1])]
        self.cancelled.update(chosen)
        if chosen:
            await cancel(self.store, *chosen)

    async def skip(self) -> None:
        """Drop what is cancelled and next."""
        limit, count = self.draw.randint(1, 8), 0
        while self.waiting and self.waiting[0] in self.cancelled and count < limit:
            self.waiting.popleft()
            count += 1
        assert (await skip(self.store, limit))[0] == count
        self.is_lag_known = self.is_lag_known or count > 0

    async def read(self) -> None:
        """Deliver jobs: those that wait longest, each as cancelled if it is."""
        count = self.draw.randint(1, 4)
        read = await self.store.deliveries.read(self.store.link, "w1", count, None)
        due = [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]
        assert [one.job_id for one in read.deliveries] == due
        assert {one.job_id for one in read.cancelled} == self.cancelled.intersection(due)
        self.running += read.deliveries

    async def end(self) -> None:
        """End a delivery, not always the oldest. If it is the newest, Redis forgets the lag."""
        if self.running:
            chosen = self.running.pop(self.draw.randrange(len(self.running)))
            assert await self.store.settle(chosen) == []
            newest = max((_order(one) for one in self.running), default=(0, 0))
            if self.running and _order(chosen) > newest:
                self.is_lag_known = (
                    False  # to Redis 8 until a skip or until all of these have ended
                )


def _order(delivery: "Delivery") -> tuple[int, ...]:
    return tuple(int(part) for part in delivery.entry.split(b"-"))


@pytest.mark.parametrize("seed", range(8))
async def test_any_order(store: Store, seed: int) -> None:
    """Every job comes once and in its order, or is dropped because it was cancelled."""
    history = History(store, seed)
    for _ in range(100):
        await history.step()


async def test_what_runs_stays(store: Store) -> None:
    """Deliveries that workers have, cancelled or not, are in front and are left alone."""
    ids = await enqueue(store, 10)
    running = await store.read(count=2)
    await cancel(store, *ids[1:])
    assert await skip(store) == (8, False)
    assert await store.pending() == 2
    assert await store.settle(*running) == []
    assert await store.call("XLEN", store.keys.stream("default")) == 0
    assert await store.call("EXISTS", store.keys.cancelled) == 0


async def test_each_stream(store: Store) -> None:
    """Each has its own front, returned work as well."""
    await enqueue(store, 4)
    await store.deliveries.requeue(await store.read())
    slow = await enqueue(store, 3, "slow")
    await cancel(store, "default0", "default1", *slow)
    assert await skip(store) == (5, False)
    read = await store.deliveries.read(store.link, "w1", 10, None)
    assert [one.job_id for one in read.deliveries] == ["default2", "default3"]


async def test_bounded(store: Store) -> None:
    """A call drops no more than its limit, and stops when it has seen many bytes."""
    await cancel(store, *await enqueue(store, 30))
    assert await skip(store, 20) == (20, True)
    assert await skip(store, 20) == (10, False)
    large = ENVELOPE[:-1] + b',"x":"' + b"x" * 200_000 + b'"}'
    for number in range(6):
        await store.enqueue(f"large{number}", envelope=large)
    await cancel(store, *(f"large{number}" for number in range(6)))
    assert [(await skip(store))[0] for _ in range(2)] == [3, 3]
    assert await store.call("EXISTS", store.keys.cancelled) == 0


async def test_other_entries_stop_it(store: Store) -> None:
    """An entry of another program, or with the id of a cancelled job, is not dropped."""
    await enqueue(store, 2)
    await cancel(store, "default0")
    stream = store.keys.stream("slow")
    await store.call("XADD", stream, "*", "id", "default0", "n", "1", "job", ENVELOPE)
    await store.call("XADD", store.keys.stream("returned"), "*", "what", "else")
    assert await skip(store) == (1, False)
    assert await store.call("XLEN", stream) == 1
    assert await store.call("XLEN", store.keys.stream("returned")) == 1


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("count", [1, 20])
@pytest.mark.parametrize("lanes", [("default",), ("default", "slow")])
async def test_job_behind_thousands(store: Store, count: int, lanes: tuple[str, ...]) -> None:
    """A worker comes to it after a few reads, whatever its size and its lanes."""
    ids = [f"j{number}" for number in range(3000)]
    for start in range(0, len(ids), 500):
        await store.enqueue(*ids[start : start + 500])
    await cancel(store, *ids)
    await store.enqueue("alive")
    intake = LaneReader(store.queue, dict.fromkeys(lanes, 1), strict=False)
    for reads in range(1, 30):
        read = await intake.read(store.link, "w1", count, None)
        alive = [one.job_id for one in read.deliveries if one not in read.cancelled]
        await store.settle(*read.deliveries)
        if alive:
            assert alive == ["alive"]
            assert reads <= 12
            break
    else:
        pytest.fail("it did not come")


async def test_few_cost_no_call(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled jobs among others are read as ever: no script is called."""

    async def refuse(*call: object) -> None:
        raise AssertionError(f"a script was called: {call}")

    ids = await enqueue(store, 60)
    await cancel(store, *ids[::2])
    intake = LaneReader(store.queue, {"default": 1}, strict=False)
    monkeypatch.setattr(store.queue, "run_on", refuse)
    for _ in range(30):
        assert len((await intake.read(store.link, "w1", 2, None)).cancelled) == 1
