"""What the type checker must see, and must refuse. Never run; `test_types` checks it."""

# A call that must be an error carries an ignore of its rule: were it none, the ignore would be
# unnecessary, which is an error too.

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Annotated, Any, assert_type
from zoneinfo import ZoneInfo

from aiostreamq import (
    AioStreamQError,
    BlockingJob,
    Call,
    CallNext,
    Chunk,
    Context,
    DeadLetter,
    DeadLetters,
    Debounce,
    EnqueueCall,
    Event,
    Job,
    JobState,
    KeepLatest,
    Lost,
    Ordered,
    PastFailure,
    Progress,
    Queue,
    RateLimited,
    Restarted,
    Retry,
    RetryLater,
    RunCall,
    StreamCall,
    StreamJob,
    StreamTask,
    Task,
    Tasks,
    Throttle,
    Unique,
    Worker,
    as_completed,
    current_job,
    gather,
)

queue = Queue("memory://")


@queue.task
async def size(url: str, depth: int = 1) -> int:
    """Take plain arguments."""
    return len(url) * depth


@queue.task
def render(text: str, *, bold: bool = False) -> bytes:
    """Be a `def`."""
    return text.encode() if bold else b""


@queue.task
async def audit(ctx: Context, who: str) -> list[str]:
    """Take the context first."""
    return [ctx.job_id, who]


@queue.task
def audit_in_thread(ctx: Context, who: str) -> list[str]:
    """Take it first, in a `def`."""
    return [ctx.job_id, who]


@queue.task(name="mail.send", timeout="5s", result_ttl=0, lane="default")
async def send(to: str, *rest: str, **headers: int) -> None:
    """Have options."""


@queue.task(timeout=5)
def hash_it(data: str) -> str:
    """Have options, in a `def`."""
    return data


@queue.task(executor="process", timeout=5)
def crunch(data: list[int], *, times: int = 1) -> float:
    """Run in a process."""
    return sum(data) / times


@queue.task(timeout=None)
async def audited(ctx: Context, n: int) -> float:
    """Have options and a context."""
    return n / len(ctx.task)


@queue.task
async def spell(word: str, *, times: int = 1) -> AsyncIterator[str]:
    """Stream."""
    for letter in word * times:
        yield letter


@queue.task(timeout="5s")
async def lengths(ctx: Context, words: list[str]) -> AsyncGenerator[int, None]:
    """Have options and a context, and stream."""
    for place, word in enumerate(words):
        await ctx.progress(place / len(words), word, place=place)
        yield len(word)


@queue.every("1h")
async def hourly(ctx: Context) -> AsyncIterator[str]:
    """Stream, whenever it is due."""
    yield ctx.task


@queue.task
async def told(ctx: Context | None, who: str) -> str:
    """Take the context, or none when it is called without a worker."""
    return who if ctx is None else ctx.job_id


@queue.task
def told_in_thread(ctx: Annotated[Context, "from the worker"], who: str) -> str:
    """Take it with something said about it."""
    return who + ctx.job_id


@queue.task
async def told_last(who: str, ctx: Context | None = None) -> str:
    """Take it last, with a default."""
    return who if ctx is None else ctx.job_id


@queue.task
async def assign(self: int, task: int, *, queue: int, name: str = "", **rest: int) -> int:
    """Have parameters that are called as ours are."""
    return self + task + queue + len(name) + sum(rest.values())


@queue.task
def later(n: int) -> Awaitable[int]:
    """Be a `def` that returns what is to be awaited."""
    return size(str(n))


@queue.task(timeout=5)
def letters(n: int) -> AsyncIterator[str]:
    """Be a `def` that returns a stream."""
    return spell("a", times=n)


class Jobs:
    """What has methods."""

    async def method(self, n: int) -> int:
        """Be bound."""
        return n

    @classmethod
    def by_class(cls, n: int) -> str:
        """Be bound to the class."""
        return cls.__name__ * n

    def __call__(self, ctx: Context, n: int) -> bytes:
        """Be called."""
        return bytes(n + ctx.attempt)


