"""`queue.limits`: what operators see and set while jobs wait."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from aiostreamq import Concurrency, JobState, Queue, Rate, UsageError, WaitReason, Worker
from aiostreamq.testing import isolated
from tests.support.waiting import PATIENCE, wait_until


@asynccontextmanager
async def working(queue: Queue) -> AsyncGenerator[None]:
    """A worker of the queue."""
    run = asyncio.create_task(Worker(queue).run())
    try:
        await wait_until(queue.limits.list, "the rules of the worker")
        yield
    finally:
        run.cancel()
        await asyncio.wait([run])


async def test_life_of_a_rule(store_url: str) -> None:
    """It stops and starts jobs at once, any that waits; holders and lines are heard."""
    queue, gate = Queue(store_url, name="q"), asyncio.Event()

    @queue.task(limits=[Concurrency(1, key="tenant")])
    async def sync(tenant: str) -> str:
        await gate.wait()
        return tenant

    async with queue, working(queue):
        first, second = [await sync.enqueue("acme") for _ in range(2)]
        await wait_until(lambda: _is(first.status, JobState.RUNNING), "the first runs")
        wait = (await second.info()).wait
        assert wait is not None
        assert (wait.reason, wait.limit, wait.ahead) == (WaitReason.LIMIT, "sync.tenant:acme", 0)
        assert wait.limits[0].holders == (first.id,)
        assert await queue.limits.explain(sync, "other") != await queue.limits.explain(sync, "acme")
        assert (await queue.limits.explain(sync, "other")).reason is WaitReason.SLOT
        assert (await queue.limits.explain(sync, tenant="acme")).ahead == 1
        version = await queue.limits.set("sync.tenant:acme", Concurrency(2))
        await wait_until(lambda: _is(second.status, JobState.RUNNING), "the second runs")
        (limit,) = await queue.limits.list()
        assert (limit.rule, limit.set_rules[0].version, limit.held) == (
            "Concurrency(1)",
            version,
            2,
        )
        assert "@" in limit.set_rules[0].set_by
        (state,) = await queue.limits.get("sync.tenant:acme")
        assert (state.rule, state.decided_by, state.has_room) == (
            "Concurrency(2)",
            "sync.tenant:acme",
            False,
        )
        assert await queue.limits.clear("sync.tenant:acme")
        assert not await queue.limits.clear("sync.tenant:acme")
        gate.set()
        async with asyncio.timeout(PATIENCE):
            assert [await first, await second] == ["acme", "acme"]


async def _is(status: Callable[[], Awaitable[JobState]], state: JobState) -> bool:
    return await status() is state


async def test_clear_by_kind(store_url: str) -> None:
    """A name may be a concurrency and a rate; `clear` takes both back unless it is heard."""
    queue = Queue(store_url, name="q")
    async with queue:
        rules = Concurrency(5), Rate("5/s")
        for rule in rules:
            await queue.limits.set("api:*", rule)
        assert {one.kind for one in await queue.limits.list()} == {"concurrency", "rate"}
        assert await queue.limits.clear("api:*", kind="rate")
        assert [one.kind for one in await queue.limits.list()] == ["concurrency"]
        await queue.limits.set("api:*", Rate("5/s"))
        assert await queue.limits.clear("api:*")
        assert await queue.limits.list() == []


async def test_no_limits(store_url: str) -> None:
    """A task without limits waits for a worker only; an unknown limit has no state."""
    queue = Queue(store_url, name="q")

    @queue.task
    async def plain() -> None: ...

    async with queue:
        assert (await queue.limits.explain(plain)).reason is WaitReason.NO_WORKER
        assert await queue.limits.get("plain") == []
        job = await plain.enqueue()
        wait = (await job.info()).wait
        assert wait is not None
        assert wait.reason is WaitReason.NO_WORKER


async def test_wrong_use() -> None:
    """Each mistake is named, and nothing is set."""
    queue = Queue("memory://wrong", name="q")

    @queue.task(limits=[Concurrency(1, key="tenant")])
    async def sync(tenant: str) -> None: ...

    limits = queue.limits
    async with queue:
        for name in ("", "a b", "a:", "a:b:c", "a:*b", "a*", None):
            with pytest.raises(UsageError, match="give its name"):
                await limits.set(name, Concurrency(1))  # pyright: ignore[reportArgumentType]  # what not all check
        for rule in (Concurrency(1, key="x"), Rate("1/s", name="x"), Rate("1/s", cost="n")):
            with pytest.raises(UsageError, match="only the code can give"):
                await limits.set("a", rule)
        with pytest.raises(UsageError, match="give Concurrency"):
            await limits.set("a", 5)  # pyright: ignore[reportArgumentType]  # what not all check
        for who in ("", "x" * 129, "a\nb", 7):
            with pytest.raises(UsageError, match="printable"):
                await limits.set("a", Concurrency(1), by=who)  # pyright: ignore[reportArgumentType]  # what not all check
        with pytest.raises(UsageError, match="kind"):
            await limits.clear("a", kind="both")  # pyright: ignore[reportArgumentType]  # what not all check
        with pytest.raises(UsageError, match="not registered here"):
            await limits.explain(queue.named("other"))
        with pytest.raises(UsageError, match="not a task"):
            await limits.explain("sync")  # pyright: ignore[reportArgumentType]  # what not all check
        with pytest.raises(UsageError, match="tenant"):
            await limits.explain(sync)
        assert await limits.list() == []


def test_kill_switches_are_for_operators() -> None:
    """A task does not take a limit that lets no job start."""
    queue = Queue("memory://", name="q")

    async def sync() -> None: ...

    for limit in (Concurrency(0), Rate("0/s")):
        with pytest.raises(UsageError, match=r"queue\.limits\.set"):
            queue.task(limits=[limit])(sync)


async def test_held_jobs_are_enqueued_jobs(store_url: str) -> None:
    """Tests see them among the jobs that wait."""
    queue = Queue("memory://", name="q")

    @queue.task(limits=[Concurrency(1)])
    async def sync() -> None: ...

    async with isolated(queue, store_url) as test:
        await sync.enqueue()
        (job,) = await test.all_enqueued()
        assert (job.task, job.state, job.lane) == ("sync", JobState.HELD, "default")
