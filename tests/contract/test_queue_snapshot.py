"""The snapshot counts the jobs of a queue by state, lane and task."""

import orjson
import pytest

from aiostreamq.model.delivery import DelayedSubmission, RetryRequest, WaiterMode
from aiostreamq.model.keys import ADMITTED, OVERFLOW
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.inspect.snapshot import PAGE, SAMPLE, SAMPLE_BYTES, Snapshots
from aiostreamq.store.inspect.views import LaneView
from tests.support.store import DEADLINE, Store

LEASE_MS = 5_000


def call(task: str, size: int = 0) -> bytes:
    """Return an envelope of about so many bytes."""
    return orjson.dumps({"task": task, "args": ["x" * size]})


async def test_empty(store: Store) -> None:
    """Of nothing there is nothing."""
    view = await Snapshots(store.queue).view()
    assert (view.delayed, view.due_ms, view.dead, view.parked_tasks) == (0, -1, 0, {})
    lanes = ("returned", "default", "slow", *OVERFLOW.values(), ADMITTED)
    assert [lane[:4] for lane in view.lanes] == [(lane, 0, 0, "") for lane in lanes]


async def test_no_streams(store: Store) -> None:
    """Nor is there anything to see in a Redis that has lost all."""
    await store.call("FLUSHALL")
    view = await Snapshots(store.queue).view()
    assert sum(lane.waiting + lane.running for lane in view.lanes) == 0


async def test_lanes(store: Store) -> None:
    """What waits and what is with workers is told apart, in each lane, by task."""
    await store.enqueue("a", "b", envelope=call("size"))
    with_worker = await store.read()
    await store.enqueue("c", envelope=call("keep"))
    await store.enqueue("d", lane="slow", envelope=call("size"))
    view = await Snapshots(store.queue).view()
    _, default, slow, *_ = view.lanes
    assert (default.waiting, default.running) == (1, 2)
    assert (default.waiting_tasks, default.running_tasks) == ({"keep": 1}, {"size": 2})
    assert (slow.waiting, slow.running, slow.waiting_tasks) == (1, 0, {"size": 1})
    assert default.oldest > with_worker[-1].entry.decode()
    await store.settle(with_worker[0])
    default = (await Snapshots(store.queue).view()).lanes[1]
    assert (default.waiting, default.running) == (1, 1)


@pytest.mark.parametrize("running", [0, 2])
@pytest.mark.parametrize("waiting", [0, 1, 20])
async def test_what_a_lane_has(store: Store, waiting: int, running: int) -> None:
    """A lane with only jobs that wait, with only jobs that run, with both, and an empty one."""
    await store.enqueue(*(f"r{at}" for at in range(running)), "ended", envelope=call("run"))
    await store.settle((await store.read())[-1])
    await store.enqueue(*(f"w{at}" for at in range(waiting)), envelope=call("wait"))
    oldest = await store.call("HGET", store.keys.job("w0"), "e")
    lane = (await Snapshots(store.queue).view()).lanes[1]
    assert lane == LaneView(
        "default",
        waiting,
        running,
        oldest.decode() if isinstance(oldest, bytes) else "",
        {"wait": waiting} if waiting else {},
        {"run": running} if running else {},
    )


async def test_deleted_while_running(store: Store) -> None:
    """Deliveries whose entries were deleted by hand do not make it count less than nothing."""
    await store.enqueue("a", "b")
    entries = [one.entry for one in await store.read()]
    await store.call("XDEL", store.keys.stream("default"), *entries)
    lane = (await Snapshots(store.queue).view()).lanes[1]
    assert (lane.waiting, lane.running) == (0, 0)


async def test_delayed_and_parked(store: Store) -> None:
    """So are jobs for later, and those that no worker knows."""
    lookout = Snapshots(store.queue)
    job: DelayedSubmission = ("a", "slow", WaiterMode.NOBODY, "+60000", call("size"))
    await store.delayed.delay([job], "me", DEADLINE)
    await store.enqueue("b", "c", envelope=call("stranger"))
    delivery, again = await store.read()
    await store.parking.park([(delivery, "stranger")])
    await store.delayed.retry([RetryRequest(again, 1_000)])
    view = await lookout.view()
    assert (view.delayed, view.delayed_tasks) == (2, {"size": 1, "stranger": 1})
    assert 0 < view.due_ms - view.now_ms <= 1_000
    assert view.parked_tasks == {"stranger": 1}
    assert await lookout.parked_tasks() == ["stranger"]