async def every_kind_of_function() -> None:
    """The types are those of what is called, without the context."""
    assert_type(await told.enqueue("ada"), Job[str])
    assert_type(await told_in_thread.enqueue("ada"), Job[str])
    assert_type(await told_last.enqueue("ada"), Job[str])
    assert_type(await later.enqueue(1), Job[int])
    assert_type(await later(1), int)
    assert_type(await letters.enqueue(1), StreamJob[str])
    assert_type(await queue.task(name="m")(Jobs().method).enqueue(1), Job[int])
    assert_type(await queue.task(name="c")(Jobs.by_class).enqueue(1), Job[str])
    assert_type(await queue.task(name="o")(Jobs()).enqueue(1), Job[bytes])
    assert_type(await queue.task(name="p")(partial(size, "a")).enqueue(), Job[int])
    assert_type(await Queue(name="other").task(size).enqueue("a"), Job[int])
    await told.enqueue()  # pyright: ignore[reportCallIssue]
    await later.enqueue("1")  # pyright: ignore[reportArgumentType]
    queue.task("size")  # pyright: ignore[reportCallIssue, reportArgumentType]
    size.enqeue("a")  # pyright: ignore[reportAttributeAccessIssue]


async def names_of_parameters() -> None:
    """Any name can be given by keyword."""
    assert_type(await assign.enqueue(1, task=2, queue=3), Job[int])
    assert_type(await assign.enqueue(self=1, task=2, queue=3, name="a", args=4), Job[int])
    assert_type(await queue.enqueue(assign, self=1, task=2, queue=3), Job[int])
    assert_type(assign.bind(self=1, task=2, queue=3), Call[int])
    assert_type(await assign(self=1, task=2, queue=3), int)
    await assign.enqueue(self="1", task=2, queue=3)  # pyright: ignore[reportArgumentType]
    await queue.enqueue(assign, self=1, task=2)  # pyright: ignore[reportCallIssue]


async def enqueue_has_the_signature_of_the_task() -> None:
    """And the job has its result."""
    assert_type(await size.enqueue("a"), Job[int])
    assert_type(await size.enqueue("a", depth=2), Job[int])
    assert_type(await render.enqueue("a", bold=True), Job[bytes])
    assert_type(await send.enqueue("a", "b", subject=1), Job[None])
    assert_type(await hash_it.enqueue("a"), Job[str])
    assert_type(await crunch.enqueue([1], times=2), Job[float])
    await crunch.enqueue(["a"])  # pyright: ignore[reportArgumentType]
    await size.enqueue()  # pyright: ignore[reportCallIssue]
    await size.enqueue(1)  # pyright: ignore[reportArgumentType]
    await size.enqueue("a", deep=2)  # pyright: ignore[reportCallIssue]
    await size.enqueue("a", 1, 2)  # pyright: ignore[reportCallIssue]
    await render.enqueue("a", True)  # pyright: ignore[reportCallIssue]
    await hash_it.enqueue(b"a")  # pyright: ignore[reportArgumentType]
    await send.enqueue("a", subject="b")  # pyright: ignore[reportArgumentType]


async def context_is_not_the_callers_to_give() -> None:
    """It is gone from the signature of enqueue, and stays in that of the function."""
    assert_type(await audit.enqueue("ada"), Job[list[str]])
    assert_type(await audit_in_thread.enqueue(who="ada"), Job[list[str]])
    assert_type(await audited.enqueue(1), Job[float])
    await audit.enqueue()  # pyright: ignore[reportCallIssue]
    await audited.enqueue("a")  # pyright: ignore[reportArgumentType]


