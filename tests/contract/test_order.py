"""Jobs in order: one of a key runs, and the next one when it has ended, however that comes."""

from typing import cast

import pytest

from aiostreamq.model.delivery import Delivery, RetryRequest, Settlement
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.connection.link import CommandError
from tests.support.limits import TASK, Limits, backlog
from tests.support.store import ENVELOPE, HOUR_MS, Store, outcome_of

A, B = backlog("o=a"), backlog("o=b")
EXPIRED = ENVELOPE[:-1] + b',"expires":1}'


async def line(limits: Limits, token: str = "o=a") -> list[str]:
    """Return the jobs of an order."""
    return await limits.members(f"order:{token}")


async def start(limits: Limits, *ids: str, name: str = A) -> Delivery:
    """Enqueue jobs, and deliver the first."""
    await limits.enqueue(*ids, backlog=name)
    (first,) = await limits.admit()
    assert first.job_id == ids[0]
    return first


async def test_one_at_a_time(store: Store, limits: Limits) -> None:
    """In their order, and those of another key beside them."""
    await limits.enqueue("a1", "a2", "a3", backlog=A)
    await limits.enqueue("b1", "b2", backlog=B)
    ran: list[list[str]] = []
    while found := await limits.admit():
        ran.append([one.job_id for one in found])
        assert {one.permits for one in found} <= {b"o=a", b"o=b"}
        await limits.check()
        await store.settle(*found)
        await limits.check()
    assert ran == [["a1", "b1"], ["a2", "b2"], ["a3"]]
    assert await limits.is_left() == set()


async def test_end_wakes_a_worker(store: Store, limits: Limits) -> None:
    """The next of the key is ready, and the bell has rung."""
    first = await start(limits, "a1", "a2")
    await store.call("DEL", store.keys.bell)
    assert await limits.members("ready") == []
    await store.settle(first)
    assert await limits.members("ready") == [A]
    assert await store.call("XLEN", store.keys.bell) == 1


@pytest.mark.parametrize("delay_ms", [0, HOUR_MS])
async def test_retry_keeps_its_place(store: Store, limits: Limits, delay_ms: int) -> None:
    """Until its last attempt has ended nothing comes before it, however often a worker looks."""
    first = await start(limits, "a1", "a2")
    await store.delayed.retry([RetryRequest(first, delay_ms)])
    assert await limits.admitted() == []
    await store.call("ZADD", store.keys.delayed, "XX", 0, "a1")
    await store.delayed.promote()
    assert await limits.admitted() == []
    (again,) = await store.read()
    assert await limits.admitted() == []
    await limits.hold(again, backlog=A)
    await limits.check()
    (again,) = await limits.admit()
    assert (again.job_id, again.attempt) == ("a1", 2)
    await store.settle(again)
    assert await limits.admitted() == ["a2"]


async def test_handed_back(store: Store, limits: Limits) -> None:
    """A worker that stops gives it back, and the next one has it before all others."""
    first = await start(limits, "a1", "a2")
    await store.deliveries.requeue([first])
    assert await limits.admitted() == []
    (again,) = await store.read()
    await limits.hold(again, backlog=A)
    assert await limits.admitted() == ["a1"]


async def test_parked(store: Store, limits: Limits) -> None:
    """A pause keeps the order too."""
    first = await start(limits, "a1", "a2")
    await store.parking.park([(first, TASK)])
    assert await limits.admitted() == []
    await store.parking.unpark([TASK])
    (again,) = await store.read()
    await limits.hold(again, backlog=A)
    assert await limits.admitted() == ["a1"]


async def test_dead_worker(store: Store, limits: Limits) -> None:
    """A job is recovered into its place."""
    await store.workers.join("w1", 1000)
    await start(limits, "a1", "a2")
    await store.workers.recover("w1", "0 1000", 2)
    assert await limits.admitted() == []
    (again,) = await store.read()
    await limits.hold(again, backlog=A)
    assert await limits.admitted() == ["a1"]


async def test_given_up(store: Store, limits: Limits) -> None:
    """A job whose workers died lets the next one run."""
    await store.workers.join("w1", 1000)
    await start(limits, "a1", "a2")
    await store.workers.recover("w1", "0 1000", 1)
    assert await limits.admitted() == ["a2"]


