"""Tasks whose jobs run in order, with real workers.

Nothing is found by looking again: see conftest.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest
from redis.asyncio import Redis

from aiostreamq import (
    Concurrency,
    Debounce,
    Job,
    JobFailed,
    JobState,
    KeepLatest,
    Ordered,
    Queue,
    Retry,
    RetryLater,
    Task,
    Tasks,
    Throttle,
    Unique,
    UsageError,
    WaitReason,
    Worker,
)
from aiostreamq.model.keys import Keys
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until

R = TypeVar("R")


def upper(key: str) -> str:
    """Make a key."""
    return key.upper()


class Account:
    """The jobs that ran, by key."""

    def __init__(self) -> None:
        self.ran = defaultdict[str, list[int]](list)
        self.running = defaultdict[str, int](int)
        self.may_go_on = asyncio.Event()

    async def run(self, key: str, number: int) -> None:
        """Be a body."""
        assert not self.running[key]
        self.running[key] += 1
        try:
            await self.may_go_on.wait()
            await asyncio.sleep(0)
        finally:
            self.running[key] -= 1
        self.ran[key].append(number)


@pytest.fixture
def account() -> Account:
    """Nothing has run, and what runs waits."""
    return Account()


def book_on(
    queue: Queue | Tasks, account: Account, ordered: Any = "key", **options: Any
) -> Task[..., int]:
    """Register a task whose jobs run in order."""

    @queue.task(ordered=ordered, **options)
    async def book(key: str, number: int) -> int:
        await account.run(key, number)
        return number

    return book


async def all_of(jobs: Sequence[Job[R]]) -> list[R]:
    """Await jobs, for as long as a machine may take."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.gather(*jobs)


@pytest.mark.parametrize("workers", [1, 3])
async def test_each_key_in_its_order(store_url: str, account: Account, workers: int) -> None:
    """With any number of workers and slots."""
    queue = Queue(store_url)
    book = book_on(queue, account)
    account.may_go_on.set()
    async with queue, asyncio.TaskGroup() as group:
        running = [Worker(queue, concurrency=20) for _ in range(workers)]
        for worker in running:
            group.create_task(worker.run())
        await all_of(
            await queue.enqueue_many([book.bind(key, n) for n in range(20) for key in "abcde"])
        )
        for worker in running:
            worker.stop()
    assert account.ran == {key: list(range(20)) for key in "abcde"}


async def test_a_job_that_sleeps_until_its_next_attempt_keeps_its_key(store_url: str) -> None:
    """Nothing of its key runs in between, and all of others does."""
    queue, ran = Queue(store_url), list[tuple[str, int]]()

    @queue.task(ordered="key", retry=Retry(attempts=3, base=0.05, jitter=False))
    async def book(key: str, number: int) -> None:
        ran.append((key, number))
        if (key, number) == ("a", 0) and len([one for one in ran if one == ("a", 0)]) < 3:
            raise ValueError

    async with queue, Worker(queue):
        calls = [book.bind(key, number) for number in range(3) for key in "ab"]
        await all_of(await queue.enqueue_many(calls))
    assert [number for key, number in ran if key == "a"] == [0, 0, 0, 1, 2]
    assert ran.index(("b", 2)) < ran.index(("a", 1))


async def test_the_next_one_runs_after_a_failure(store_url: str) -> None:
    """A job that has failed for good is over."""
    queue, ran = Queue(store_url), list[int]()

    @queue.task(ordered="key")
    async def book(key: str, number: int) -> None:
        del key
        ran.append(number)
        if number == 1:
            raise ValueError

    async with queue, Worker(queue):
        jobs = await queue.enqueue_many([book.bind("a", number) for number in range(3)])
        ends = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), JobFailed, type(None)]
    assert ran == [0, 1, 2]


async def test_why_it_waits(store_url: str, account: Account) -> None:
    """`info` and `explain` name the order, and the job whose turn it is."""
    queue = Queue(store_url)
    book = book_on(queue, account)
    async with queue, Worker(queue):
        first, second = await queue.enqueue_many([book.bind("a", 0), book.bind("a", 1)])
        await wait_until(lambda: account.running["a"] == 1, "the first to run")
        info = await second.info()
        assert info is not None
        assert info.state is JobState.HELD
        assert info.wait is not None
        assert (info.wait.reason, info.wait.limit) == (WaitReason.LIMIT, "book.key:a")
        (state,) = info.wait.limits
        assert (state.kind, state.holders, state.has_room) == ("order", (first.id,), False)
        assert (await queue.limits.explain(book, "a", 2)).reason is WaitReason.LIMIT
        assert (await queue.limits.explain(book, "b", 2)).reason is WaitReason.SLOT
        (listed,) = await queue.limits.list()
        assert (listed.name, listed.kind, listed.rule) == ("book.key", "order", "Ordered()")
        assert (listed.held, listed.blocked) == (1, 1)
        (state,) = await queue.limits.get("book.key:a")
        assert state.holders == (first.id,)
        with pytest.raises(UsageError, match="is an order, which has no rule"):
            await queue.limits.set("book.key:a", Concurrency(2))
        account.may_go_on.set()
        assert await all_of([first, second]) == [0, 1]


async def test_pause(store_url: str, account: Account) -> None:
    """Jobs that were given back because of a pause run first when it is over."""
    queue = Queue(store_url)
    book = book_on(queue, account)
    async with queue:
        jobs = await queue.enqueue_many([book.bind("a", number) for number in range(3)])
        async with Worker(queue, shutdown_timeout=0):
            await wait_until(lambda: account.running["a"] == 1, "the first to run")
        await queue.pause(task=book)
        account.may_go_on.set()
        async with Worker(queue):
            await queue.resume(task=book)
            await all_of(jobs)
    assert account.ran["a"] == [0, 1, 2]