async def task_stays_a_function(ctx: Context) -> None:
    """Called, it is what it was."""
    assert_type(await size("a", 2), int)
    assert_type(render("a", bold=True), bytes)
    assert_type(await audit(ctx, "ada"), list[str])
    assert_type(audit_in_thread(ctx, "ada"), list[str])
    assert_type(hash_it("a"), str)
    assert_type(crunch([1]), float)
    calling: Coroutine[Any, Any, float] = audited(ctx, 1)
    calling.close()
    size(1)  # pyright: ignore[reportArgumentType, reportUnusedCoroutine]
    audit("ada")  # pyright: ignore[reportCallIssue]


async def results() -> None:
    """Awaiting gives what the task returns."""
    job = await size.enqueue("a")
    assert_type(await job, int)
    assert_type(await job.result(timeout="5s"), int)
    assert_type(await job.status(), JobState)
    assert_type(job.id, str)
    assert_type(await (await audit.enqueue("ada")), list[str])
    assert_type(await queue.job("7"), object)


async def many_results(errors: bool) -> None:
    """They have the type of each; with errors, that of errors too."""
    jobs = [await size.enqueue("a")]
    assert_type(await gather(jobs), list[int])
    assert_type(await gather(jobs, timeout="5s", return_exceptions=False), list[int])
    assert_type(await gather(jobs, return_exceptions=True), list[int | AioStreamQError])
    assert_type(await gather(jobs, return_exceptions=errors), list[int | AioStreamQError])
    assert_type([job async for job in as_completed(jobs, timeout=5)], list[Job[int]])
    assert_type([n async for n in queue.map(size, ["a"])], list[int])
    assert_type([n async for n in queue.map(size.using(lane="low"), spell("a"))], list[int])
    assert_type([n async for n in queue.map(audit, ["ada"], concurrency=5)], list[list[str]])
    assert_type([n async for n in queue.map(queue.named("x"), [1, "a"])], list[object])
    with_errors = queue.map(size, ["a"], return_exceptions=True)
    assert_type([n async for n in with_errors], list[int | AioStreamQError])
    await gather([size])  # pyright: ignore[reportArgumentType]
    await gather(jobs[0])  # pyright: ignore[reportArgumentType]
    as_completed([size.bind("a")])  # pyright: ignore[reportArgumentType]
    queue.map(size, [1])  # pyright: ignore[reportArgumentType]
    queue.map(size, "a", concurrent=5)  # pyright: ignore[reportCallIssue]


def without_a_loop() -> None:
    """The door for sync code has the types of the task too."""
    sync = queue.sync
    assert_type(sync.enqueue(size, "a", depth=2), BlockingJob[int])
    assert_type(sync.enqueue(size.using(delay=5), "a").result(timeout="5s"), int)
    assert_type(sync.enqueue(audit, "ada").result(), list[str])
    assert_type(sync.enqueue(spell, "a").result(), None)
    assert_type(sync.enqueue("size", "a"), BlockingJob[object])
    assert_type(sync.enqueue_many([size.bind("a")]), list[BlockingJob[int]])
    assert_type(sync.gather([sync.enqueue(size, "a")]), list[int])
    assert_type(
        sync.gather([sync.enqueue(size, "a")], return_exceptions=True), list[int | AioStreamQError]
    )
    assert_type(sync.job("7").cancel(), JobState)
    sync.enqueue(size, 1)  # pyright: ignore[reportArgumentType, reportCallIssue]
    sync.enqueue(size)  # pyright: ignore[reportCallIssue]
    sync.gather([size])  # pyright: ignore[reportArgumentType]


