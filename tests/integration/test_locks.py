"""Locks: one holder at a time, first come, first served, and a holder that loses one learns it."""

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from aiostreamq import (
    BrokerError,
    Fence,
    LockLost,
    Queue,
    QueueUnavailable,
    UsageError,
    WaitTimeout,
    Worker,
)
from aiostreamq.client.core import core_of
from aiostreamq.client.sessions import locking
from aiostreamq.store.scripts import SCRIPTS
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, TIME_SCALE, wait_until

#: Seconds. A lease that a test lets end, and that a loaded machine still renews in time.
SHORT = 0.4 * TIME_SCALE


@pytest.fixture
def only_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no waiter look again by itself."""
    monkeypatch.setattr(locking, "pause_of", lambda _: 3600.0)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]


@pytest.fixture
async def other(queue: Queue, store_url: str) -> AsyncIterator[Queue]:
    """The same queue in another program."""
    async with Queue(store_url) as other:
        yield other


async def redis(queue: Queue, *command: str) -> object:
    """Run a command of Redis."""
    return await core_of(queue).session().store.call(*command)


def key(queue: Queue, name: str = "lock:a") -> str:
    """Return a key of the queue."""
    return core_of(queue).session().store.keys.prefix + name


def locking_of(queue: Queue) -> locking.Locking:
    """Return the locks that a queue has here."""
    return core_of(queue).session().locking


async def waiting(queue: Queue) -> int:
    """Count who waits for the lock "a"."""
    found = await redis(queue, "ZCARD", key(queue, "lock_line:a"))
    assert isinstance(found, int)
    return found


async def is_free(queue: Queue) -> bool:
    """Return whether the lock "a" is free, without waiters."""
    if await waiting(queue):
        return False
    try:
        async with queue.lock("a", wait=0):
            return True
    except WaitTimeout:
        return False


async def for_ever() -> None:
    """Run until cancelled."""
    await asyncio.Event().wait()


async def test_one_at_a_time(queue: Queue, other: Queue, only_calls: None) -> None:
    """Fifty tasks of two programs share a lock; fences rise, and calls alone wake them."""
    inside, fences = 0, list[int]()

    async def work(queue: Queue) -> None:
        nonlocal inside
        async with queue.lock("a") as fence:
            inside += 1
            assert inside == 1
            fences.append(fence)
            await asyncio.sleep(0)
            inside -= 1

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for number in range(50):
            group.create_task(work(other if number % 2 else queue))
    assert fences == sorted(set(fences))
    assert len(fences) == 50


async def test_order(queue: Queue, other: Queue, only_calls: None) -> None:
    """The first to come is the first to go, in any program."""
    went: list[int] = []

    async def work(queue: Queue, number: int) -> None:
        async with queue.lock("a"):
            went.append(number)

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group, queue.lock("a"):
        for number in range(10):
            group.create_task(work(other if number % 2 else queue, number))
            await wait_until(lambda n=number: _is_number(queue, n + 1), "one more to wait")
    assert went == [*range(10)]


async def _is_number(queue: Queue, number: int) -> bool:
    return await waiting(queue) == number


async def test_different_names(queue: Queue) -> None:
    """They have nothing to do with each other, but for the fences, which are of one counter."""
    async with queue.lock("a") as first, queue.lock("b", wait=0) as second:
        assert second > first


async def test_entered_again(queue: Queue) -> None:
    """A lock that was left can be taken again, also after an error of its body."""
    lock = queue.lock("a", wait=0)
    with pytest.raises(ZeroDivisionError):
        async with lock:
            raise ZeroDivisionError
    async with lock as fence:
        assert not fence.is_lost


@pytest.mark.parametrize("wait", [0, 0.05, "50ms"])
async def test_wait(queue: Queue, other: Queue, wait: float | str) -> None:
    """It ends with WaitTimeout, and leaves no place in the line."""
    async with queue.lock("a"):
        with pytest.raises(WaitTimeout, match=r"lock 'a' was not free within 0"):
            async with other.lock("a", wait=wait):
                pytest.fail("it was held")
        await wait_until(lambda: _is_number(queue, 0), "its place to be free")


async def test_taken_twice(queue: Queue) -> None:
    """A task that would wait for itself is refused; another one waits."""
    lock = queue.lock("a")
    async with lock:
        with pytest.raises(UsageError, match="holds lock 'a' already"):
            async with queue.lock("a"):
                pass
        with pytest.raises(UsageError, match="is entered"):
            async with lock:
                pass
        with pytest.raises(WaitTimeout):
            await asyncio.create_task(_try(queue))
    assert await is_free(queue)


async def _try(queue: Queue) -> None:
    async with queue.lock("a", wait=0):
        pass


async def test_one_object_in_two_tasks(queue: Queue) -> None:
    """The second is refused, and the lock is free afterwards."""
    lock, entered = queue.lock("a"), asyncio.Event()

    async def enter() -> None:
        async with lock:
            entered.set()
            await asyncio.sleep(0)

    found = await asyncio.gather(enter(), enter(), return_exceptions=True)
    assert sum(isinstance(one, UsageError) for one in found) <= 1
    assert await is_free(queue)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("", {}, id="empty name"),
        pytest.param("a b", {}, id="space"),
        pytest.param("a" * 129, {}, id="long name"),
        pytest.param(7, {}, id="number"),
        pytest.param("a", {"lease": 0}, id="no lease"),
        pytest.param("a", {"lease": "50ms"}, id="short lease"),
        pytest.param("a", {"lease": "soon"}, id="no duration"),
        pytest.param("a", {"lease": None}, id="lease of none"),
        pytest.param("a", {"wait": -1}, id="negative wait"),
        pytest.param("a", {"wait": "soon"}, id="wait is not a duration"),
    ],
)
def test_wrong_use(name: object, options: dict[str, object]) -> None:
    """It is refused at once, without Redis."""
    with pytest.raises(UsageError):
        Queue("redis://nowhere").lock(name, **options)  # pyright: ignore[reportArgumentType]


async def test_renewed(queue: Queue) -> None:
    """The body may last for many leases."""
    async with queue.lock("a", lease=SHORT) as fence:
        until = int(str(await _field(queue, "until")))
        await wait_until(lambda: _is_later(queue, until + int(2000 * SHORT)), "two leases")
        assert not fence.is_lost


async def _field(queue: Queue, name: str) -> str:
    found = await redis(queue, "HGET", key(queue), name)
    return found.decode() if isinstance(found, bytes) else ""


async def _is_later(queue: Queue, than: int) -> bool:
    return int(await _field(queue, "until")) > than


async def delete(queue: Queue) -> None:
    """Delete the key of the lock."""
    await redis(queue, "DEL", key(queue))


async def overwrite(queue: Queue) -> None:
    """Put something else in its place."""
    await redis(queue, "SET", key(queue), "x")


async def take_away(queue: Queue) -> None:
    """Give it to another holder, as if the lease had been over."""
    await redis(queue, "HSET", key(queue), "owner", "other.1")


LOSSES = pytest.mark.parametrize("lose", [delete, overwrite, take_away])


@LOSSES
async def test_lost(queue: Queue, lose: Callable[[Queue], Awaitable[None]]) -> None:
    """The body is cancelled, and `async with` raises LockLost; the task continues."""
    fences: list[Fence] = []

    async def work() -> None:
        async with queue.lock("a", lease=SHORT) as fence:
            fences.append(fence)
            await lose(queue)
            await for_ever()

    with pytest.raises(LockLost, match="lock 'a' was lost"):
        await work()
    assert fences[0].is_lost
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


@LOSSES
async def test_lost_unnoticed(queue: Queue, lose: Callable[[Queue], Awaitable[None]]) -> None:
    """A body that ends before the next renewal learns it from the release."""
    with pytest.raises(LockLost, match="lost before its body ended"):
        async with queue.lock("a"):
            await lose(queue)


async def test_lost_without_cancelling(queue: Queue) -> None:
    """With cancel_if_lost=False the body continues, and may look, or wait."""
    async with queue.lock("a", lease=SHORT, cancel_if_lost=False) as fence:
        await delete(queue)
        async with asyncio.timeout(PATIENCE):
            await fence.wait_lost()
        assert fence.is_lost
    async with queue.lock("a", cancel_if_lost=False):
        await delete(queue)


async def test_lost_in_a_group(queue: Queue) -> None:
    """A group of tasks in the body is cancelled as a whole."""
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await for_ever()
        finally:
            ended.append(number)

    async def hold() -> None:
        async with queue.lock("a", lease=SHORT), asyncio.TaskGroup() as group:
            group.create_task(work(1))
            group.create_task(work(2))
            await delete(queue)

    with pytest.raises(LockLost):
        await hold()
    assert sorted(ended) == [1, 2]


async def test_lost_under_a_timeout(queue: Queue) -> None:
    """The cancellation of one is not taken for that of the other."""

    async def work() -> None:
        async with asyncio.timeout(PATIENCE), queue.lock("a", lease=SHORT):
            await delete(queue)
            await for_ever()

    with pytest.raises(LockLost):
        await work()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02), queue.lock("a"):
            await for_ever()
    assert await is_free(queue)


async def test_body_swallows_the_cancellation(queue: Queue) -> None:
    """It learns it when it ends."""

    async def work() -> None:
        async with queue.lock("a", lease=SHORT) as fence:
            await delete(queue)
            try:
                await for_ever()
            except asyncio.CancelledError:
                assert fence.is_lost

    with pytest.raises(LockLost):
        await work()
    await asyncio.sleep(0)


async def test_body_raises_as_it_is_cancelled(queue: Queue) -> None:
    """Its own error is what comes out."""

    async def work() -> None:
        async with queue.lock("a", lease=SHORT):
            await delete(queue)
            try:
                await for_ever()
            finally:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_body_ends_as_it_is_lost(queue: Queue) -> None:
    """A cancellation that did not reach the body reaches nothing behind it."""

    async def work() -> None:
        async with queue.lock("a", lease=SHORT):
            hold = next(iter(locking_of(queue).holds.values()))
            locking_of(queue).lose(hold, "a test")

    with pytest.raises(LockLost):
        await work()
    await asyncio.sleep(0)
    assert await is_free(queue)


async def test_cancelled_and_lost(queue: Queue) -> None:
    """A cancellation from outside stays one."""
    inside = asyncio.Event()

    async def work() -> None:
        async with queue.lock("a"):
            inside.set()
            await for_ever()

    task = asyncio.create_task(work())
    await inside.wait()
    hold = next(iter(locking_of(queue).holds.values()))
    locking_of(queue).lose(hold, "a test")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert await is_free(queue)


#: Turns of the event loop after which a task is cancelled: one of them is in each phase.
TURNS = 40


@pytest.mark.parametrize("is_held", [False, True], ids=["free", "held"])
async def test_cancelled_at_any_time(queue: Queue, other: Queue, *, is_held: bool) -> None:
    """While it asks, waits, was called, holds, or releases: it leaves nothing behind."""

    async def work() -> None:
        async with queue.lock("a"):
            for _ in range(5):
                await asyncio.sleep(0)

    for turns in range(TURNS):
        task = asyncio.create_task(work())
        if is_held:
            async with other.lock("a"):
                await wait_until(lambda: waiting(queue), "it to wait")
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await wait_until(lambda: is_free(other), "the lock to be free")


async def test_cancelled_in_line(queue: Queue, other: Queue, only_calls: None) -> None:
    """Those behind it move up."""
    went: list[str] = []

    async def work(name: str) -> None:
        async with other.lock("a"):
            went.append(name)

    async with queue.lock("a"):
        first = asyncio.create_task(work("first"))
        await wait_until(lambda: _is_number(queue, 1), "the first to wait")
        second = asyncio.create_task(work("second"))
        await wait_until(lambda: _is_number(queue, 2), "the second to wait")
        first.cancel()
        await wait_until(lambda: _is_number(queue, 1), "the first to leave")
    async with asyncio.timeout(PATIENCE):
        await second
    assert went == ["second"]


async def test_closed_while_held(store_url: str) -> None:
    """The body ends with LockLost, and the lock is free for others at once."""
    async with Queue(store_url) as watcher:
        queue = Queue(store_url)
        await queue.open()
        inside = asyncio.Event()

        async def work() -> None:
            async with queue.lock("a"):
                inside.set()
                await for_ever()

        task = asyncio.create_task(work())
        await inside.wait()
        await queue.aclose()
        with pytest.raises(LockLost, match="the queue was closed"):
            await task
        assert await is_free(watcher)


async def test_closed_while_it_waits(store_url: str) -> None:
    """The waiter gets QueueUnavailable, and its place is free at once."""
    async with Queue(store_url) as watcher, watcher.lock("a"):
        queue = Queue(store_url)
        await queue.open()
        task = asyncio.create_task(queue.lock("a").__aenter__())
        await wait_until(lambda: _is_number(watcher, 1), "it to wait")
        await queue.aclose()
        with pytest.raises(QueueUnavailable, match="the queue was closed"):
            await task
        assert await waiting(watcher) == 0


async def test_fence(queue: Queue) -> None:
    """It is an int wherever it goes."""
    async with queue.lock("a") as fence:
        assert type(fence) is Fence
        assert json.dumps(fence) == str(int(fence))
        assert type(pickle.loads(pickle.dumps(fence))) is int


async def test_in_a_task(queue: Queue) -> None:
    """Jobs have locks as other code does, and hand fences on; a lost one fails the attempt."""

    @queue.task
    async def write(fence: int) -> int:
        return fence

    @queue.task
    async def work() -> bool:
        async with queue.lock("a") as fence:
            return await (await write.enqueue(int(fence))) == fence

    @queue.task
    async def lose() -> str:
        try:
            async with queue.lock("a", lease=SHORT):
                await delete(queue)
                await for_ever()
        except LockLost:
            return "lost"
        return "held"

    async with Worker(queue):
        assert await (await work.enqueue()).result(timeout=PATIENCE)
        assert await (await lose.enqueue()).result(timeout=PATIENCE) == "lost"


async def test_who(queue: Queue) -> None:
    """The key names the job that holds a lock, and its process."""

    @queue.task
    async def work() -> str:
        async with queue.lock("a"):
            return await _field(queue, "who")

    async with Worker(queue):
        job = await work.enqueue()
        assert (await job).startswith(f"work {job.id} on ")


async def test_list(queue: Queue, other: Queue) -> None:
    """It has who holds a lock, since when, and how many wait; a lock that is free is not in it."""
    assert await queue.locks() == []
    async with queue.lock("b"), queue.lock("a") as fence:
        task = asyncio.create_task(_take(other))
        await wait_until(lambda: _is_number(queue, 1), "the other to wait")
        first, second = await queue.locks()
        assert (first.name, first.fence, first.waiting) == ("a", fence, 1)
        assert (second.name, second.waiting) == ("b", 0)
        assert first.holder
        assert first.since is not None
        assert first.until is not None
        assert (first.until - first.since).total_seconds() == 30
        await redis(queue, "HSET", key(queue), "until", "1")
        (free, _) = await queue.locks()
        assert (free.holder, free.fence, free.since, free.waiting) == ("", 0, None, 1)
        await redis(queue, "HSET", key(queue), "until", str(2 * 10**13), "lease", str(2 * 10**13))
    await task
    assert await queue.locks() == []


def sha_of(queue: Queue, script: str) -> bytes:
    """Return the hash by which a script is called."""
    assert script in SCRIPTS
    return core_of(queue).session().store.script(script).sha.encode()


@pytest.mark.parametrize("script", ["take_lock", "renew_lock", "release_lock"])
async def test_lost_reply(proxy: Proxy, script: str) -> None:
    """The call is repeated, and does what it did: the same fence, no loss, no waiter left."""
    async with Queue(proxy.url) as queue:
        async with queue.lock("a"):  # the scripts are loaded
            pass
        proxy.drop_replies(to=sha_of(queue, script))
        async with queue.lock("a", lease=SHORT) as fence:
            await wait_until(lambda: _has_fence(queue, fence), "the lock to be held")
            if script == "renew_lock":
                await wait_until(lambda: proxy.replies_dropped, "a lost renewal")
                await wait_until(
                    lambda: _is_later(queue, fence + int(2000 * SHORT)), "another renewal"
                )
            assert not fence.is_lost
        assert proxy.replies_dropped == 1
        assert await is_free(queue)


async def _has_fence(queue: Queue, fence: int) -> bool:
    return await _field(queue, "fence") == str(int(fence))


async def test_cut_connections(proxy: Proxy, redis_url: str) -> None:
    """A holder keeps its lock, and a waiter its place; a call that was lost is made good."""
    async with Queue(proxy.url) as queue, Queue(redis_url) as watcher:
        async with queue.lock("a") as fence:
            task = asyncio.create_task(_take(queue))
            await wait_until(lambda: _is_number(watcher, 1), "the other to wait")
            proxy.cut()
            assert await _has_fence(watcher, fence)
        async with asyncio.timeout(PATIENCE):
            assert await task > fence


async def _take(queue: Queue) -> int:
    async with queue.lock("a") as fence:
        return fence


async def test_redis_away(proxy: Proxy, redis_url: str) -> None:
    """The holder learns it when its lease is over, and not later than others take the lock."""
    async with Queue(proxy.url) as queue, Queue(redis_url) as other:

        async def work() -> None:
            async with queue.lock("a", lease=SHORT) as fence:
                proxy.swallow()
                async with other.lock("a"):
                    assert fence.is_lost
                await for_ever()

        with pytest.raises(LockLost, match="could not be renewed") as lost:
            await work()
        assert lost.value.__cause__ is not None
        proxy.forward()


async def test_redis_restarts(own_redis_server: RedisServer) -> None:
    """Without persistence the lock is lost; a waiter has it then. Its fence is higher."""
    async with Queue(own_redis_server.url) as queue, Queue(own_redis_server.url) as other:
        fences: list[Fence] = []
        tasks: list[asyncio.Task[int]] = []

        async def work() -> None:
            async with queue.lock("a", lease=3 * SHORT) as fence:
                fences.append(fence)
                tasks.append(asyncio.create_task(_take(other)))
                await wait_until(lambda: _is_number(queue, 1), "the other to wait")
                own_redis_server.kill()
                own_redis_server.start()
                await for_ever()

        with pytest.raises(LockLost):
            await work()
        async with asyncio.timeout(PATIENCE):
            assert await tasks[0] > fences[0]


async def test_redis_refuses(own_redis_server: RedisServer) -> None:
    """A missing right is an error at once."""
    async with Queue(own_redis_server.url):
        pass
    own_redis_server.ask("ACL", "SETUSER", "some", "on", ">pw", "~*", "&*", "+@all", "-zcard")
    url = own_redis_server.url.replace("redis://", "redis://some:pw@")
    async with Queue(url) as queue:
        with pytest.raises(BrokerError, match="lacks a right"):
            async with queue.lock("a"):
                pytest.fail("it may not be taken")


async def test_left_before_it_was_entered(store_url: str) -> None:
    """The error says how a lock is used."""
    async with Queue(store_url) as queue:
        lock = queue.lock("a")
        with pytest.raises(UsageError, match="async with"):
            await lock.__aexit__(None, None, None)
