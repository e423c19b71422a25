"""Held jobs are delivered when all limits of theirs have room, and never before."""

import pytest

from aiostreamq.model.delivery import Delivery
from aiostreamq.model.keys import ADMITTED, GROUP
from aiostreamq.store import held as held_module
from tests.support.limits import Limits, backlog
from tests.support.store import ENVELOPE, Store

A, B = backlog("c=a"), backlog("c=b")
HOUR = 3_600_000


def ids_of(deliveries: list[Delivery]) -> list[str]:
    """The jobs, in their order."""
    return [one.job_id for one in deliveries]


async def test_delivery(store: Store, limits: Limits) -> None:
    """It is a delivery as any other, and says under which limits it holds permits."""
    await limits.rule("c=a", "2")
    await limits.enqueue("a", backlog=backlog("c=a", "r=none"))
    (delivery,) = await limits.admit()
    place = store.queue.stream_names.index(ADMITTED) + 1
    assert delivery == Delivery(place, delivery.entry, "a", 1, ENVELOPE, permits=b"c=a r=none")
    assert await limits.permits("c=a") == {"a 1"}
    assert await store.results.job_state("a") == b"running"
    assert await store.results.owner_of("a") == "w1"
    await limits.check()
    assert await store.settle(delivery) == []
    assert await limits.is_left() == set()


async def test_lost_reply(store: Store, limits: Limits) -> None:
    """Repeated, it delivers nothing again; its worker finds what it was sent by its own look."""
    await limits.rule("c=a", "1")
    await limits.enqueue("a", "b", backlog=A)
    await limits.admit()
    assert await limits.admit() == []
    own = await store.deliveries.read_own(store.link, "w1", 10)
    assert ids_of(own.deliveries) == ["a"]


async def test_no_more_than_there_is_room_for(limits: Limits) -> None:
    """Without a rule all pass, a worker's slots at a time, in the order of their arrival."""
    ids = [f"j{number}" for number in range(10)]
    await limits.enqueue(*ids, backlog=A)
    found: list[str] = []
    for count in (1, 2, 3, 4, 5):
        found += await limits.admitted(count)
        await limits.check()
    assert found == ids


async def test_backlogs_take_turns(limits: Limits) -> None:
    """One with many jobs does not keep others waiting."""
    await limits.enqueue(*(f"a{number}" for number in range(50)), backlog=A)
    await limits.enqueue("b0", "b1", backlog=B)
    assert set(await limits.admitted(4)) == {"a0", "b0", "a1", "b1"}


async def test_bound_of_a_call(limits: Limits) -> None:
    """One call looks at a bounded number, says that there is more, and others are woken."""
    count = held_module.ADMIT_LIMIT + 7
    ids = [f"j{number}" for number in range(count)]
    await limits.enqueue(*ids, backlog=A)
    await limits.store.call("DEL", limits.store.keys.bell)
    seen = await limits.look(1000)
    assert ids_of(seen.read.deliveries) == ids[: held_module.ADMIT_LIMIT]
    assert seen.has_more
    assert len(await limits.store.stream_at(limits.store.keys.bell)) == 1
    seen = await limits.look(1000)
    assert ids_of(seen.read.deliveries) == ids[held_module.ADMIT_LIMIT :]
    assert not seen.has_more


async def test_bytes_of_a_call(limits: Limits) -> None:
    """Large payloads come few at a time."""
    await limits.enqueue(*"abcd", backlog=A, envelope=b"x" * 600_000)
    assert ids_of((await limits.look()).read.deliveries) == ["a", "b"]
    assert await limits.admitted() == ["c", "d"]


async def test_jobs_that_have_ended_unseen(store: Store, limits: Limits) -> None:
    """Those whose hash another program has deleted are passed over, a bounded number a call."""
    ids = [f"j{number}" for number in range(600)]
    for start in range(0, 600, 300):
        await limits.enqueue(*ids[start : start + 300], backlog=A)
    await store.call("DEL", *(store.keys.job(one) for one in ids[:-1]))
    seen = await limits.look()
    assert seen.read.deliveries == []
    assert seen.has_more
    assert await limits.admitted() == [ids[-1]]
    await limits.check()


async def test_deleted_backlog(store: Store, limits: Limits) -> None:
    """It leaves nothing that would be looked at for ever."""
    await limits.enqueue("a", backlog=A)
    await limits.enqueue("b", backlog=B)
    await store.call("DEL", f"{store.keys.prefix}backlog:{A}")
    assert await limits.admitted() == ["b"]
    assert await limits.members("ready") == []
    await limits.enqueue("c", backlog=A)
    assert await limits.admitted() == ["c"]


