"""A job that waits says for which limit, who holds it, and how many come before it."""

import pytest

from aiostreamq.client.job_listing import look_at_job
from aiostreamq.client.job_waits import Waits
from aiostreamq.model.delivery import RetryRequest
from aiostreamq.model.info import JobInfo
from aiostreamq.model.limit_reports import JobWait, WaitReason
from aiostreamq.store.inspect.limit_states import LimitStates
from aiostreamq.store.pauses import PauseStore
from tests.support.held import TASK, Line
from tests.support.store import Store

LEASE_MS = 60_000
REPORT = b'{"started": 1, "lanes": ["default"], "tasks": ["size"]}'


@pytest.fixture
async def line(store: Store) -> Line:
    """The held jobs of the store, which has a worker for their task."""
    await store.workers.join("w1", LEASE_MS)
    await store.workers.renew("w1", LEASE_MS, REPORT)
    return Line(store)


async def wait_of(store: Store, job_id: str) -> JobWait:
    """Return why a job waits."""
    info: JobInfo = await look_at_job(store.queue, job_id, lambda _: None)
    assert info.wait is not None
    return info.wait


async def test_concurrency_and_its_holders(store: Store, line: Line) -> None:
    """The limit is named with its rule, the jobs that hold it, and how many wait before."""
    await line.rule("c=sync", "2")
    await line.enqueue(*"abcde", tokens="c=sync:acme")
    assert {one.job_id for one in await line.admit()} == {"a", "b"}
    wait = await wait_of(store, "e")
    assert (wait.reason, wait.limit, wait.until, wait.ahead) == (
        WaitReason.LIMIT,
        "sync:acme",
        None,
        2,
    )
    (limit,) = wait.limits
    assert (limit.rule, limit.decided_by, limit.has_room) == ("Concurrency(2)", "", False)
    assert (limit.held, set(limit.holders), limit.blocked) == (2, {"a", "b"}, 1)


async def test_rate_says_until_when_it_is_quiet(store: Store, line: Line) -> None:
    """That moment is by Redis's clock, and no later than the rule allows."""
    await line.rule("r=api", "1 60000 1")
    await line.enqueue("a", "b", tokens="r=api")
    await line.admit()
    wait = await wait_of(store, "b")
    assert (wait.reason, wait.limit, wait.limits[0].rule) == (
        WaitReason.LIMIT,
        "api",
        "Rate('1/m')",
    )
    assert wait.until is not None
    left = wait.until.timestamp() * 1000 - store.queue.clock.now_ms()
    assert 0 < left <= 60_001
    assert wait.limits[0].room_at == wait.until


async def test_of_several_limits_the_one_that_refuses(store: Store, line: Line) -> None:
    """The others say that they have room."""
    await line.rule("c=a", "5")
    await line.rule("c=b", "1")
    await line.enqueue("a", "b", tokens="c=a:x c=b")
    await line.admit()
    wait = await wait_of(store, "b")
    assert wait.limit == "b"
    assert [limit.has_room for limit in wait.limits] == [True, False]


async def test_nothing_stops_it(store: Store, line: Line) -> None:
    """It waits for a free slot."""
    await line.rule("c=sync", "2")
    await line.enqueue("a", "b", tokens="c=sync")
    assert [await wait_of(store, one) for one in "ab"] == [
        JobWait(WaitReason.SLOT, ahead=ahead, limits=(await wait_of(store, "a")).limits)
        for ahead in (0, 1)
    ]


async def test_pause_comes_before_limits(store: Store, line: Line) -> None:
    """A paused task or lane is the reason, with its end."""
    await line.rule("c=sync", "0")
    await line.enqueue("a", tokens="c=sync")
    pauses = PauseStore(store.queue)
    for name in (f"task:{TASK}", "lane:default"):
        await pauses.pause([name], "99999999999999")
        wait = await wait_of(store, "a")
        assert wait.reason is WaitReason.PAUSED
        assert wait.until is not None
        await pauses.resume([name])
    assert (await wait_of(store, "a")).reason is WaitReason.LIMIT


async def test_no_worker(store: Store, line: Line) -> None:
    """No living worker knows the task or serves the lane. One without a report may do both."""
    await line.enqueue("a", tokens="c=sync", task="other")
    await line.enqueue("b", tokens="c=sync", lane="slow")
    await store.enqueue("c", lane="slow")
    await store.enqueue("d")
    for job_id in "abc":
        assert (await wait_of(store, job_id)).reason is WaitReason.NO_WORKER
    assert (await wait_of(store, "d")).reason is WaitReason.SLOT
    await store.workers.join("w2", LEASE_MS)
    for job_id in "abc":
        assert (await wait_of(store, job_id)).reason is WaitReason.SLOT


async def test_running_and_delayed_jobs_wait_for_nothing(store: Store, line: Line) -> None:
    """Nor do those that have ended."""
    await line.enqueue("a", tokens="c=sync")
    (delivery,) = await line.admit()
    assert (await look_at_job(store.queue, "a", lambda _: None)).wait is None
    await store.settle(delivery)
    assert (await look_at_job(store.queue, "a", lambda _: None)).wait is None


async def test_a_call_that_is_not_there(store: Store, line: Line) -> None:
    """Its limits are looked at, nothing is charged, and no key is made."""
    await line.rule("c=sync", "1")
    before = await store.key_names()
    waits = Waits(store.queue)
    for _ in range(2):
        wait = await waits.of_call(TASK, "default", f"default {TASK} c=sync:acme", "")
        assert wait.reason is WaitReason.SLOT
    assert await store.key_names() == before
    await line.enqueue("a", "b", tokens="c=sync:acme")
    await line.admit()
    wait = await waits.of_call(TASK, "default", f"default {TASK} c=sync:acme", "")
    assert (wait.reason, wait.limit, wait.ahead) == (WaitReason.LIMIT, "sync:acme", 1)
    assert (await waits.of_call(TASK, "default")).reason is WaitReason.SLOT


async def test_permits_of_lost_jobs_are_not_their_holders(store: Store, line: Line) -> None:
    """A permit is checked by reference, and looking changes nothing."""
    await line.rule("c=sync", "1")
    await line.enqueue("a", tokens="c=sync")
    await store.call("ZADD", store.keys.permits("c=sync"), 1, "lost 1")
    found = await LimitStates(store.queue).explain(f"default {TASK} c=sync", "", "a")
    assert (found.limits[0].held, found.limits[0].holders) == (1, ())
    assert await store.call("ZCARD", store.keys.permits("c=sync")) == 1


async def test_order(store: Store, line: Line) -> None:
    """The job whose turn it is is named, wherever it is, until it has ended."""
    await line.rule("o=book", "1")
    await line.enqueue("a", "b", "c", tokens="o=book:7")
    states = LimitStates(store.queue)
    (limit,) = (await states.explain("default size o=book:7", "", "a")).limits
    assert (limit.has_room, limit.holders) == (True, ("a",))
    (first,) = await line.admit()
    await store.delayed.retry([RetryRequest(first, 60_000)])
    for job_id, ahead in (("b", 0), ("c", 1)):
        wait = await wait_of(store, job_id)
        assert (wait.reason, wait.limit, wait.ahead) == (WaitReason.LIMIT, "book:7", ahead)
        (limit,) = wait.limits
        assert (limit.name, limit.kind, limit.rule) == ("book:7", "order", "Ordered()")
        assert (limit.has_room, limit.held, limit.holders) == (False, 1, ("a",))
    (limit,) = (await states.explain("- - o=book:8")).limits
    assert (limit.has_room, limit.held, limit.holders) == (True, 0, ())