@pytest.mark.parametrize("name", [backlog("o=a", lane="slow"), backlog("o=a", "c=x")])
async def test_several_backlogs(store: Store, limits: Limits, name: str) -> None:
    """The jobs of a key run in one order, whatever their lanes and their other limits."""
    await limits.rule("c=x", "1")
    order = [("j0", A), ("j1", name), ("j2", name), ("j3", A), ("j4", name), ("j5", A)]
    for job, where in order:
        await limits.enqueue(job, backlog=where)
    for job, _ in order:
        (found,) = await limits.admit()
        assert found.job_id == job
        await limits.check()
        await store.settle(found)
    assert await limits.is_left() == set()


async def test_asked_in_the_wrong_order(store: Store, limits: Limits) -> None:
    """A look that meets the backlog of a later job first still admits the first job."""
    await limits.enqueue("a1", backlog=A)
    await limits.enqueue("a2", backlog=backlog("o=a", lane="slow"))
    await store.call("ZADD", store.keys.ready, -1, backlog("o=a", lane="slow"))
    assert await limits.admitted() == ["a1"]
    await limits.check()


async def test_other_limits_are_asked_last(store: Store, limits: Limits) -> None:
    """A job that waits for another limit is first in its order; one behind it charges nothing."""
    await limits.rule("c=x", "1")
    await limits.enqueue("x", backlog=backlog("c=x"))
    (other,) = await limits.admit()
    await limits.enqueue("a1", "a2", backlog=backlog("o=a", "c=x"))
    assert await limits.admitted() == []
    await store.settle(other)
    (first,) = await limits.admit()
    assert (first.job_id, await limits.permits("c=x")) == ("a1", {"a1 1"})
    await store.settle(first)
    assert await limits.admitted() == ["a2"]


@pytest.mark.parametrize("which", ["a1", "a2", "a3"])
async def test_cancel_what_waits(store: Store, limits: Limits, which: str) -> None:
    """It leaves the order."""
    await limits.enqueue("a1", "a2", "a3", backlog=A)
    if which != "a1":
        (first,) = await limits.admit()
        await Cancellation(store.queue).cancel([which])
        await store.settle(first)
    else:
        await Cancellation(store.queue).cancel([which])
    left = [one for one in ("a1", "a2", "a3") if one != which]
    for job in left if which == "a1" else left[1:]:
        (found,) = await limits.admit()
        assert found.job_id == job
        await store.settle(found)
    assert await limits.is_left() == set()


async def test_cancel_what_waits_for_its_next_attempt(store: Store, limits: Limits) -> None:
    """The next job runs at once."""
    first = await start(limits, "a1", "a2")
    await store.delayed.retry([RetryRequest(first, HOUR_MS)])
    assert await Cancellation(store.queue).cancel(["a1"]) == [b"delayed"]
    assert await limits.admitted() == ["a2"]


@pytest.mark.parametrize("leave", ["parked", "queued"])
async def test_cancel_on_its_way_back(store: Store, limits: Limits, leave: str) -> None:
    """Likewise from a task that is paused, and from a lane."""
    first = await start(limits, "a1", "a2")
    if leave == "parked":
        await store.parking.park([(first, TASK)])
    else:
        await store.deliveries.requeue([first])
    assert await Cancellation(store.queue).cancel(["a1"]) == [leave.encode()]
    assert await limits.admitted() == ["a2"]


@pytest.mark.parametrize("how", ["settle", "retry", "requeue", "park", "recover"])
async def test_cancel_what_runs(store: Store, limits: Limits, how: str) -> None:
    """It stays the first until its worker lets it go, in whatever way."""
    await store.workers.join("w1", 1000)
    first = await start(limits, "a1", "a2")
    assert await Cancellation(store.queue).cancel(["a1"]) == [b"running"]
    assert await limits.admitted() == []
    if how == "settle":
        await store.settle(first)
    elif how == "retry":
        await store.delayed.retry([RetryRequest(first, 1)])
    elif how == "requeue":
        await store.deliveries.requeue([first])
    elif how == "park":
        await store.parking.park([(first, TASK)])
    else:
        await store.workers.recover("w1", "0 1000", 2)
    assert await limits.admitted() == ["a2"]


