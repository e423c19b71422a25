"""Unique jobs, through the public face: one open job for a key."""

import asyncio
import pickle
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from aiostreamq import (
    AioStreamQError,
    AlreadyEnqueued,
    Context,
    Debounce,
    Drop,
    GiveUp,
    Job,
    JobCancelled,
    JobDropped,
    JobState,
    KeepLatest,
    Queue,
    ResultNotKept,
    Retry,
    Tasks,
    Throttle,
    Unique,
    UsageError,
    Worker,
)
from aiostreamq.cli.format.jobs import as_page
from aiostreamq.client.core import core_of
from aiostreamq.model.keys import GROUP
from tests.support.proxy import Proxy
from tests.support.waiting import wait_until


class Scene:
    """A queue with a unique task that ends in every way."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.runs: list[str] = []
        self.may_end = asyncio.Event()

        @queue.task(unique=Unique(key="key"), retry=Retry(2, on=(OSError,), base=0))
        async def end(key: str, how: str = "done") -> str:
            self.runs.append(how)
            match how:
                case "raise":
                    raise ValueError(how)
                case "retry":
                    raise OSError(how)
                case "drop":
                    raise Drop(how)
                case "give up":
                    raise GiveUp(how)
                case "wait":
                    await self.may_end.wait()
                case _:
                    pass
            return key

        self.end = end

    async def keys(self) -> int:
        """Return how many keys are noted."""
        store = core_of(self.queue).session().store
        reply = await store.call("HLEN", store.keys.unique)
        assert isinstance(reply, int)
        return reply


@pytest.fixture
def scene(queue: Queue) -> Scene:
    """A scene on a real Redis and in memory."""
    return Scene(queue)


async def ended(job: Job[Any]) -> None:
    """Wait for the end of a job, whatever it is."""
    with suppress(AioStreamQError):
        await job


@pytest.mark.parametrize("how", ["done", "raise", "retry", "drop", "give up"])
async def test_worker_ends_it(scene: Scene, how: str) -> None:
    """The key is taken until the job has ended, and the worker leaves nothing of it."""
    first = await scene.end.enqueue("k", how)
    second = await scene.end.enqueue(key="k")
    assert (second.id, first.is_new, second.is_new) == (first.id, True, False)
    async with Worker(scene.queue):
        await ended(first)
        await ended(second)
        assert await scene.keys() == 0
        again = await scene.end.enqueue("k")
        assert again.id != first.id
        assert await again == "k"


async def test_cancelled_while_it_waits(scene: Scene) -> None:
    """A cancelled job frees its key at once."""
    first = await scene.end.enqueue("k")
    await first.cancel()
    assert (await scene.end.enqueue("k")).is_new


async def test_cancelled_while_it_runs(scene: Scene) -> None:
    """It frees its key when its worker has stopped it."""
    async with Worker(scene.queue):
        first = await scene.end.enqueue("k", "wait")
        await wait_until(lambda: "wait" in scene.runs, "it runs")
        second = await scene.end.enqueue("k")
        assert not second.is_new
        await second.cancel()
        await ended(first)
        assert (await scene.end.enqueue("k")).is_new


async def test_expired(scene: Scene) -> None:
    """A job that was not started in time frees its key."""
    first = await scene.end.using(expires=datetime(2001, 1, 1, tzinfo=UTC)).enqueue("k")
    async with Worker(scene.queue):
        await ended(first)
        assert (await scene.end.enqueue("k")).is_new


async def test_raise(scene: Scene) -> None:
    """The error has the id of the job that holds the key."""
    strict = scene.end.using(unique=Unique(key="key", on_conflict="raise"))
    first = await strict.enqueue("k")
    with pytest.raises(
        AlreadyEnqueued, match=f"task 'end': job '{first.id}' has the same key"
    ) as e:
        await strict.enqueue("k")
    assert e.value.job_id == first.id
    copy = pickle.loads(pickle.dumps(e.value))
    assert (str(copy), copy.job_id) == (str(e.value), first.id)


async def test_drop(scene: Scene) -> None:
    """The second job ends as dropped, and is a job of its own."""
    lax = scene.end.using(unique=Unique(key="key", on_conflict="drop"))
    first, second = await lax.enqueue("k"), await lax.enqueue("k")
    assert first.id != second.id
    assert await second.status() == JobState.DROPPED
    with pytest.raises(JobDropped, match=f"job {first.id} has the same key"):
        await second
    unkept = await lax.using(result_ttl=0).enqueue("k")
    with pytest.raises(ResultNotKept):
        await unkept
    assert [job.id async for job in scene.queue.jobs(state="dropped")] == [unkept.id, second.id]


async def test_drop_of_an_awaited_task(scene: Scene) -> None:
    """A caller whose inbox is announced with the enqueue is notified."""
    lax = scene.end.using(unique=Unique(key="key", on_conflict="drop"))
    async with Worker(scene.queue):
        await (await lax.enqueue("k"))
        first = await lax.enqueue("k", "wait")
        with pytest.raises(JobDropped):
            await (await lax.enqueue("k"))
        scene.may_end.set()
        await first


async def test_replace(scene: Scene) -> None:
    """Awaiting a job that was replaced raises JobCancelled, whether it waited or ran."""
    eager = scene.end.using(unique=Unique(key="key", on_conflict="replace"))
    waits = await eager.enqueue("k")
    runs = await eager.enqueue("k", "wait")
    with pytest.raises(JobCancelled):
        await waits
    async with Worker(scene.queue):
        await wait_until(lambda: "wait" in scene.runs, "it runs")
        last = await eager.enqueue("k")
        assert last.is_new
        with pytest.raises(JobCancelled):
            await runs
        assert await last == "k"
    assert await scene.keys() == 0


async def test_replay(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """A dead letter whose key another job holds stays, with a warning; others take their keys."""
    first = await scene.end.enqueue("k", "raise")
    async with Worker(scene.queue):
        await ended(first)
    dead = scene.queue.dead_letters
    assert await dead.replay(first.id) == 1
    assert (await scene.end.enqueue("k")).id == first.id
    async with Worker(scene.queue):
        await wait_until(dead.count, "it failed again")
    second = await scene.end.enqueue("k")
    assert second.is_new
    assert await dead.replay(everything=True) == 0
    assert "holds the key of its job; replay it later" in caplog.text
    assert await dead.replay(first.id, args=["other"]) == 1
    async with Worker(scene.queue):
        await second
        await wait_until(lambda: scene.runs.count("done") == 2, "both ran")
        third = await scene.end.enqueue("k", "raise")
        await ended(third)
    await scene.end.enqueue("k")
    assert await dead.replay(third.id, ignore_keys=True) == 1
    assert await scene.keys() == 1


async def test_until_started(scene: Scene) -> None:
    """While a job runs, one more of its key may wait; a retry does not take the key again."""
    task = scene.end.using(unique=Unique(key="key", until="started"))
    first = await task.enqueue("k", "wait")
    assert (await task.enqueue("k")).id == first.id
    async with Worker(scene.queue, concurrency=1):
        await wait_until(lambda: "wait" in scene.runs, "it runs")
        assert await scene.keys() == 0
        second = await task.enqueue("k", "retry")
        assert second.is_new
        assert (await task.enqueue("k")).id == second.id
        scene.may_end.set()
        await ended(second)
        assert scene.runs == ["wait", "retry", "retry"]
    assert await scene.keys() == 0


async def test_key_cannot_be_freed(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The job runs all the same, and a warning says what that means."""
    task = scene.end.using(unique=Unique(key="key", until="started"))
    job = await task.enqueue("k")
    store = core_of(scene.queue).session().store
    await store.call("DEL", store.keys.unique)
    await store.call("SET", store.keys.unique, "another program")
    async with Worker(scene.queue):
        assert await job == "k"
    assert "the key of a job is held to its end" in caplog.text
    await store.call("DEL", store.keys.unique)