async def test_put_back_by_its_own_wish(store_url: str) -> None:
    """A body that asks for another attempt stays before the others."""
    queue, ran = Queue(store_url), list[int]()

    @queue.task(ordered="key")
    async def book(key: str, number: int) -> None:
        del key
        ran.append(number)
        if ran == [0]:
            raise RetryLater(0.01)

    async with queue, Worker(queue):
        await all_of(await queue.enqueue_many([book.bind("a", number) for number in range(3)]))
    assert ran == [0, 0, 1, 2]


async def test_an_order_that_tasks_share(store_url: str, account: Account) -> None:
    """By its name, whatever their lanes and other limits."""
    queue = Queue(store_url, lanes=["default", "slow"])
    order = Ordered("key", name="account")
    book = book_on(queue, account, ordered=order)

    @queue.task(ordered=order, lane="slow", limits=[Concurrency(5, key="key")])
    async def close(key: str, number: int) -> int:
        await account.run(key, number)
        return number

    account.may_go_on.set()
    async with queue, Worker(queue):
        calls = [(close if number % 3 else book).bind("a", number) for number in range(12)]
        await all_of(await queue.enqueue_many(calls))
        await all_of([await book.using(lane="slow").enqueue("a", 12), await book.enqueue("a", 13)])
    assert account.ran["a"] == list(range(14))


async def test_calls_that_are_made_at_once(store_url: str, account: Account) -> None:
    """They have the order in which they were made, however many they are."""
    queue = Queue(store_url)
    book = book_on(queue, account)
    account.may_go_on.set()
    async with queue, Worker(queue, concurrency=5):
        async with asyncio.timeout(PATIENCE):
            jobs = await asyncio.gather(*(book.enqueue("a", number) for number in range(600)))
        await all_of(jobs)
    assert account.ran["a"] == list(range(600))


@pytest.mark.parametrize("how", ["many", "single"])
async def test_enqueued_through_resets(
    own_redis_server: RedisServer, account: Account, how: str
) -> None:
    """A command that is repeated after a reset does not come in later than the next one."""
    async with (
        Proxy(own_redis_server.port) as proxy,
        Redis.from_url(own_redis_server.url) as client,
    ):
        queue = Queue(proxy.url)
        backlog = Keys(queue.name).backlog("default book o=book.key:a")

        async def has_held(count: int) -> bool:
            return await client.zcard(backlog) > count

        book = book_on(queue, account)
        account.may_go_on.set()
        async with queue:
            await book.enqueue("a", -1)
            proxy.drop_replies(1, to=b"EVALSHA")
            calls = [book.bind("a", number) for number in range(2_100)]
            if how == "many":
                sending = asyncio.ensure_future(queue.enqueue_many(calls))
            else:
                sending = asyncio.ensure_future(
                    asyncio.gather(*(book.enqueue("a", number) for number in range(2_100)))
                )
            for count in (1, 500, 1_000, 1_500):
                await wait_until(lambda count=count: has_held(count), "the jobs to come")
                proxy.cut()
            async with asyncio.timeout(PATIENCE):
                await sending
            held = [one async for one in queue.jobs(state="held")]
            numbers = [one.args[1] for one in held if one.args is not None]
    assert numbers == list(range(-1, 2_100))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ordered": "accuont"}, "'accuont', which the task does not take"),
        ({"ordered": 5}, "give the argument whose jobs run in order"),
        ({"ordered": True}, "give the argument whose jobs run in order"),
        ({"ordered": Ordered("key", name="book.key"), "limits": [Ordered("key")]}, "ordered="),
        ({"unique": Unique(key="key")}, "cannot have unique="),
        ({"throttle": Throttle("1s", key="key")}, "cannot have throttle="),
        ({"debounce": Debounce("1s", key="key")}, "cannot have debounce="),
        ({"keep_latest": KeepLatest(key="key")}, "cannot have keep_latest="),
    ],
)
async def test_what_cannot_work(account: Account, options: dict[str, Any], error: str) -> None:
    """It is refused when the task is registered, by a queue or without one."""
    for queue in (Queue("memory://"), Tasks()):
        with pytest.raises(UsageError, match=error):
            book_on(queue, account, **options)


async def test_options_of_one_job(account: Account) -> None:
    """The order is that of all jobs, and a job cannot get a key that would keep it out."""
    book = book_on(Queue("memory://"), account)
    with pytest.raises(UsageError, match="an order is for all jobs of a task"):
        book.using(ordered="number")
    with pytest.raises(UsageError, match="cannot have unique="):
        book.using(unique=Unique(key="key"))


@pytest.mark.parametrize("ordered", [("key",), upper, Ordered(), "key"])
async def test_keys(store_url: str, account: Account, ordered: Any) -> None:
    """As those of limits; without one all jobs of the task have one order."""
    queue = Queue(store_url)
    book = book_on(queue, account, ordered=ordered)
    account.may_go_on.set()
    async with queue, Worker(queue):
        await all_of(await queue.enqueue_many([book.bind("a", number) for number in range(9)]))
    assert sorted(account.ran["a"]) == list(range(9))


async def test_no_order(account: Account) -> None:
    """None is the same as nothing."""
    assert not book_on(Queue("memory://"), account, ordered=None).spec.options.limits