async def test_group_was_deleted(store: Store, limits: Limits) -> None:
    """A job that was admitted and is delivered again has kept its permits."""
    await limits.rule("c=a", "1")
    await limits.enqueue("a", backlog=A)
    await limits.admit()
    await store.call("XGROUP", "DESTROY", store.keys.stream(ADMITTED), GROUP)
    await store.queue.create_groups(store.link)
    (again,) = await store.read("w2")
    assert (again.job_id, again.permits) == ("a", b"c=a")
    assert await store.settle(again) == []
    assert await limits.is_left() == set()


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_concurrency(store: Store, limits: Limits, most: int) -> None:
    """So many run at once and no more; each end lets the next one pass."""
    await limits.rule("c=a", str(most))
    ids = [f"j{number}" for number in range(8)]
    await limits.enqueue(*ids, backlog=A)
    running = await limits.admit()
    found = ids_of(running)
    while running:
        assert len(running) == min(most, len(running) + len(ids) - len(found))
        await store.settle(running.pop(0))
        await limits.check()
        more = await limits.admit()
        running, found = running + more, found + ids_of(more)
    assert found == ids
    assert await limits.is_left() == set()


async def test_each_key_by_itself(store: Store, limits: Limits) -> None:
    """One rule holds for each value of the key."""
    await limits.rule("c=a", "1")
    for value in "xyz":
        await limits.enqueue(f"{value}0", f"{value}1", backlog=backlog(f"c=a:{value}"))
    running = await limits.admit()
    assert set(ids_of(running)) == {"x0", "y0", "z0"}
    (y,) = [one for one in running if one.job_id == "y0"]
    await store.settle(y)
    assert await limits.admitted() == ["y1"]
    await limits.check()


async def test_one_end_wakes_one_worker(store: Store, limits: Limits) -> None:
    """The bell has one message, however many permits return at once."""
    await limits.rule("c=a", "3")
    await limits.enqueue(*"abcdef", backlog=A)
    running = await limits.admit()
    await store.call("DEL", store.keys.bell)
    await store.settle(*running)
    assert len(await store.stream_at(store.keys.bell)) == 1
    assert await limits.admitted() == ["d", "e", "f"], "all the room is used"


async def test_many_backlogs_of_one_limit(store: Store, limits: Limits) -> None:
    """Each permit that returns is for the backlog that has waited longest."""
    await limits.rule("c=all", "2")
    names = [backlog(f"c=k:{number}", "c=all") for number in range(6)]
    for number, name in enumerate(names):
        await limits.enqueue(f"j{number}", f"k{number}", backlog=name)
    order: list[str] = []
    running = await limits.admit()
    while running:
        assert len(running) <= 2
        order.append(running[0].job_id)
        await store.settle(running.pop(0))
        await limits.check()
        running += await limits.admit()
    assert {one[0] for one in order[:6]} == {"j"}, "all had one before any had two"
    assert len(order) == 12


async def test_no_limit_is_charged_if_one_refuses(store: Store, limits: Limits) -> None:
    """A job that waits for one limit takes nothing of the others."""
    await limits.rule("c=a", "5")
    await limits.rule("r=r", f"5 {HOUR} 5")
    await limits.rule("c=b", "1")
    await limits.enqueue("first", backlog=B)
    assert await limits.admitted() == ["first"]
    await limits.enqueue("second", backlog=backlog("c=a", "r=r", "c=b"))
    assert await limits.admitted() == []
    assert await limits.permits("c=a") == set()
    assert await store.call("EXISTS", f"{store.keys.prefix}rate:r=r") == 0
    await limits.check()


async def test_room_goes_on_to_the_next_if_another_limit_refuses(
    store: Store, limits: Limits
) -> None:
    """The backlog that is woken cannot use it, and the one behind it can: in the same call."""
    await limits.rule("c=all", "1")
    await limits.rule("c=b", "1")
    await limits.enqueue("b0", backlog=B)
    await limits.admit()
    await limits.enqueue("a0", backlog=backlog("c=all"))
    (a0,) = await limits.admit()
    await limits.enqueue("b1", backlog=backlog("c=all", "c=b"))
    await limits.admit()
    await limits.enqueue("a1", "a2", backlog=backlog("c=all", "c=free"))
    await limits.admit()
    assert await limits.members("blocked:c=all") != []
    await store.settle(a0)
    assert await limits.admitted() == ["a1"]
    await limits.check()


async def test_many_limits(limits: Limits) -> None:
    """Tasks may have dozens, and one look may meet thousands."""
    names = [backlog(*(f"c=limit{of}:{key}" for of in range(60))) for key in range(120)]
    for number, name in enumerate(names):
        await limits.enqueue(f"a{number}", f"b{number}", backlog=name)
    await limits.rule("c=limit59", "1")
    assert sorted(await limits.admitted(1000)) == sorted(f"a{number}" for number in range(120))
    await limits.check()