async def test_window(scene: Scene) -> None:
    """The job of the window is returned after its end, too."""
    task = scene.end.using(unique=Unique(key="key", until="10m"))
    first = await task.enqueue("k")
    async with Worker(scene.queue):
        await first
        again = await task.enqueue("k")
        assert (again.id, again.is_new, await again) == (first.id, False, "k")
    assert (await scene.end.enqueue("k")).is_new, "it is a rule of its own"
    strict = scene.end.using(unique=Unique(key="key", until="10m", on_conflict="raise"))
    with pytest.raises(AlreadyEnqueued, match="was enqueued a short time ago"):
        await strict.enqueue("k")


async def test_throttle(queue: Queue) -> None:
    """The first call of a window is enqueued, and the others return its job."""

    @queue.task(throttle=Throttle("10m", key="user"))
    async def refresh(user: str, page: int = 0) -> int:
        return page

    first = await refresh.enqueue("ann", 1)
    jobs = [await refresh.enqueue("ann", page) for page in range(3)]
    other = await refresh.enqueue("bob")
    assert {job.id for job in jobs} == {first.id}
    assert other.is_new
    async with Worker(queue):
        assert await jobs[-1] == 1
        assert not (await refresh.enqueue("ann")).is_new
        assert (await refresh.using(throttle=None).enqueue("ann")).is_new