async def test_parked_no_more(store: Store) -> None:
    """A task is among the parked until the last of its jobs is released."""
    await store.enqueue("a")
    await store.parking.park([(delivery, "size") for delivery in await store.read()])
    assert await store.parking.unpark(["size"]) == 1
    assert (await Snapshots(store.queue).view()).parked_tasks == {}
    assert "parked" not in await store.key_names()


async def test_sample(store: Store) -> None:
    """However much waits, only so much of it is looked at."""
    await store.enqueue(*(f"j{place}" for place in range(3 * SAMPLE)))
    lane = (await Snapshots(store.queue).view()).lanes[1]
    assert lane.waiting == 3 * SAMPLE
    assert sum(lane.waiting_tasks.values()) == SAMPLE


async def test_large_payloads(store: Store) -> None:
    """So it is when each is large."""
    await store.enqueue(*(f"j{at}" for at in range(20)), envelope=call("size", SAMPLE_BYTES // 2))
    lane = (await Snapshots(store.queue).view()).lanes[1]
    assert lane.waiting == 20
    assert 2 <= lane.waiting_tasks["size"] <= 4


async def test_strange_envelopes(store: Store) -> None:
    """Whatever lies in a lane is counted, if not by task."""
    for at, envelope in enumerate(
        (b"", b"{", b"[1]", b'{"task":7}', b'{"args":[1],"task":"size"}')
    ):
        await store.enqueue(f"j{at}", envelope=envelope)
    await store.call("XADD", store.keys.stream("default"), "*", "hello", "world")
    lane = (await Snapshots(store.queue).view()).lanes[1]
    assert lane.waiting_tasks == {"": 5, "size": 1}


async def test_what_a_worker_tells(store: Store) -> None:
    """It is kept for as long as the worker beats, and goes when it leaves."""
    lookout = Snapshots(store.queue)
    await store.workers.join("w1", LEASE_MS)
    assert await lookout.workers() == [("w1", f"0 {LEASE_MS}", None)]
    assert await store.workers.renew("w1", LEASE_MS, b"{}")
    assert await lookout.workers() == [("w1", f"1 {LEASE_MS}", b"{}")]
    assert LEASE_MS < await store.pttl(store.keys.worker("w1")) <= 2 * LEASE_MS
    await store.workers.deregister("w1")
    assert await lookout.workers() == []
    assert "worker:w1" not in await store.key_names()


async def test_dead_worker_tells_nothing(store: Store) -> None:
    """One that was taken for dead does not come back with what it tells."""
    await store.workers.join("w1", LEASE_MS)
    await store.workers.recover("w1", f"0 {LEASE_MS}", 3)
    assert not await store.workers.renew("w1", LEASE_MS, b"{}")
    assert "worker:w1" not in await store.key_names()


async def test_many_delayed_at_one_time(store: Store) -> None:
    """Pages of what is delayed neither repeat nor leave out a job, all due at once or not."""
    due = {f"j{at}": 4_000_000_000_000 + (at // 250) for at in range(400)}
    jobs: list[DelayedSubmission] = [
        (job_id, "default", WaiterMode.NOBODY, str(ms), call("size")) for job_id, ms in due.items()
    ]
    await store.delayed.delay(jobs, "me", DEADLINE)
    found = [(job_id, ms) async for job_id, ms, _ in Snapshots(store.queue).delayed()]
    assert len(found) == len(due)
    assert dict(found) == due


async def test_waiting_without_the_cancelled(store: Store) -> None:
    """What was cancelled waits no more, although its entry is there; nor does what was sent."""
    ids = [f"j{at}" for at in range(2 * PAGE + 10)]
    await store.enqueue(*ids)
    await store.read(count=2)
    await Cancellation(store.queue).cancel([*ids[3:50], ids[-1]])
    found = Snapshots(store.queue).waiting(store.keys.stream("default"))
    assert [one.fields[b"id"].decode() async for one in found] == [ids[2], *ids[50:-1]]


async def test_all_that_waits_is_cancelled(store: Store) -> None:
    """Then nothing does; nor where nothing ever has."""
    found = Snapshots(store.queue).waiting(store.keys.stream("default"))
    assert [one async for one in found] == []
    await store.enqueue("a")
    await Cancellation(store.queue).cancel(["a"])
    found = Snapshots(store.queue).waiting(store.keys.stream("default"))
    assert [one async for one in found] == []
