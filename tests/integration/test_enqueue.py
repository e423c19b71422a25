"""The public calls that enqueue jobs."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import cast

import pytest

from aiostreamq import (
    Call,
    Job,
    JobNotFound,
    JobState,
    PayloadError,
    Queue,
    ResultNotKept,
    Task,
    UsageError,
    Worker,
)
from aiostreamq.store.enqueue import ENQUEUE_LIMIT
from tests.support.case_ids import short
from tests.support.waiting import PATIENCE, wait_until


async def test_every_form(queue: Queue) -> None:
    """A task, the queue with a task or its name, and options in between: all give a job."""

    @queue.task
    async def add(a: int, b: int = 10) -> int:
        return a + b

    jobs: list[Job[object]] = [
        await add.enqueue(1, 2),
        await add.enqueue(1, b=2),
        await queue.enqueue(add, 1, b=2),
        await queue.enqueue("add", 1, 2),
        await add.using(result_ttl="1m").enqueue(1, 2),
        await add.using(timeout=5).using(id="mine").enqueue(1, 2),
    ]
    async with Worker(queue):
        assert [await job for job in jobs] == [3] * 6
        assert await (await add.enqueue(1)) == 11
    assert jobs[-1].id == "mine"
    assert len({job.id for job in jobs}) == 6


async def test_task_stays_a_function(queue: Queue) -> None:
    """Called, it just runs, and it is still known by its name and docstring."""

    @queue.task
    async def slow(a: int) -> int:
        """Add one."""
        return a + 1

    @queue.task(name="quick.one", timeout="5s")
    def quick(a: int) -> int:
        return a + 1

    assert await slow(1) == 2
    assert quick(1) == 2
    assert (vars(slow)["__name__"], slow.__doc__, slow.name) == ("slow", "Add one.", "slow")
    assert quick.name == "quick.one"
    assert set(queue.tasks) == {"slow", "quick.one"}


@pytest.mark.heavy_in_memory
async def test_many(queue: Queue) -> None:
    """Any number of calls is enqueued, and the jobs come in the order of the calls."""
    ran: list[int] = []

    @queue.task
    async def note(number: int) -> int:
        ran.append(number)
        return number

    count = 2 * ENQUEUE_LIMIT + 7
    jobs = await queue.enqueue_many(note.bind(number) for number in range(count))
    async with Worker(queue, concurrency=10):
        assert [await job for job in jobs] == list(range(count))
    assert ran == list(range(count))


async def test_many_from_an_async_iterable(queue: Queue) -> None:
    """The calls may come from somewhere slow, and from several tasks."""

    @queue.task
    async def double(number: int) -> int:
        return 2 * number

    @queue.task
    async def negate(number: int) -> int:
        return -number

    async def calls() -> AsyncIterator[Call[int]]:
        for number in range(ENQUEUE_LIMIT + 3):
            await asyncio.sleep(0)
            yield (double if number % 2 else negate).bind(number)

    jobs = await queue.enqueue_many(calls())
    async with Worker(queue):
        results = [await job for job in jobs]
    assert results == [2 * n if n % 2 else -n for n in range(ENQUEUE_LIMIT + 3)]


async def test_many_of_none(queue: Queue) -> None:
    """No calls are no jobs."""
    assert await queue.enqueue_many([]) == []


@pytest.mark.parametrize("good", [3, ENQUEUE_LIMIT + 3])
async def test_many_with_a_bad_one(queue: Queue, good: int) -> None:
    """What came before the error is enqueued."""
    ran: list[object] = []

    @queue.task
    async def note(value: int | list[object]) -> None:
        ran.append(value)

    calls = [*(note.bind(number) for number in range(good)), note.bind([object()]), note.bind(-1)]
    with pytest.raises(PayloadError, match="argument 'value'"):
        await queue.enqueue_many(calls)
    await Worker(queue).run(burst=True)
    assert ran == list(range(good))


@pytest.mark.parametrize("form", ["task", "coroutine", "tuple"])
async def test_many_with_one_that_is_not_bound(queue: Queue, form: str) -> None:
    """It is said at once what to write, and what came before it is enqueued."""
    ran: list[int] = []

    @queue.task
    async def note(number: int) -> None:
        ran.append(number)

    enqueueing = note.enqueue(2)
    unbound: object = {"task": note, "coroutine": enqueueing, "tuple": (note, 2)}[form]
    calls = cast("list[Call[None]]", [note.bind(1), unbound, note.bind(3)])
    with pytest.raises(UsageError, match=r"use task\.bind\(\.\.\.\)"):
        await queue.enqueue_many(calls)
    enqueueing.close()
    await Worker(queue).run(burst=True)
    assert ran == [1]


async def test_many_without_a_list(queue: Queue) -> None:
    """One call, or a task, is no iterable of calls."""

    @queue.task
    async def note(number: int) -> None:
        """Is not run."""

    told = [(note, r"use task\.bind\(\.\.\.\)"), (note.bind(1), "put it in a list")]
    for wrong, what in told:
        with pytest.raises(UsageError, match=what):
            await queue.enqueue_many(cast("list[Call[None]]", wrong))


@pytest.mark.parametrize("odd", [len, None, 7], ids=short)
async def test_what_is_no_task(queue: Queue, odd: object) -> None:
    """It is refused with what to give instead."""
    with pytest.raises(UsageError, match=r"is not a task: give what @queue\.task returned"):
        await queue.enqueue(cast("Task[..., object]", odd), 1)


async def test_what_is_no_task_where_one_is_named(queue: Queue) -> None:
    """The function of a task is refused like that, whatever is asked."""
    odd = cast("Task[..., object]", len)
    asked: list[Coroutine[object, object, object]] = [
        queue.pause(task=odd),
        queue.cancel_many(task=odd),
        queue.dead_letters.list(task=odd),
        queue.schedules.create("odd", odd, every="1h"),
    ]
    for one in asked:
        with pytest.raises(UsageError, match=r"is not a task: give what @queue\.task returned"):
            await one
    with pytest.raises(UsageError, match=r"is not a task: give what @queue\.task returned"):
        [job async for job in queue.jobs(task=odd)]


async def test_id_that_is_taken(queue: Queue) -> None:
    """The job that has it is returned: waiting, running, ended, and for a task without result."""
    runs: list[int] = []

    @queue.task
    async def once(number: int) -> int:
        runs.append(number)
        return number

    first = await once.using(id="one").enqueue(1)
    again = await once.using(id="one").enqueue(2)
    silent = once.using(id="silent", result_ttl=0)
    await silent.enqueue(5)
    async with Worker(queue):
        assert (await first, await again) == (1, 1)
        late = await once.using(id="one").enqueue(3)
        assert await late == 1
        await silent.enqueue(6)
        assert await (await once.enqueue(9)) == 9
    assert runs == [1, 5, 9]


async def test_id_taken_by_another_process(store_url: str, queue: Queue) -> None:
    """Whoever had it first, both get its result."""
    async with Queue(store_url) as other:

        async def once(number: int) -> int:
            return number

        mine, theirs = queue.task(once), other.task(once)
        # The task has been awaited here, so that its next jobs are announced.
        async with Worker(queue):
            assert await (await mine.enqueue(0)) == 0
            assert await (await theirs.enqueue(0)) == 0
        jobs = [
            await mine.using(id="one").enqueue(1),
            await theirs.using(id="one").enqueue(2),
        ]
        async with Worker(queue), asyncio.timeout(PATIENCE):
            assert await asyncio.gather(*jobs) == [1, 1]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"c": 1}), ((1,), {"a": 1})],
)
async def test_wrong_call(queue: Queue, args: tuple[int, ...], kwargs: dict[str, int]) -> None:
    """A call that the function would refuse is refused where it is made."""

    @queue.task
    async def two(a: int, b: int = 1) -> int:
        return a + b

    with pytest.raises(UsageError, match="invalid call of task 'two'"):
        await two.enqueue(*args, **kwargs)


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], 2**64, object(), {1: 2}, {"a": {3j}}], ids=short
)
async def test_what_can_not_travel(queue: Queue, value: object) -> None:
    """It is refused where it is sent, and the argument is named, however it was given."""

    @queue.task
    async def take(first: int, it: object = None) -> None: ...

    for call in (take.enqueue(1, value), take.enqueue(1, it=value)):
        with pytest.raises(PayloadError, match="'take', argument 'it'"):
            await call
    with pytest.raises(PayloadError, match="argument 'it'"):
        await queue.enqueue("elsewhere", it=value)
    with pytest.raises(PayloadError, match="argument '0'"):
        await queue.enqueue("elsewhere", value)


async def test_payload_over_the_limit(store_url: str) -> None:
    """It is refused with both numbers; what just fits passes."""
    async with Queue(store_url, max_payload=1000) as queue:

        @queue.task
        async def size(text: str) -> int:
            return len(text)

        with pytest.raises(PayloadError, match=r"'size': a payload of 1,0\d\d bytes.* 1,000"):
            await size.enqueue("x" * 1000)
        async with Worker(queue):
            assert await (await size.enqueue("x" * 900)) == 900


async def test_a_mebibyte(queue: Queue) -> None:
    """By default that is the limit, and nearly as much arrives."""

    @queue.task
    async def size(text: str) -> int:
        return len(text)

    with pytest.raises(PayloadError, match=r"over the limit of 1,048,576"):
        await size.enqueue("x" * 2**20)
    async with Worker(queue):
        assert await (await size.enqueue("x" * 1_048_000)) == 1_048_000


async def test_lanes(store_url: str) -> None:
    """A job goes to its own lane or its task's, and every lane is read."""
    async with Queue(store_url, lanes=["default", "slow"]) as queue:

        @queue.task(lane="slow")
        async def crawl(n: int) -> int:
            return n

        jobs = [await crawl.enqueue(1), await crawl.using(lane="default").enqueue(2)]
        async with Worker(queue):
            assert [await job for job in jobs] == [1, 2]


