"""Calls that have Redis copy payloads: a megabyte each, more or less; one payload always goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import pytest

from aiostreamq.model.delivery import Delivery, RetryRequest, Settlement, WaiterMode
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.model.replayed_job import write_history
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.connection.link import Argument, Reply
from aiostreamq.store.dead_letters import DeadLetterStore, Replay, Span
from aiostreamq.store.schedules import Tick
from tests.support.schedules import RAW, Scene, tick
from tests.support.store import HOUR_MS, Store, outcome_of

#: Sizes of payloads; the calls for these if the caller knows the sizes; and if the script finds
#: them out: it stops behind the payload with which the megabyte is full.
SIZES = [
    ([10] * 30, 1, 1),
    ([400_000] * 5, 3, 2),
    ([2_000_000] * 3, 3, 3),
]
IDS = ["small", "some", "each too large"]

LEASE_MS = 1_000

#: Moves jobs in as many calls as it takes.
Step = Callable[[Store, list[Delivery]], Awaitable[object]]


class Calls(list[str]):
    """The scripts that a test has called since it began to look."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        run = store.queue.run

        async def noted(
            script: str,
            keys: Sequence[str],
            arguments: Sequence[Argument],
            deadline: float | None = None,
        ) -> Reply:
            self.append(script)
            return await run(script, keys, arguments, deadline)

        monkeypatch.setattr(store.queue, "run", noted)


async def held_jobs(store: Store, sizes: Sequence[int]) -> list[Delivery]:
    """Enqueue a job of each size, and read them as worker w1 does."""
    await store.workers.join("w1", LEASE_MS)
    for number, size in enumerate(sizes):
        await store.enqueue(
            f"{number}", envelope=b'{"v":1,"task":"t","args":["%b"]}' % (b"x" * size)
        )
    return await store.read("w1", len(sizes))


async def retry(store: Store, held: list[Delivery]) -> None:
    """Run all again, at once."""
    assert await store.delayed.retry([RetryRequest(one, 0) for one in held]) == []


async def requeue(store: Store, held: list[Delivery]) -> None:
    """Hand all back."""
    assert await store.deliveries.requeue(held) == len(held)


async def park(store: Store, held: list[Delivery]) -> None:
    """Set all aside."""
    assert await store.parking.park([(one, "t") for one in held]) == len(held)


async def cancel_delayed(store: Store, held: list[Delivery]) -> None:
    """Delay all, and cancel them."""
    await store.delayed.retry([RetryRequest(one, HOUR_MS) for one in held])
    ids = [one.job_id for one in held]
    assert await Cancellation(store.queue).cancel(ids) == [b"delayed"] * len(held)


async def dead_letter_unreadable(store: Store, held: list[Delivery]) -> None:
    """Take all for unreadable."""
    entries = [(one.stream, one.entry) for one in held]
    outcome = encode_unreadable("no")
    moved = await store.deliveries.dead_letter_unreadable(entries, outcome, "w1")
    assert moved == len(held)


async def replay_dead_letters(store: Store, held: list[Delivery]) -> None:
    """Fail all, and have them run again."""
    ends = [Settlement(one, HOUR_MS, outcome_of(one), is_dead=True) for one in held]
    await store.deliveries.settle(ends, "w1")
    dead = DeadLetterStore(store.queue)
    letters = [one async for page in dead.oldest_first(Span()) for one in page]
    place = store.queue.place_of(DEFAULT_LANE)
    await dead.replay(
        [
            Replay(one.id, one.job_id, place, WaiterMode.NOBODY, one.envelope, write_history(one))
            for one in letters
        ]
    )


async def promote(store: Store, held: list[Delivery]) -> None:
    """Delay all, and promote until nothing is due."""
    await store.delayed.retry([RetryRequest(one, 1) for one in held])
    while await store.call("ZCARD", store.keys.delayed):
        await store.delayed.promote()


async def unpark(store: Store, held: list[Delivery]) -> None:
    """Park all, and take them back."""
    await park(store, held)
    assert await store.parking.unpark(["t"]) == len(held)


async def recover_worker(store: Store, held: list[Delivery]) -> None:
    """Take all from a dead worker."""
    while (done := await store.workers.recover("w1", "0 1000", 3)).finished == 0:
        assert done.returned > 0
    assert done.finished == 1
    assert held


@pytest.mark.parametrize(("sizes", "calls", "looks"), SIZES, ids=IDS)
@pytest.mark.parametrize(
    "step", [retry, requeue, park, unpark, replay_dead_letters, promote, recover_worker]
)
async def test_jobs(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
    sizes: list[int],
    calls: int,
    looks: int,
) -> None:
    """All jobs move, a megabyte a call."""
    held = await held_jobs(store, sizes)
    called = Calls(store, monkeypatch)
    await step(store, held)
    count = called.count(getattr(step, "__name__", ""))
    if step is promote:
        assert count >= looks, "a call may come before the next job is due"
    elif step is unpark:
        assert looks <= count <= looks + 1, "the last may find nothing"
    else:
        assert count == (looks if step is recover_worker else calls)
    if step is park:
        assert await store.parking.unpark(["t"]) == len(sizes)
    again = await store.read("w2", len(sizes))
    assert {one.job_id: len(one.envelope) for one in again} == {
        one.job_id: len(one.envelope) for one in held
    }


@pytest.mark.parametrize(("sizes", "looks"), [(sizes, looks) for sizes, _, looks in SIZES], ids=IDS)
@pytest.mark.parametrize("end", [cancel_delayed, dead_letter_unreadable])
async def test_ends(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    end: Step,
    sizes: list[int],
    looks: int,
) -> None:
    """All jobs end, a megabyte a call."""
    held = await held_jobs(store, sizes)
    called = Calls(store, monkeypatch)
    await end(store, held)
    name = getattr(end, "__name__", "")
    assert called.count(name.removesuffix("_delayed")) == looks


@pytest.mark.parametrize(("sizes", "calls", "looks"), SIZES, ids=IDS)
async def test_schedules(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, sizes: list[int], calls: int, looks: int
) -> None:
    """What is due is listed in pages of a megabyte of definitions; so are the calls that fire."""
    for number, size in enumerate(sizes):
        await scene.put(f"{number:02}", raw=RAW[:-1] + b',"x":"%b"}' % (b"x" * size))
    called = Calls(scene.store, monkeypatch)
    ticks: list[Tick] = []
    has_more = True
    while has_more:
        page = await scene.table.due((), len(ticks))
        assert page.looked == len(page.due)
        ticks += [tick(one)._replace(envelope=b"x" * sizes[0]) for one in page.due]
        has_more = page.has_more
    assert [one.name for one in ticks] == [f"{number:02}" for number in range(len(sizes))]
    assert called.count("due_schedules") == looks
    await scene.table.fire(ticks)
    assert called.count("fire_schedules") == calls
    assert len(await scene.queued()) == len(sizes)