async def options_keep_the_types() -> None:
    """`using` changes nothing about them, and knows the options."""
    using = size.using(id="7", timeout=5, result_ttl="1h", lane="default")
    assert_type(await using.enqueue("a", depth=2), Job[int])
    assert_type(await using.using(timeout=None).enqueue("a"), Job[int])
    assert_type(await audit.using(id="7").enqueue("ada"), Job[list[str]])
    await using.enqueue(1)  # pyright: ignore[reportArgumentType]
    size.using(timeot=5)  # pyright: ignore[reportCallIssue]
    size.using(lane=5)  # pyright: ignore[reportArgumentType]
    queue.task(timeot=5)  # pyright: ignore[reportCallIssue]
    queue.task(executor="fork")  # pyright: ignore[reportArgumentType]
    queue.task(ordered=5)  # pyright: ignore[reportArgumentType]
    queue.task(ordered="url")
    queue.task(ordered=Ordered(("url", "depth"), name="urls"))
    crunch.using(executor="thread")  # pyright: ignore[reportCallIssue]


def retries() -> None:
    """One rule, several, or none."""
    size.using(retry=Retry(5)).using(retry=None)
    queue.task(retry=(Retry(5, on=(TimeoutError,)), Retry(2)))
    size.using(retry=[Retry(5, on=(TimeoutError, "aiohttp.ClientError")), Retry(2)])
    assert_type(RetryLater(datetime.now(UTC)).after, float)
    Retry(max_retries=3)  # pyright: ignore[reportCallIssue]
    Retry(3, on=ValueError)  # pyright: ignore[reportArgumentType]
    assert_type(RateLimited("api", after="30s").after, float)
    RateLimited("api")  # pyright: ignore[reportCallIssue]
    RetryLater(None)  # pyright: ignore[reportArgumentType]
    size.using(retry=5)  # pyright: ignore[reportArgumentType]
    size.using(retry=(Retry(5), 2))  # pyright: ignore[reportArgumentType]
    queue.task(retry=[None])  # pyright: ignore[reportArgumentType]


async def streams() -> None:
    """A job of an async generator has the type of what it yields, wherever it comes from."""
    assert_type(await spell.enqueue("a", times=2), StreamJob[str])
    assert_type(await lengths.enqueue(["a"]), StreamJob[int])
    assert_type(await spell.using(timeout=5).enqueue("a"), StreamJob[str])
    assert_type(await queue.enqueue(spell, "a"), StreamJob[str])
    await spell.enqueue(1)  # pyright: ignore[reportArgumentType]
    await lengths.enqueue()  # pyright: ignore[reportCallIssue]
    job = await spell.enqueue("a")
    assert_type(await job, None)
    async for letter in job:
        assert_type(letter, str)
    async for letter in spell("a"):
        assert_type(letter, str)
    async for unknown in queue.job("7"):
        assert_type(unknown, object)
    assert_type(spell.bind("a"), StreamCall[str])
    assert_type(await hourly.enqueue(), StreamJob[str])
    assert_type(await queue.every("1h")(spell.using(timeout=5)).enqueue("a"), StreamJob[str])
    assert_type(queue.cron("@daily")(spell.bind("a")), StreamCall[str])
    queue.every("1h")("spell")  # pyright: ignore[reportCallIssue, reportArgumentType]
    as_job: Job[None] = job
    as_task: StreamTask[[str], [str], object] = spell  # pyright: ignore[reportAssignmentType]  # mypy: no error
    del as_job, as_task


async def events(ctx: Context) -> None:
    """Each kind of event has its own fields, told apart by `match` or by `kind`."""
    async for event in (await spell.enqueue("a")).events(after="1-1"):
        assert_type(event, Event[str])
        assert_type(event.id, str)
        match event:
            case Chunk():
                assert_type(event.value, str)
            case Progress():
                assert_type(event.fraction, float)
            case Restarted():
                assert_type(event.delivery, int)
            case Lost():
                assert_type(event.count, int)
        if event.kind == "chunk":
            assert_type(event.value, str)
    async for one in (await size.enqueue("a")).events():
        assert_type(one, Event[object])
    await ctx.progress("half")  # pyright: ignore[reportArgumentType]
    ctx.progress_nowait(0.5, "half", left=3)