async def test_unknown_lane(queue: Queue) -> None:
    """A job in a lane that nobody reads would wait for ever: it is refused."""

    @queue.task
    async def nothing() -> None: ...

    with pytest.raises(UsageError, match=r"no lane 'fast'.*Queue\(lanes="):
        await nothing.using(lane="fast").enqueue()
    with pytest.raises(UsageError, match="lane 'fast'"):

        @queue.task(lane="fast")
        async def other() -> None: ...


@pytest.mark.parametrize("lanes", [[], ["returned"], ["a b"], [""]])
def test_lanes_that_can_not_be(lanes: list[str]) -> None:
    """No lanes, a reserved one, and what is no name are refused."""
    with pytest.raises(UsageError, match="lane"):
        Queue("memory://", lanes=lanes)


async def test_same_name_twice(queue: Queue) -> None:
    """Two tasks of one name would be mistaken for each other."""

    @queue.task
    async def same() -> None: ...

    with pytest.raises(UsageError, match=r"already has a task 'same'"):
        queue.task(name="same")(lambda: None)
    assert queue.tasks["same"] is same


async def test_task_known_elsewhere_only(store_url: str, queue: Queue) -> None:
    """A producer needs nothing but the name."""
    async with Queue(store_url) as elsewhere:

        @elsewhere.task
        async def add(a: int, b: int) -> int:
            return a + b

        job = await queue.enqueue("add", 1, b=2)
        async with Worker(elsewhere):
            assert await job == 3