async def test_debounce(queue: Queue) -> None:
    """Calls that follow each other make one job, with the arguments of the last."""

    @queue.task(debounce=Debounce("1h", key="doc", max_wait="2h"))
    async def save(doc: str, version: int) -> int:
        return version

    jobs = [await save.enqueue("d", version) for version in range(3)]
    jobs += await queue.enqueue_many(save.bind("d", version) for version in (3, 4))
    other = await save.using(debounce=Debounce("50ms", key="doc")).enqueue("e", 7)
    assert len({job.id for job in jobs}) == 1
    assert [job.is_new for job in jobs] == [True, False, False, False, False]
    assert await jobs[0].status() == JobState.DELAYED
    for options in ({"delay": 1}, {"at": datetime(2030, 1, 1, tzinfo=UTC)}):
        with pytest.raises(
            UsageError, match=r"task 'save' has debounce=.*: leave delay and at out"
        ):
            await save.using(**cast("Any", options)).enqueue("d", 5)
    async with Worker(queue):
        assert await other == 7
        last = await save.using(debounce=Debounce("50ms", key="doc")).enqueue("d", 8)
        assert last.id == jobs[0].id
        assert [await job for job in (*jobs, last)] == [8] * 6
        assert (await save.enqueue("d", 9)).is_new
        assert (await save.using(debounce=None).enqueue("d", 9)).is_new


async def test_keep_latest(scene: Scene) -> None:
    """While a job runs, one more waits, with the newest arguments, and all callers get its end."""
    task = scene.end.using(keep_latest=KeepLatest(key="key"))
    async with Worker(scene.queue, concurrency=2):
        first = await task.enqueue("k", "wait")
        await wait_until(lambda: "wait" in scene.runs, "it runs")
        jobs = [await task.enqueue("k", how) for how in ("one", "two", "three")]
        jobs += await scene.queue.enqueue_many(task.bind("k", how) for how in ("four", "five"))
        other = await task.enqueue("other", "six")
        assert [job.is_new for job in jobs] == [True, False, False, False, False]
        assert len({first.id, jobs[0].id, jobs[-1].id}) == 2
        assert await jobs[0].status() == JobState.DELAYED
        assert await other == "other"
        scene.may_end.set()
        assert [await job for job in (first, *jobs)] == ["k"] * 6
        assert scene.runs == ["wait", "six", "five"]
        assert await scene.keys() == 0
        assert (await task.enqueue("k")).is_new
    for options in ({"delay": 1}, {"at": datetime(2030, 1, 1, tzinfo=UTC)}):
        with pytest.raises(UsageError, match=r"task 'end' has keep_latest=.*: leave delay and at"):
            await task.using(**cast("Any", options)).enqueue("k")
    assert (await task.using(keep_latest=None, delay=1).enqueue("k")).is_new