async def test_unreadable(store: Store, limits: Limits) -> None:
    """A job that no worker can read ends, and the next one runs."""
    first = await start(limits, "a1", "a2")
    entries = [(first.stream, first.entry)]
    await store.deliveries.dead_letter_unreadable(entries, encode_unreadable("why"), "w1")
    assert await limits.admitted() == ["a2"]


async def test_expired(store: Store, limits: Limits) -> None:
    """A job that has waited too long is ended out of its turn, and leaves the order."""
    first = await start(limits, "a1")
    await limits.enqueue("old", backlog=A, envelope=EXPIRED)
    await limits.enqueue("a3", backlog=A)
    await store.settle(first)
    (old,) = await limits.admit()
    assert (old.job_id, old.permits) == ("old", b"o=a")
    await store.settle(old)
    assert await limits.admitted() == ["a3"]


async def test_end_without_permits(store: Store, limits: Limits) -> None:
    """A job that ends on its way back, before it is held again, leaves the order."""
    first = await start(limits, "a1", "a2")
    await store.delayed.retry([RetryRequest(first, 0)])
    (again,) = await store.read()
    again = again._replace(permits=b"-")
    await store.deliveries.settle([Settlement(again, HOUR_MS, outcome_of(again))], "w1")
    assert await line(limits) == ["a2"]
    assert await limits.admitted() == ["a2"]


async def test_repeated_settle(store: Store, limits: Limits) -> None:
    """After a lost reply it changes nothing, even if another is first by then."""
    first = await start(limits, "a1", "a2", "a3")
    await store.settle(first)
    (second,) = await limits.admit()
    await store.settle(first)
    assert await line(limits) == ["a2", "a3"]
    assert await limits.admitted() == []
    await store.settle(second)
    assert await limits.admitted() == ["a3"]


async def test_refused_settle(store: Store, limits: Limits) -> None:
    """A worker that has lost a job does not end it, and nothing comes before it."""
    first = await start(limits, "a1", "a2")
    await store.deliveries.requeue([first])
    assert await store.settle(first) == [first]
    assert await limits.admitted() == []
    assert await line(limits) == ["a1", "a2"]


async def test_comes_by_a_lane(store: Store, limits: Limits) -> None:
    """A job without a place does not come before the one that runs, but after all that wait."""
    late = await store.deliver("late")
    first = await start(limits, "a1", "a2")
    await limits.hold(late, backlog=A)
    await limits.check()
    assert await limits.admitted() == []
    assert (await line(limits))[0] == "a1"
    await store.settle(first)
    (second,) = await limits.admit()
    assert second.job_id == "a2"
    await store.settle(second)
    assert await limits.admitted() == ["late"]


async def test_clock_set_back(store: Store, limits: Limits) -> None:
    """A job that comes is never before the first one."""
    first = await start(limits, "a1")
    ahead = 4_000_000_000_000_000
    await store.call("ZADD", store.keys.order("o=a"), ahead, "a1")
    await limits.enqueue("a3", "a2", backlog=A)
    assert await line(limits) == ["a1", *await limits.members(f"backlog:{A}")] == ["a1", "a3", "a2"]
    assert await limits.admitted() == []
    await store.settle(first)
    assert await limits.admitted() == ["a3"]


async def test_another_order(store: Store, limits: Limits) -> None:
    """A job that comes back to code with another order leaves the one that it had."""
    first = await start(limits, "a1", "a2")
    await store.delayed.retry([RetryRequest(first, 0)])
    (again,) = await store.read()
    await limits.hold(again, backlog=B)
    assert (await line(limits), await line(limits, "o=b")) == (["a2"], ["a1"])
    assert sorted(await limits.admitted()) == ["a1", "a2"]


# --- ends that no script has noted


async def look_at(store: Store, limits: Limits) -> list[str]:
    """Let the time pass until the orders are looked at, and admit."""
    for token in await limits.names("blocked:"):
        await store.call("ZADD", store.keys.due, "XX", 0, token)
    return await limits.admitted()