@pytest.mark.parametrize("way", ["enqueue", "enqueue_many"])
async def test_task_of_another_queue(store_url: str, queue: Queue, way: str) -> None:
    """It is refused, and goes to neither: which of the two was meant nobody can tell."""
    async with Queue(store_url, name="other") as other:

        @other.task
        async def same(a: int) -> int:
            return a

        @queue.task
        async def mine(a: int) -> int:
            return a

        foreign = same.using(id="a")
        if way == "enqueue":
            enqueuing = queue.enqueue(foreign, 1)
        else:
            enqueuing = queue.enqueue_many([mine.using(id="b").bind(1), foreign.bind(1)])
        with pytest.raises(UsageError, match="'same' belongs to another queue than 'default'"):
            await enqueuing
        for job in (other.job("a"), queue.job("a")):
            with pytest.raises(JobNotFound):
                await job.status()
        if way == "enqueue_many":  # what came before is in
            assert await queue.job("b").status() is JobState.QUEUED


async def test_by_name_of_another_queue(store_url: str, queue: Queue) -> None:
    """What is known by its name alone goes to the queue that is asked to take it."""
    async with Queue(store_url, name="other") as other:
        named = other.named("somewhere")
        one = await queue.enqueue(named, 1)
        [many] = await queue.enqueue_many([named.bind(1)])
        for job in (one, many):
            assert await queue.job(job.id).status() is JobState.QUEUED


async def test_task_known_nowhere(queue: Queue) -> None:
    """Its jobs are set aside, neither failed nor sent in circles, until a worker knows it."""
    jobs = [await queue.enqueue("late", number) for number in range(3)]

    async def are_parked() -> bool:
        return [await job.status() for job in jobs] == [JobState.PARKED] * 3

    async with Worker(queue):
        await wait_until(are_parked, "the jobs to be parked")

    @queue.task
    async def late(number: int) -> int:
        return number

    async with Worker(queue):
        assert [await job for job in jobs] == [0, 1, 2]


async def test_context_enqueues_more(queue: Queue) -> None:
    """A task may enqueue jobs on the queue it came from, and await them."""

    @queue.task
    async def child(n: int) -> int:
        return 2 * n

    @queue.task
    async def parent(n: int) -> int:
        return sum([await job for job in [await child.enqueue(i) for i in range(n)]])

    async with Worker(queue, concurrency=4):
        assert await (await parent.enqueue(4)) == 12


async def test_without_result(queue: Queue) -> None:
    """Awaiting a job that keeps none is refused at once."""

    @queue.task(result_ttl=0)
    async def silent() -> int:
        return 1

    with pytest.raises(ResultNotKept):
        await (await silent.enqueue())


async def test_gathered(queue: Queue) -> None:
    """A thousand at once go, each with its own."""

    @queue.task
    async def same(n: int) -> int:
        return n

    async with Worker(queue):
        jobs = await asyncio.gather(*(same.enqueue(n) for n in range(1000)))
        assert await asyncio.gather(*jobs) == list(range(1000))