async def through_the_queue() -> None:
    """A task brings its types along, a name has none."""
    assert_type(await queue.enqueue(size, "a", depth=2), Job[int])
    assert_type(await queue.enqueue(audit, "ada"), Job[list[str]])
    assert_type(await queue.enqueue(size.using(id="7"), "a"), Job[int])
    assert_type(await queue.enqueue("size", "a", anything=1), Job[object])
    named = queue.named("size").using(id="a", delay="1s")
    assert_type(await named.enqueue("a", anything=1), Job[object])
    assert_type(await queue.enqueue_many([named.bind(1)]), list[Job[object]])
    assert_type((await named.enqueue()).is_new, bool | None)
    queue.named(1)  # pyright: ignore[reportArgumentType]
    queue.named("size").using(dely=1)  # pyright: ignore[reportCallIssue]
    await queue.enqueue(size, 1)  # pyright: ignore[reportArgumentType, reportCallIssue]


async def many() -> None:
    """Calls keep the result's type on their way through bulk."""
    assert_type(size.bind("a"), Call[int])
    assert_type(await queue.enqueue_many(size.bind(url) for url in "abc"), list[Job[int]])
    assert_type(await queue.enqueue_many([render.bind("a")]), list[Job[bytes]])
    assert_type(await queue.enqueue_many(spell.bind(word) for word in "ab"), list[StreamJob[str]])
    assert_type(await queue.enqueue_many([lengths.using(id="a").bind(["a"])]), list[StreamJob[int]])
    mixed = await queue.enqueue_many([size.bind("a"), audit.bind("b")])
    assert_type(mixed, list[Job[int | list[str]]])  # mypy: list[Job[object]]
    assert_type(await queue.enqueue_many(audit.bind(who) for who in "abc"), list[Job[list[str]]])

    async def calls() -> AsyncIterator[Call[int]]:
        yield size.bind("a")

    assert_type(await queue.enqueue_many(calls()), list[Job[int]])
    size.bind(1)  # pyright: ignore[reportArgumentType]
    await queue.enqueue_many(["a"])  # pyright: ignore[reportArgumentType, reportCallIssue]


def zones() -> None:
    """A time zone has a name, or a fixed offset."""
    queue.cron("@daily", tz="Europe/Madrid")
    queue.cron("@daily", tz=ZoneInfo("Europe/Madrid"))
    queue.cron("@daily", tz=UTC)
    queue.cron("@daily", tz=timezone(timedelta(hours=2)))
    queue.cron("@daily", tz=2)  # pyright: ignore[reportArgumentType]


def variance() -> None:
    """A job of an int is a job of an object."""

    def watch(job: Job[object]) -> None: ...

    def narrow(job: Job[str]) -> None: ...

    def take(task: Task[[str], object]) -> None: ...

    async def use() -> None:
        job = await size.enqueue("a")
        watch(job)
        narrow(job)  # pyright: ignore[reportArgumentType]

    take(hash_it)
    take(audited)  # pyright: ignore[reportArgumentType]
    del use


async def managers() -> None:
    """Both are asynchronous context managers of themselves."""
    async with queue as opened, Worker(queue, concurrency=5) as worker:
        assert_type(opened, Queue)
        assert_type(worker, Worker)
    assert_type(await Worker(queue).run(burst=True), None)


async def dead_letters() -> None:
    """They have types of their own, and filters that are checked."""
    assert_type(queue.dead_letters, DeadLetters)
    assert_type(
        await queue.dead_letters.list(task=size, error="ValueError", limit=5), list[DeadLetter]
    )
    letter = await queue.dead_letters.show("1-0")
    assert_type(letter, DeadLetter)
    assert_type(letter.state, JobState)
    assert_type(letter.args, list[object] | None)
    assert_type(letter.died_at, datetime)
    assert_type(letter.history, tuple[PastFailure, ...])
    assert_type(await queue.dead_letters.count(newer_than="1h"), int)
    assert_type(
        await queue.dead_letters.replay("1-0", args=["a"], kwargs={"depth": 2}, rate=50), int
    )
    assert_type(await queue.dead_letters.replay(task="size", older_than=60), int)
    assert_type(await queue.dead_letters.purge(everything=True), int)
    await queue.dead_letters.list(tusk=size)  # pyright: ignore[reportCallIssue]
    await queue.dead_letters.replay(1)  # pyright: ignore[reportArgumentType]
    await queue.dead_letters.purge("1-0", task=5)  # pyright: ignore[reportArgumentType]


