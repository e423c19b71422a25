"""Callbacks: the end of a job enqueues another one."""

import asyncio
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, cast

import orjson
import pytest
from pydantic import SecretStr

from aiostreamq import (
    AioStreamQError,
    Context,
    Drop,
    GiveUp,
    Job,
    Queue,
    QueueFull,
    Retry,
    Tasks,
    UsageError,
    Worker,
)
from aiostreamq.cli.format.jobs import as_page
from aiostreamq.client.core import core_of
from aiostreamq.model.values.masking import masked
from tests.support import cpu_jobs
from tests.support.waiting import PATIENCE, wait_until


class Scene:
    """A queue whose tasks end in every way, and what its callbacks were called with."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.calls: list[tuple[str, str | None, str]] = []
        self.started = asyncio.Event()

        @queue.task
        async def note(ctx: Context, what: str) -> str:
            assert ctx.parent is not None
            try:
                end = repr(await ctx.queue.job(ctx.parent))
            except AioStreamQError as error:
                end = type(error).__name__
            self.calls.append((what, ctx.parent, end))
            return what

        @queue.task
        async def end(how: str) -> str:
            self.started.set()
            match how:
                case "raise":
                    raise ValueError(how)
                case "drop":
                    raise Drop(how)
                case "give up":
                    raise GiveUp(how)
                case "hang":
                    await asyncio.Event().wait()
                case "too large":
                    return "x" * 2_000_000
                case _:
                    pass
            return how

        self.note = note
        self.end = end.using(on_success=note.bind("done"), on_failure=note.bind("oops"))


async def has_ended(job: Job[Any]) -> None:
    """Wait for the end of a job, whatever it is."""
    with suppress(AioStreamQError):
        await job.result(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("how", "options", "expected"),
    [
        ("return", {}, ("done", "'return'")),
        ("return", {"result_ttl": 0}, ("done", "ResultNotKept")),
        ("raise", {}, ("oops", "JobFailed")),
        ("raise", {"retry": Retry(2, base=0.001)}, ("oops", "JobFailed")),
        ("give up", {}, ("oops", "JobDead")),
        ("hang", {"timeout": 0.01}, ("oops", "JobTimeout")),
        ("hang", {"deadline": 0.2}, ("oops", None)),
        ("too large", {}, ("oops", "JobFailed")),
        ("return", {"expires": 0.001}, ("oops", "JobExpired")),
        ("drop", {}, None),
    ],
)
async def test_each_end(
    queue: Queue, how: str, options: dict[str, Any], expected: tuple[str, str | None] | None
) -> None:
    """Each end has the one callback that is for it, which can look the job up; a drop has none."""
    scene = Scene(queue)
    job = await scene.end.using(**options).enqueue(how)
    async with Worker(queue):
        if expected is None:
            await has_ended(job)
        else:
            await wait_until(lambda: scene.calls, "the callback")
    assert [one.id async for one in queue.jobs(state="queued")] == []
    assert [call[:2] for call in scene.calls] == ([(expected[0], job.id)] if expected else [])
    assert not expected or expected[1] in {scene.calls[0][2], None}


@pytest.mark.parametrize("when", ["waiting", "delayed", "running"])
async def test_cancelled(queue: Queue, when: str) -> None:
    """A job that is cancelled calls nothing, wherever it was."""
    scene = Scene(queue)
    job = await scene.end.using(delay="1h" if when == "delayed" else None).enqueue("hang")
    if when != "running":
        await job.cancel()
    async with Worker(queue):
        if when == "running":
            await scene.started.wait()
            await job.cancel()
        await has_ended(job)
    assert scene.calls == []
    assert [one.id async for one in queue.jobs(state="queued")] == []


async def test_replayed(queue: Queue) -> None:
    """A replay of a dead letter keeps the callbacks: its end calls again."""
    scene = Scene(queue)
    job = await scene.end.enqueue("raise")
    async with Worker(queue):
        await has_ended(job)
        await wait_until(lambda: len(scene.calls) == 1, "the callback")
        (letter,) = await queue.dead_letters.list()
        assert letter.callbacks == {"on_success": "note", "on_failure": "note"}
        await queue.dead_letters.replay(letter.id)
        await wait_until(lambda: len(scene.calls) == 2, "the callback of the replay")
    assert {call[1] for call in scene.calls} == {job.id}
    for number in ("", ".2"):
        assert await queue.job(f"{job.id}.failure{number}") == "oops"


async def test_callbacks_of_a_callback(queue: Queue) -> None:
    """A callback is a job like any other: it can have callbacks, and make a chain."""
    scene = Scene(queue)
    last = scene.note.bind("last")
    middle = scene.note.using(on_success=last, result_ttl="5m").bind("middle")
    job = await scene.end.using(on_success=middle).enqueue("return")
    async with Worker(queue):
        await wait_until(lambda: len(scene.calls) == 2, "both callbacks")
    assert [call[:2] for call in scene.calls] == [
        ("middle", job.id),
        ("last", f"{job.id}.success"),
    ]


@pytest.mark.parametrize("way", ["many", "map", "sync", "schedule", "delayed", "by name", "tasks"])
async def test_any_way_to_enqueue(queue: Queue, way: str) -> None:
    """Callbacks follow jobs however these are enqueued, and their tasks may be known by name."""
    scene = Scene(queue)
    task = scene.end
    match way:
        case "many":
            await queue.enqueue_many([task.bind("return")])
        case "map":
            async with Worker(queue):
                assert [one async for one in queue.map(task, ["return"])] == ["return"]
        case "sync":
            await asyncio.to_thread(queue.sync.enqueue, task, "return")
        case "schedule":
            await queue.schedules.create("s", task, every="1h", args=["return"])
            await queue.schedules.trigger("s")
        case "delayed":
            await task.using(delay=0.001).enqueue("return")
        case "by name":
            call = queue.named("note").bind("done")
            await queue.named("end").using(on_success=call).enqueue("return")
        case _:
            tasks = Tasks()

            @tasks.task
            async def second(ctx: Context) -> None:
                scene.calls.append(("done", ctx.parent, ""))

            @tasks.task(on_success=second.bind())
            async def first() -> None:
                pass

            queue.include(tasks, prefix="p.")
            await first.enqueue()
    async with Worker(queue):
        await wait_until(lambda: scene.calls, "the callback")
    assert [call[0] for call in scene.calls] == ["done"]


async def test_what_it_inherits(queue: Queue) -> None:
    """A callback has the headers and the carried values of its job, and not its deadline."""
    variable = ContextVar[str]("tenant", default="none")
    seen: list[tuple[dict[str, str], object, str]] = []
    queue.carry(variable)

    @queue.task(headers={"own": "1", "both": "callback"})
    async def look(ctx: Context) -> None:
        seen.append((dict(ctx.headers), ctx.deadline, variable.get()))

    @queue.task(headers={"parent": "2", "both": "parent"}, on_success=look.bind())
    async def work() -> None:
        pass

    variable.set("acme")
    await work.using(deadline="1h").enqueue()
    variable.set("other")
    async with Worker(queue):
        await wait_until(lambda: seen, "the callback")
    assert seen == [({"own": "1", "both": "callback", "parent": "2"}, None, "acme")]


@pytest.mark.parametrize("bound", [{"max_length": 1}, {"max_bytes": 1}], ids=str)
async def test_a_full_lane_takes_it(store_url: str, bound: dict[str, Any]) -> None:
    """The bound of a lane is for enqueues: callbacks are never lost for want of room."""
    async with Queue(store_url, lanes=["default", "calls"], **bound) as queue:
        scene = Scene(queue)
        ends = scene.end.using(on_success=scene.note.using(lane="calls").bind("done"))
        fills = scene.note.using(lane="calls")
        parents: list[Job[Any]] = []
        async with Worker(queue, lanes=["default"]):
            for _ in range(3):
                parents.append(await ends.enqueue("return"))
                await has_ended(parents[-1])
            if "max_bytes" in bound:
                await fills.enqueue("the bytes of callbacks do not count")
            with pytest.raises(QueueFull):
                await fills.enqueue("the lane is full")
            parents.append(await ends.enqueue("return"))
            await has_ended(parents[-1])
        async with Worker(queue):
            await wait_until(lambda: len(scene.calls) == 4, "the callbacks")
        assert [parent for _, parent, _ in scene.calls] == [job.id for job in parents]


async def test_shown(queue: Queue) -> None:
    """A job shows the tasks of its callbacks; secrets in these are masked."""
    scene = Scene(queue)

    @queue.task
    async def log_in(password: SecretStr) -> None:
        pass

    plain = await (await scene.note.enqueue("a")).info()
    assert (plain.callbacks, plain.parent) == ({}, None)
    call = log_in.bind(SecretStr("hunter2"))
    job = await scene.end.using(on_success=call).enqueue("return")
    info = await job.info()
    assert info.callbacks == {"on_success": "log_in", "on_failure": "note"}
    page = as_page(info, "app")
    assert "on_success  log_in" in page
    store = core_of(queue).session().store
    ((_, fields),) = [
        one
        for one in cast("list[Any]", await store.call("XRANGE", store.streams[1], "-", "+"))
        if b"hunter2" in one[1][5]
    ]
    assert b"hunter2" not in masked(fields[5])


@pytest.mark.parametrize("option", ["on_success", "on_failure"])
async def test_wrong_callbacks(queue: Queue, store_url: str, option: str) -> None:
    """A value that is not a call of this queue is refused at once, with advice."""
    scene, other = Scene(queue), Queue(store_url, name="other")

    @other.task
    async def elsewhere() -> None:
        pass

    async def function() -> None:
        pass

    wrong: list[tuple[object, str]] = [
        (scene.note, r"task.bind\(...\)"),
        (function, r"takes a call of a task"),
        ("note", r"takes a call of a task"),
        (scene.note.enqueue("a"), r"takes a call of a task"),
        (cast("Any", scene.note).bind(), "note"),
        (cast("Any", scene.note).bind(object()), "note"),
        (scene.note.using(id="a").bind("a"), r"id=..., which a callback cannot have"),
        (scene.note.using(delay=1).bind("a"), r"delay=..., which a callback cannot have"),
        (scene.note.using(expires=1).bind("a"), r"expires=..., which a callback cannot have"),
        (scene.note.using(deadline=1).bind("a"), r"deadline=..., which a callback cannot have"),
        (elsewhere.bind(), "belongs to another queue"),
    ]
    for given, message in wrong:
        with pytest.raises(UsageError, match=message):
            scene.note.using(**cast("Any", {option: given}))
    with pytest.raises(UsageError, match="belongs to another queue"):
        queue.task(name="t", **cast("Any", {option: elsewhere.bind()}))(function)
    with pytest.raises(UsageError, match="lane"):
        await scene.note.using(
            **cast("Any", {option: scene.note.using(lane="nope").bind("a")})
        ).enqueue("a")
    none = scene.end.using(on_success=None, on_failure=None)
    await none.enqueue("return")
    (envelope,) = await envelopes(queue)
    assert envelope == {"task": "end", "args": ["return"]}


async def envelopes(queue: Queue) -> list[object]:
    """Return the calls in the default lane."""
    store = core_of(queue).session().store
    stream = store.keys.stream("default")
    found = cast("list[Any]", await store.call("XRANGE", stream, "-", "+"))
    return [orjson.loads(fields[5]) for _, fields in found]


async def test_in_a_process(queue: Queue) -> None:
    """A task that runs in a process knows the job whose callback it is."""
    parent_in_process = queue.task(executor="process")(cpu_jobs.parent_of)

    @queue.task(on_success=parent_in_process.bind())
    async def work() -> None:
        pass

    job = await work.enqueue()
    async with Worker(queue):
        await has_ended(job)
        assert await queue.job(f"{job.id}.success").result(timeout=PATIENCE) == job.id
