"""`Tasks`: tasks and schedules that are declared without a queue, and included by queues."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from aiostreamq import Context, EnqueueCall, Job, Queue, Tasks, UsageError, Worker
from tests.support.waiting import PATIENCE


def declared() -> tuple[Tasks, Any]:
    """Return tasks without a queue, and one of them."""
    tasks = Tasks()

    @tasks.task(lane="bulk", timeout="5s")
    async def size(text: str) -> int:
        return len(text)

    @tasks.task
    async def twice(ctx: Context, text: str) -> int:
        assert ctx.task.endswith("twice")
        return 2 * await (await size.enqueue(text))

    @tasks.task(name="letters")
    async def stream(text: str) -> Any:
        for letter in text:
            yield letter

    return tasks, size


def queue_at(url: str, name: str = "shared") -> Queue:
    """Return a queue with the lanes of the tasks."""
    return Queue(url, name=name, lanes=["default", "bulk"])


async def enqueue(queue: Queue, task: Any) -> Job[Any]:
    """Enqueue with the queue."""
    untyped: Any = queue
    return await untyped.enqueue(task, "four")


# Each enqueues size("four") in its own way.
WAYS: dict[str, Callable[[Queue, Any], Any]] = {
    "task": lambda _, size: size.enqueue("four"),
    "using": lambda _, size: size.using(delay=0.01).enqueue("four"),
    "queue": enqueue,
    "queue, using": lambda queue, size: enqueue(queue, size.using(id="own")),
    "task_of": lambda queue, size: queue.task_of(size).enqueue("four"),
    "task_of, using": lambda queue, size: queue.task_of(size.using(id="own")).enqueue("four"),
    "name": lambda queue, _: queue.enqueue("text.size", "four"),
    "many": lambda queue, size: first_of(queue.enqueue_many([size.bind("four")])),
    "sync": lambda queue, size: from_thread(queue, lambda: [queue.sync.enqueue(size, "four")]),
    "sync, often": lambda queue, size: from_thread(
        queue, lambda: [queue.sync.enqueue(size, "four") for _ in range(20)]
    ),
    "sync, using": lambda queue, size: from_thread(
        queue, lambda: [queue.sync.enqueue(size.using(id="own"), "four")]
    ),
    "sync, many": lambda queue, size: from_thread(
        queue, lambda: queue.sync.enqueue_many([size.bind("four")])
    ),
}

request: ContextVar[str] = ContextVar("request")


async def from_thread(queue: Queue, enqueue: Callable[[], Any]) -> Job[Any]:
    """Return the last of the jobs that code in a thread enqueues."""
    return queue.job((await asyncio.to_thread(enqueue))[-1].id)


async def first_of(jobs: Any) -> Job[Any]:
    """Return the first job."""
    return (await jobs)[0]


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("way", WAYS)
async def test_included_in_one_queue(store_url: str, way: str) -> None:
    """All ways to enqueue lead to the queue that includes the task, under its prefix."""
    tasks, size = declared()
    queue = queue_at(store_url)
    queue.include(tasks, prefix="text.")
    assert sorted(queue.tasks) == ["text.letters", "text.size", "text.twice"]
    async with queue, Worker(queue):
        job = await WAYS[way](queue, size)
        assert await job.result(timeout=20) == 4
        later = await size.using(delay="1h").enqueue("four")
        listed = [one.id async for one in queue.jobs(task=size, state="delayed")]
        assert listed == [later.id]
        assert (await later.info()).task == "text.size"


async def test_two_queues(store_url: str) -> None:
    """With two queues the caller chooses; a job of one of them enqueues into its own."""
    tasks, size = declared()
    first, second = queue_at(store_url, "first"), queue_at(store_url, "second")
    first.include(tasks)
    second.include(tasks, prefix="text.")
    async with first, second, Worker(first), Worker(second):
        with pytest.raises(UsageError, match=r"several queues \('first', 'second'\): choose one"):
            await size.enqueue("four")
        with pytest.raises(UsageError, match="several queues"):
            await first.pause(task=size)
        assert await (await first.enqueue(size, "four")) == 4
        assert await (await second.task_of(size).enqueue("four")) == 4
        assert first.task_of(size).name == "size"
        assert second.task_of(size).name == "text.size"
        for queue, name in ((first, "twice"), (second, "text.twice")):
            assert await (await queue.enqueue(name, "four")) == 8


UNBOUND: dict[str, Callable[[Queue, Any], Any]] = {
    "enqueue": lambda _, size: size.enqueue("four"),
    "using": lambda _, size: size.using(delay=1).enqueue("four"),
    "pause": lambda queue, size: queue.pause(task=size),
}


@pytest.mark.parametrize("way", UNBOUND)
async def test_not_included(way: str) -> None:
    """Before it is included, its function can be called; enqueueing says what to do."""
    _, size = declared()
    assert await size("four") == 4
    async with queue_at("memory://") as queue:
        with pytest.raises(UsageError, match=r"'size' belongs to no queue yet: .*queue\.include"):
            await UNBOUND[way](queue, size)
        with pytest.raises(UsageError, match="belongs to another queue than 'shared'"):
            await queue.enqueue(size, "four")
        with pytest.raises(UsageError, match="belongs to another queue than 'shared'"):
            queue.task_of(size)


@pytest.mark.heavy_in_memory
@pytest.mark.parametrize("way", [*WAYS, "map"])
async def test_hooks_of_the_queue(store_url: str, way: str) -> None:
    """Middleware and context variables of the queue reach the task, whichever way it is called."""
    tasks, seen, ran = Tasks(), list[str](), list[tuple[str, str]]()

    @tasks.task
    async def size(ctx: Context, text: str) -> int:
        ran.append((request.get("unset"), ctx.headers.get("by", "none")))
        return len(text)

    queue = queue_at(store_url)
    queue.include(tasks, prefix="text.")
    queue.carry(request)

    @queue.enqueue_middleware
    def stamp(call: EnqueueCall) -> EnqueueCall:
        seen.append(call.task)
        return call.using(headers={"by": "middleware"})

    del stamp

    async def ask() -> int:
        request.set("r-7")
        if way == "map":
            (found,) = [found async for found in queue.map(size, ["four"])]
            return found
        return await (await WAYS[way](queue, size)).result(timeout=PATIENCE)

    async with queue, Worker(queue):
        assert await asyncio.create_task(ask()) == 4
    assert set(seen) == {"text.size"}
    assert set(ran) == {("r-7", "middleware")}


def clash(queue: Queue) -> Tasks:
    """Return Tasks of which the second has a name that is taken."""
    tasks, _ = declared()
    queue.task(name="twice")(len_of)
    return tasks


def other_prefix(queue: Queue) -> Tasks:
    """Return Tasks that are included already."""
    tasks, _ = declared()
    queue.include(tasks, prefix="other.")
    return tasks


def bad_schedule(queue: Queue) -> Tasks:
    """Return Tasks with a schedule whose name is taken."""
    tasks = Tasks()
    tasks.every("1h", name="n", args=["x"])(len_of)
    queue.every("1h", name="n", args=["x"])(queue.task(name="other")(len_of))
    return tasks


def other_len(text: str) -> int:
    """Return the length of a text, too."""
    return len(text)


def len_of(text: str) -> int:
    """Return the length of a text."""
    return len(text)


REFUSED: list[tuple[Callable[[Queue], Any], str, str]] = [
    (clash, "", "already has a task 'twice'"),
    (other_prefix, "", "includes these Tasks already, with prefix 'other.'"),
    (bad_schedule, "", "already has a schedule 'n'"),
    (lambda _: declared()[0], "a b", "prefix name 'a b' is invalid"),
    (lambda _: object(), "", "takes Tasks, not an object of type 'object'"),
]


@pytest.mark.parametrize(("make", "prefix", "error"), REFUSED)
def test_refused(make: Callable[[Queue], Any], prefix: str, error: str) -> None:
    """An include that fails leaves nothing behind."""
    queue = queue_at("memory://")
    tasks = make(queue)
    before = dict(queue.tasks)
    with pytest.raises(UsageError, match=error):
        queue.include(tasks, prefix=prefix)
    assert queue.tasks == before
    no_lane = Queue("memory://")
    with pytest.raises(UsageError, match="for lane 'bulk', which queue 'default' does not have"):
        no_lane.include(declared()[0])
    assert not no_lane.tasks


def test_declarations() -> None:
    """Names are checked at once; what is declared later joins the queues; twice is once."""
    tasks, _ = declared()
    queue = queue_at("memory://")
    queue.include(tasks)
    queue.include(tasks)
    tasks.task(name="late")(len_of)
    assert "late" in queue.tasks
    with pytest.raises(UsageError, match="this Tasks object already has a task 'late'"):
        tasks.task(name="late")(other_len)
    any_tasks: Any = tasks
    misspelt = any_tasks.task(timeot=3)
    with pytest.raises(UsageError, match="no option 'timeot': write timeout"):
        misspelt(len_of)
    queue.task(name="taken")(len_of)
    with pytest.raises(UsageError, match="already has a task 'taken'"):
        tasks.task(name="taken")(len_of)
    assert "taken" not in repr(tasks)


async def test_schedules(store_url: str) -> None:
    """Schedules of functions, tasks and calls are those of the queue, with its prefix."""
    tasks = Tasks()

    @tasks.every("1h")
    async def poll() -> None:
        pass

    @tasks.task
    async def report(day: str) -> None:
        del day

    tasks.cron("@daily", name="nightly")(report.bind("today"))
    tasks.cron("@hourly", args=["now"])(report.using(timeout=5))
    queue = queue_at(store_url)
    queue.include(tasks, prefix="text.")
    tasks.every("2h", name="late", args=["x"])(report)
    with pytest.raises(UsageError, match="does not belong to these Tasks"):
        Tasks().every("1h")(report.bind("x"))
    async with queue, Worker(queue):
        found = {one.name: one.task for one in await queue.schedules.list()}
        assert found == {
            "text.poll": "text.poll",
            "text.nightly": "text.report",
            "text.report": "text.report",
            "text.late": "text.report",
        }
        made = await queue.schedules.create("mine", report, args=["x"], every="1h")
        assert made.task == "text.report"


class Mailer:
    """A class with methods."""

    def __init__(self, host: str) -> None:
        self.host = host

    async def send(self, to: str) -> str:
        """Use its own state."""
        return f"{to} by {self.host}"

    def __call__(self, to: str) -> str:
        """Be a callable object."""
        return f"{to} by {self.host}"

    @classmethod
    async def by_class(cls, to: str) -> str:
        """Use the class."""
        return f"{to} by {cls.__name__}"

    @staticmethod
    def static(to: str) -> str:
        """Use nothing."""
        return f"{to} by none"


mailer = Mailer("mx")

# The kinds of the table in docs/how-to/structure-your-project.md: what is registered, with a
# name if it has none of its own, and what its job returns, or the error.
KINDS: dict[str, tuple[Any, str | None, str]] = {
    "bound method": (mailer.send, None, "ada by mx"),
    "bound classmethod": (Mailer.by_class, None, "ada by Mailer"),
    "staticmethod": (Mailer.static, None, "ada by none"),
    "callable object": (mailer, "call", "ada by mx"),
    "partial": (functools.partial(mailer.send, "ada"), "partly", "ada by mx"),
}
REFUSED_KINDS: dict[str, tuple[Any, str | None, str]] = {
    "function in a class body": (Mailer.send, None, "a method of Mailer without an object"),
    "classmethod in a class body": (vars(Mailer)["by_class"], None, "class does not exist yet"),
    "class": (Mailer, None, "pass a function, or a callable object of the class"),
    "callable object without name": (mailer, None, "has no name: set one"),
    "partial without name": (functools.partial(mailer.send, "ada"), None, "has no name"),
    "lambda": (lambda to: to, None, "has no name"),  # pyright: ignore[reportUnknownLambdaType]
}


@pytest.mark.parametrize("kind", KINDS)
async def test_kinds(store_url: str, kind: str) -> None:
    """Methods and other callables run as tasks of Tasks, as those of a queue do."""
    given, name, result = KINDS[kind]
    tasks = Tasks()
    register: Any = tasks.task(name=name)
    task = register(given)
    queue = queue_at(store_url)
    queue.include(tasks)
    async with queue, Worker(queue):
        arguments = () if kind == "partial" else ("ada",)
        assert await (await task.enqueue(*arguments)) == result


@pytest.mark.parametrize("kind", REFUSED_KINDS)
def test_refused_kinds(kind: str) -> None:
    """Other kinds are refused when they are declared, with advice."""
    given, name, error = REFUSED_KINDS[kind]
    with pytest.raises(UsageError, match=error):
        Tasks().task(name=name)(given)