async def dead_letters_of_the_context(ctx: Context) -> None:
    """A task reaches them too."""
    assert_type(await ctx.queue.dead_letters.count(), int)


async def headers(ctx: Context) -> None:
    """They are strings by name, in a task and out of it."""
    assert_type(ctx.headers, Mapping[str, str])
    if (job := current_job()) is not None:
        assert_type(job.headers, Mapping[str, str])
        task, job_id, attempt = job
        assert_type((task, job_id, attempt), tuple[str, str, int])
    await size.using(headers={"tenant": "acme"}).enqueue("a")
    size.using(headers={"tenant": 7})  # pyright: ignore[reportArgumentType]
    queue.task(headers={"tenant": None})  # pyright: ignore[reportArgumentType]
    async for info in queue.jobs():
        assert_type(info.headers, Mapping[str, str])


def carried() -> None:
    """Variables of any types are carried together, and nothing but variables."""
    queue.carry(ContextVar[str]("a"), ContextVar[list[int] | None]("b"))
    queue.carry("a")  # pyright: ignore[reportArgumentType]


def middleware() -> None:
    """Middleware keeps its type, and must have the right one."""

    @queue.middleware
    async def around(call: RunCall, call_next: CallNext) -> object:
        assert_type(call.args, tuple[object, ...])
        assert_type(call.headers, Mapping[str, str])
        assert_type(await call_next(), object)
        await call_next(call)  # pyright: ignore[reportCallIssue]
        return 1

    kept: Callable[[RunCall, CallNext], Coroutine[Any, Any, object]] = around

    @queue.enqueue_middleware
    def before(call: EnqueueCall) -> EnqueueCall:
        assert_type(call.job_id, str | None)
        call.using(lane=1)  # pyright: ignore[reportArgumentType]
        return call.using(headers={"a": "b"}, delay="1s")

    before_too: Callable[[EnqueueCall], EnqueueCall] = before

    async def of_one(call: RunCall) -> object: ...

    async def of_enqueues(call: EnqueueCall) -> EnqueueCall:
        return call

    queue.middleware(of_one)  # pyright: ignore[reportArgumentType]
    queue.enqueue_middleware(of_enqueues)  # pyright: ignore[reportArgumentType]
    del kept, before_too


@queue.task
async def on_end(ctx: Context, text: str) -> None:
    """Be called by the end of a job."""
    assert_type(ctx.parent, str | None)


@queue.task(on_success=on_end.bind("done"), on_failure=queue.named("alert").bind(1))
async def called_back(n: int) -> int:
    """Have callbacks."""
    return n


async def callbacks() -> None:
    """A callback is a call, and the task keeps its type."""
    task = called_back.using(on_success=None, on_failure=on_end.bind("oops"))
    assert_type(await task.enqueue(1), Job[int])
    called_back.using(on_success=on_end)  # pyright: ignore[reportArgumentType]
    called_back.using(on_success="on_end")  # pyright: ignore[reportArgumentType]
    called_back.using(on_failure=on_end.bind(1))  # pyright: ignore[reportArgumentType]
    called_back.using(on_failure=on_end.enqueue("a"))  # pyright: ignore[reportArgumentType]


tasks = Tasks()


@tasks.task
async def shared(text: str) -> int:
    """Belong to no queue yet."""
    return len(text)