@pytest.mark.parametrize(
    "how",
    ["done", "raise", "retry", "drop", "give up", "cancel", "cancel early", "purge", "expire"],
)
async def test_kept_job_follows_each_end(scene: Scene, how: str) -> None:
    """The waiting job runs, however the first one ends."""
    task = scene.end.using(keep_latest=KeepLatest(key="key"))
    limited = task.using(expires=datetime(2001, 1, 1, tzinfo=UTC)) if how == "expire" else task
    first = await limited.enqueue("k", "wait" if how == "cancel" else how)
    second = await task.enqueue("k", "first")
    assert (await task.enqueue("k", "last")).id == second.id
    if how == "cancel early":
        await first.cancel()
    elif how == "purge":
        assert sum((await scene.queue.cancel_many(state=JobState.QUEUED)).values()) == 1
    async with Worker(scene.queue):
        if how == "cancel":
            await wait_until(lambda: "wait" in scene.runs, "it runs")
            await first.cancel()
        assert await second == "k"
        await ended(first)
    assert scene.runs[-1] == "last"
    assert "first" not in scene.runs
    assert await scene.keys() == 0


@pytest.mark.parametrize(
    "damage",
    [
        ("DEL", "stream:default"),
        ("XGROUP", "DESTROY", "stream:default", GROUP),
        ("DEL", "stream:default", "stream:returned"),
        ("DEL", "control"),
    ],
    ids=" ".join,
)
async def test_kept_job_runs_although_keys_are_deleted(
    scene: Scene, damage: tuple[str, ...]
) -> None:
    """The waiting job runs although keys are deleted beneath the first one."""
    task = scene.end.using(keep_latest=KeepLatest(key="key"))
    async with Worker(scene.queue):
        first = await task.enqueue("k", "wait")
        await wait_until(lambda: "wait" in scene.runs, "it runs")
        second = await task.enqueue("k", "first")
        store = core_of(scene.queue).session().store
        prefix = store.keys.prefix
        names = {"stream:default", "stream:returned", "control"}
        await store.call(*(prefix + part if part in names else part for part in damage))
        assert (await task.enqueue("k", "last")).id == second.id
        assert await second.status() == JobState.DELAYED, "the first one still runs"
        scene.may_end.set()
        assert [await first, await second] == ["k", "k"]
        assert scene.runs == ["wait", "last"]
        assert await scene.keys() == 0