async def test_unnoticed_end(store: Store, limits: Limits) -> None:
    """A worker of an older release does not know of orders; the next job waits some seconds."""
    first = await start(limits, "a1", "a2")
    before = await limits.scores("due")
    older = first._replace(permits=None)
    await store.deliveries.settle([Settlement(older, HOUR_MS, outcome_of(older))], "w1")
    seen = await limits.look()
    assert seen.read.deliveries == []
    assert seen.wait is not None
    assert seen.wait <= 5
    assert before["o=a"] != float("inf")
    assert await look_at(store, limits) == ["a2"]
    assert await line(limits) == ["a2"]


async def test_lost_stream(store: Store, limits: Limits) -> None:
    """So it is if an operator deletes the job itself."""
    await start(limits, "a1", "a2")
    await store.call("DEL", store.keys.job("a1"))
    assert await look_at(store, limits) == ["a2"]


async def test_looks_again_and_again(store: Store, limits: Limits) -> None:
    """A look changes nothing while the first job runs; the next comes later, within bounds."""
    first = await start(limits, "a1", "a2")
    for _ in range(3):
        assert await look_at(store, limits) == []
        await limits.check()
    (now,) = await limits.scores("due")
    assert now == "o=a"
    entry = f"{int(first.entry.split(b'-')[0]) - HOUR_MS}-0"
    await store.call("HSET", store.keys.job("a1"), "e", entry)
    seconds = cast("list[bytes]", await store.call("TIME"))[0]
    await look_at(store, limits)
    due = (await limits.scores("due"))["o=a"] / 1000 - int(seconds)
    assert 55 < due < 65


async def test_many_ended_jobs_before_it(store: Store, limits: Limits) -> None:
    """However many have ended unnoticed, the next one comes."""
    await start(limits, "a1", "a2")
    await store.call("DEL", store.keys.job("a1"))
    ghosts = [part for at in range(250) for part in (str(at), f"ghost{at}")]
    await store.call("ZADD", store.keys.order("o=a"), *ghosts)
    found: list[str] = []
    for _ in range(4):
        found += await look_at(store, limits)
    assert found == ["a2"]


async def test_deleted_order(store: Store, limits: Limits) -> None:
    """If another program deletes the order, jobs run on one after the other."""
    first = await start(limits, "a1", "a2", "a3")
    await store.call("DEL", store.keys.order("o=a"))
    await store.settle(first)
    (second,) = await look_at_until(store, limits)
    assert await limits.admitted() == []
    await store.settle(second)
    assert [one.job_id for one in await look_at_until(store, limits)] == ["a3"]


async def look_at_until(store: Store, limits: Limits) -> list[Delivery]:
    """Let the time pass, and return what is admitted."""
    for token in await limits.names("blocked:"):
        await store.call("ZADD", store.keys.due, "XX", 0, token)
    return await limits.admit()


async def test_foreign_key(store: Store, limits: Limits) -> None:
    """If an order is the key of another program, its jobs wait for the repair, and no others."""
    await limits.enqueue("a1", backlog=A)
    await limits.enqueue("b1", backlog=B)
    await store.call("SET", store.keys.order("o=a"), "mine")
    assert await limits.admitted() == ["b1"]
    await limits.check()
    await store.call("DEL", store.keys.order("o=a"))
    assert await look_at(store, limits) == ["a1"]


async def test_come_to_a_foreign_key(store: Store, limits: Limits) -> None:
    """No job comes in, and none is lost on its way back."""
    delivery = await store.deliver("b")
    await store.call("SET", store.keys.order("o=b"), "mine")
    with pytest.raises(CommandError, match="order:o=b"):
        await limits.enqueue("b1", backlog=B)
    with pytest.raises(CommandError, match="order:o=b"):
        await limits.hold(delivery, backlog=B)
    assert await store.pending() == 1
    assert not await limits.names("backlog:")


async def test_end_with_a_foreign_key(store: Store, limits: Limits) -> None:
    """A job ends whatever its order has become."""
    first = await start(limits, "a1")
    await store.call("SET", store.keys.order("o=a"), "mine")
    assert await store.settle(first) == []
    assert await store.results.job_state("a1") == outcome_of(first)