@tasks.task(lane="bulk", timeout=5)
def shared_in_thread(ctx: Context, text: str) -> str:
    """Have options."""
    return ctx.job_id + text


@tasks.every("1h")
async def shared_poll() -> None:
    """Have a schedule."""


async def tasks_without_queue() -> None:
    """They have the types of a queue's own tasks, also as the tasks of one queue."""
    queue.include(tasks, prefix="text.")
    assert_type(await shared.enqueue("a"), Job[int])
    assert_type(await queue.enqueue(shared_in_thread, "a"), Job[str])
    assert_type(await queue.task_of(shared).enqueue("a"), Job[int])
    assert_type(await queue.task_of(shared.using(delay=1)).enqueue("a"), Job[int])
    assert_type(await shared_poll.enqueue(), Job[None])
    await shared.enqueue(3)  # pyright: ignore[reportArgumentType]
    await queue.task_of(shared).enqueue(3)  # pyright: ignore[reportArgumentType]
    tasks.task(timeot=3)  # pyright: ignore[reportCallIssue]
    queue.task()(name="x")  # pyright: ignore[reportCallIssue]
    queue.include(shared)  # pyright: ignore[reportArgumentType]
    queue.task_of("shared")  # pyright: ignore[reportArgumentType]


async def performed(queue: Queue) -> None:
    """`perform` takes a task with its arguments, or a call with the numbers of its run."""
    from aiostreamq.testing import isolated

    @queue.task
    async def size(path: str) -> int:
        return len(path)

    @queue.task
    async def lines(path: str) -> AsyncIterator[str]:
        yield path

    async with isolated(queue) as test:
        assert_type(await test.perform(size, "a"), int)
        assert_type(await test.perform(lines, "a"), list[str])
        assert_type(await test.perform(size.bind("a"), attempt=2, delivery=3), int)
        assert_type(await test.perform(lines.bind("a"), attempt=2), list[str])
        assert_type(await test.perform(size.using(headers={"a": "b"}).bind("a")), int)
        await test.perform(size, 1)  # pyright: ignore[reportArgumentType, reportCallIssue]
        await test.perform(size, "a", attempt=2)  # pyright: ignore[reportCallIssue]
        await test.perform(size.bind("a"), "a")  # pyright: ignore[reportArgumentType, reportCallIssue]


@queue.task(unique=Unique(key=("url", "depth"), on_conflict="raise"))
async def crawl(url: str, depth: int = 1) -> int:
    """Have a key."""
    return depth


async def unique_jobs() -> None:
    """The job that holds a key has the type of the task."""
    assert_type(await crawl.enqueue("u"), Job[int])
    assert_type(await crawl.using(unique=None).enqueue("u"), Job[int])
    assert_type((await crawl.enqueue("u")).is_new, bool | None)
    crawl.using(unique=Unique(key=len))
    crawl.using(unique="url")  # pyright: ignore[reportArgumentType]
    Unique(on_conflict="wait")  # pyright: ignore[reportArgumentType]
    Unique(key=1)  # pyright: ignore[reportArgumentType]
    Unique(until="started")
    Unique(until=timedelta(minutes=10))
    assert_type(await crawl.using(throttle=Throttle("10s", key="url")).enqueue("u"), Job[int])
    crawl.using(throttle="10s")  # pyright: ignore[reportArgumentType]
    Throttle()  # pyright: ignore[reportCallIssue]
    assert_type(await crawl.using(debounce=Debounce("5s", max_wait=60)).enqueue("u"), Job[int])
    crawl.using(debounce=Throttle(1))  # pyright: ignore[reportArgumentType]
    assert_type(await crawl.using(keep_latest=KeepLatest(key="url")).enqueue("u"), Job[int])
    crawl.using(keep_latest=Unique())  # pyright: ignore[reportArgumentType]
    KeepLatest(key=1)  # pyright: ignore[reportArgumentType]