async def test_last_call_always_runs(scene: Scene) -> None:
    """Many callers while jobs come and go: no two run at once, and the last arguments run last."""
    running, most = 0, 0

    @scene.queue.task(keep_latest=KeepLatest(key="key"))
    async def follow(key: str, how: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        scene.runs.append(str(how))
        return how

    async with Worker(scene.queue):
        jobs = [await follow.enqueue("k", how) for how in range(200)]
        found = [await job for job in jobs]
    assert most == 1
    assert found == sorted(found)
    assert found[-1] == 199
    assert all(made >= asked for asked, made in enumerate(found))
    assert len(scene.runs) == len({job.id for job in jobs})


async def test_keep_latest_in_threads(scene: Scene) -> None:
    """Threads see the same."""
    task = scene.end.using(keep_latest=KeepLatest(key="key"))
    first, second = await task.enqueue("k"), await task.enqueue("k")

    def in_thread() -> list[tuple[str, bool | None]]:
        sync = scene.queue.sync
        jobs = [sync.enqueue(task, "k"), *sync.enqueue_many([task.bind("k"), task.bind("new")])]
        sync.close()
        return [(job.id, job.is_new) for job in jobs]

    *found, new = await asyncio.to_thread(in_thread)
    assert found == [(second.id, False)] * 2
    assert (new[1], first.id != second.id) == (True, True)


async def test_info(scene: Scene) -> None:
    """The info of an open job says until when the job holds its key."""
    found: dict[str, str | None] = {}
    for name, task in {
        "done": scene.end,
        "started": scene.end.using(unique=Unique(until="started")),
        "debounced": scene.end.using(debounce=Debounce(60)),
        "latest": scene.end.using(keep_latest=KeepLatest()),
        "window": scene.end.using(throttle=Throttle(60)),
        "none": scene.end.using(unique=None),
    }.items():
        job = await task.enqueue(name)
        found[name] = (await job.info()).unique
        page = as_page(await job.info(), scene.queue.name)
        assert (f"until {found[name]}" in page) == bool(found[name])
    assert found == {
        "done": "done", "started": "started", "debounced": "done", "latest": "done",
        "window": None, "none": None,
    }  # fmt: skip
    listed = [job.unique async for job in scene.queue.jobs()]
    assert sorted(map(str, listed)) == sorted(map(str, found.values()))


async def test_info_says_what_a_job_waits_for(scene: Scene) -> None:
    """The job that holds its key, as long as it does; further calls, until it is due."""
    task = scene.end.using(keep_latest=KeepLatest(key="key"))
    first, second = await task.enqueue("k"), await task.enqueue("k")
    found = await second.info()
    assert (found.waits_for, found.is_debounced, found.state) == ((first.id,), False, "delayed")
    assert f"waits for   the end of job {first.id}\n" in as_page(found, "q") + "\n"
    assert (await first.info()).waits_for == ()
    await first.cancel()
    assert (await second.info()).waits_for == (), "it has ended, and looks again when it is due"

    for task, waits in (
        (scene.end.using(debounce=Debounce(60, key="key")), True),
        (scene.end.using(unique=None, delay=60), False),
    ):
        found = await (await task.enqueue("k")).info()
        assert (found.is_debounced, found.waits_for) == (waits, ())
        assert found.due is not None
        until = f"further calls of its key, until {found.due:%Y-%m-%d %H:%M:%S} UTC if none comes"
        assert (until in as_page(found, "q")) == waits
    listed = [job.is_debounced async for job in scene.queue.jobs(state=JobState.DELAYED)]
    assert sorted(listed) == [False, False, True]


async def test_retry_waits_for_no_calls(scene: Scene) -> None:
    """A job that waits for its next attempt waits for nothing else."""
    task = scene.end.using(retry=Retry(2, on=(OSError,), base=60))
    for number, rule in enumerate((Debounce(0.001), KeepLatest())):
        job = await task.using(**cast("Any", {rule.option: rule})).enqueue(f"k{number}", "retry")

        async def has_failed(job: Job[str] = job) -> bool:
            return (await job.info()).attempt == 2

        async with Worker(scene.queue):
            await wait_until(has_failed, "it waits for its next attempt")
        found = await job.info()
        assert (found.state, found.is_debounced, found.waits_for) == ("delayed", False, ())


async def test_callbacks_pass_by(scene: Scene) -> None:
    """A callback is enqueued by the end of its job, whatever holds its key."""
    first = await scene.end.using(delay="1h").enqueue("k")
    parent = await scene.end.using(on_success=scene.end.bind("k")).enqueue("parent")
    async with Worker(scene.queue):
        await parent
        assert await scene.queue.job(f"{parent.id}.success") == "k"
    assert (await scene.end.enqueue("k")).id == first.id


async def test_taken_away(scene: Scene) -> None:
    """`.using(unique=None)` enqueues in any case."""
    first = await scene.end.enqueue("k")
    assert (await scene.end.using(unique=None).enqueue("k")).id != first.id


async def test_id_of_the_caller(scene: Scene) -> None:
    """A chosen id keeps its meaning: a job that has it is returned, else the holder of the key."""
    first = await scene.end.using(id="mine").enqueue("k")
    again = await scene.end.using(id="mine").enqueue("other")
    held = await scene.end.using(id="yours").enqueue("k")
    assert [(job.id, job.is_new) for job in (first, again, held)] == [
        ("mine", True), ("mine", False), ("mine", False),
    ]  # fmt: skip


async def test_delayed(scene: Scene) -> None:
    """A job for later holds its key."""
    first = await scene.end.using(delay="1h").enqueue("k")
    assert (await scene.end.enqueue("k")).id == first.id
    assert await first.status() == JobState.DELAYED


async def test_many(scene: Scene) -> None:
    """Handles are in the order of the calls, those of taken keys too."""
    keys = ["a", "b", "a", "c", "b", "b"]
    jobs = await scene.queue.enqueue_many(scene.end.bind(key) for key in keys)
    assert [job.is_new for job in jobs] == [True, True, False, True, False, False]
    assert [jobs[keys.index(key)].id for key in keys] == [job.id for job in jobs]
    strict = scene.end.using(unique=Unique(key="key", on_conflict="raise"))
    with pytest.raises(AlreadyEnqueued) as error:
        await scene.queue.enqueue_many([strict.bind("d"), strict.bind("a"), strict.bind("e")])
    assert error.value.job_id == jobs[0].id
    assert not (await scene.end.enqueue("e")).is_new


async def test_at_once(scene: Scene) -> None:
    """Concurrent calls of one key make one job."""
    jobs = await asyncio.gather(*(scene.end.enqueue("k") for _ in range(50)))
    assert len({job.id for job in jobs}) == 1
    assert sum(job.is_new is True for job in jobs) == 1


async def test_sync(scene: Scene) -> None:
    """Threads see the same."""
    first = await scene.end.enqueue("k")

    def in_thread() -> list[tuple[str, bool | None]]:
        sync = scene.queue.sync
        jobs = [sync.enqueue(scene.end, "k") for _ in range(3)]
        jobs += sync.enqueue_many([scene.end.bind("k"), scene.end.bind("new")])
        with pytest.raises(AlreadyEnqueued):
            sync.enqueue(scene.end.using(unique=Unique(key="key", on_conflict="raise")), "k")
        sync.close()
        return [(job.id, job.is_new) for job in jobs]

    *found, new = await asyncio.to_thread(in_thread)
    assert found == [(first.id, False)] * 4
    assert new[1]


async def test_inside_a_task(scene: Scene) -> None:
    """A job enqueues others by the same rule."""

    @scene.queue.task
    async def parent(ctx: Context) -> list[str]:
        return [(await scene.end.enqueue("k", "wait")).id for _ in range(2)]

    async with Worker(scene.queue):
        ids = await (await parent.enqueue())
        scene.may_end.set()
    assert len(set(ids)) == 1


async def test_without_queue(queue: Queue) -> None:
    """A task that is declared without a queue has its key in each queue."""
    tasks = Tasks()

    @tasks.task(unique=Unique())
    async def size(url: str) -> int:
        return len(url)

    queue.include(tasks, prefix="lib.")
    here = queue.task_of(size)
    first, second = await here.enqueue("u"), await here.enqueue(url="u")
    assert first.id == second.id


async def test_known_by_name(scene: Scene, store_url: str) -> None:
    """Another program has the same key for an argument that it gives by name."""
    first = await scene.end.enqueue("k")
    async with Queue(store_url) as other:
        by_name = other.named("end").using(unique=Unique(key="key"))
        assert (await by_name.enqueue(key="k")).id == first.id
        with pytest.raises(UsageError, match="give it by name"):
            await by_name.enqueue("k")


async def test_two_tasks(queue: Queue) -> None:
    """Each task has keys of its own."""

    @queue.task(unique=Unique())
    async def one(x: int) -> None: ...

    @queue.task(unique=Unique())
    async def two(x: int) -> None: ...

    assert (await one.enqueue(1)).is_new
    assert (await two.enqueue(1)).is_new


async def test_map(scene: Scene) -> None:
    """Items of one key get the result of one job."""
    async with Worker(scene.queue):
        found = [one async for one in scene.queue.map(scene.end, ["a", "a", "b"])]
    assert found == ["a", "a", "b"]


async def test_full(store_url: str) -> None:
    """A taken key needs no room; a new job waits for it."""
    async with Queue(store_url, max_length=1, when_full="wait") as queue:
        scene = Scene(queue)
        first = await scene.end.enqueue("a")
        assert (await scene.end.enqueue("a")).id == first.id
        waiting = asyncio.create_task(scene.end.enqueue("b"))
        many = asyncio.create_task(queue.enqueue_many([scene.end.bind("a"), scene.end.bind("c")]))
        store = core_of(queue).session().store
        line = store.keys.prefix + "room:default"
        await wait_until(lambda: store.call("EXISTS", line), "a client waits for room")
        assert not waiting.done()
        async with Worker(queue):
            assert await (await waiting) == "b"
            assert [await job for job in await many] == ["a", "c"]


def of_uri(uri: str) -> str:
    """Make a key of an argument that the task does not have."""
    return uri


REFUSED: dict[str, Callable[[Queue], object]] = {
    "no rule": lambda queue: queue.task(unique=cast("Any", True))(named_task),
    "class": lambda queue: queue.task(unique=cast("Any", Unique))(named_task),
    "argument": lambda queue: queue.task(unique=Unique(key="uri"))(named_task),
    "argument in using": lambda queue: queue.task(named_task).using(unique=Unique(key="uri")),
    "two rules": lambda queue: queue.task(unique=Unique(), throttle=Throttle(1))(named_task),
    "two rules in using": lambda queue: queue.task(named_task).using(
        unique=Unique(), throttle=Throttle(1)
    ),
    "latest and another": lambda queue: queue.task(unique=Unique(), keep_latest=KeepLatest())(
        named_task
    ),
    "argument of the latest": lambda queue: queue.task(keep_latest=KeepLatest(key="uri"))(
        named_task
    ),
    "latest that is no rule": lambda queue: queue.task(keep_latest=cast("Any", Debounce(1)))(
        named_task
    ),
    "key of the latest": lambda queue: queue.task(keep_latest=KeepLatest(cast("Any", 5)))(
        named_task
    ),
    "argument of a throttle": lambda queue: queue.task(throttle=Throttle(1, key="uri"))(named_task),
    "rule of another option": lambda queue: queue.task(throttle=cast("Any", Unique()))(named_task),
    "function": lambda queue: queue.task(unique=Unique(key=of_uri))(named_task),
}


async def named_task(url: str) -> None:
    """Take an argument."""


@pytest.mark.parametrize("register", REFUSED.values(), ids=REFUSED)
def test_refused(register: Callable[[Queue], object]) -> None:
    """A rule that cannot work is refused when it is given."""
    with pytest.raises(UsageError):
        register(Queue("memory://"))


async def test_latest_through_lost_replies(
    proxy: Proxy, redis_url: str, client: Redis, second_looks: None
) -> None:
    """A call that is repeated because its reply was lost does not win over a later one."""
    async with Queue(proxy.url) as slow, Queue(redis_url) as queue:
        scene = Scene(queue)
        rule = KeepLatest(key="key")
        task, by_name = scene.end.using(keep_latest=rule), slow.named("end").using(keep_latest=rule)
        await task.enqueue("k", "first")
        kept = await by_name.enqueue(key="k", how="second")

        async def is_kept() -> bool:
            envelope = await client.hget(f"aiostreamq:{{default}}:job:{kept.id}", "p")
            return "older" in str(envelope)

        proxy.drop_replies(to=b"EVALSHA")
        proxy.refuse()
        older = asyncio.create_task(by_name.enqueue(key="k", how="older"))
        await wait_until(is_kept, "the call to reach Redis")
        newer = await task.enqueue("k", "newer")
        assert not older.done()
        await proxy.accept()
        assert (await older).id == newer.id == kept.id
        async with Worker(queue):
            await newer
        assert scene.runs == ["first", "newer"]


async def test_race_through_lost_replies(proxy: Proxy, client: Redis, second_looks: None) -> None:
    """Clients race for two keys while connections break: there is one job for each key."""
    queues = [Queue(proxy.url) for _ in range(10)]
    scenes = [Scene(queue) for queue in queues]
    for scene in scenes:
        await scene.end.enqueue("opens the queue")
    proxy.reset_chance = 0.15
    jobs = await asyncio.gather(
        *(scene.end.enqueue(f"k{place % 2}") for place in range(50) for scene in scenes)
    )
    proxy.reset_chance = 0.0
    for place in range(10):
        proxy.drop_replies(to=b"EVALSHA")
        jobs.append(await scenes[place].end.enqueue(f"k{place % 2}"))
        proxy.cut()
    assert len({job.id for job in jobs}) == 2
    assert await client.xlen("aiostreamq:{default}:stream:default") == 3
    for queue in queues:
        await queue.aclose()
