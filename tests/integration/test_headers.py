"""Headers travel with a job, wherever it goes, and to the jobs that it enqueues."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import cast

import pytest

from aiostreamq import (
    Context,
    JobFailed,
    JobInfo,
    Queue,
    Retry,
    UsageError,
    Worker,
    current_job,
)
from aiostreamq.client.core import core_of
from aiostreamq.model.metadata import LONGEST_NAME, MOST_HEADER_BYTES
from tests.support import cpu_jobs
from tests.support.release import commit_of, unpack
from tests.support.waiting import PATIENCE

ACME = {"tenant": "acme"}


def seen() -> dict[str, str]:
    """Return the headers that any code can see."""
    job = current_job()
    assert job is not None
    return dict(job.headers)


async def listed(queue: Queue, state: str) -> list[Mapping[str, str]]:
    """Return the headers of all jobs in a state."""
    return [job.headers async for job in queue.jobs(state=state)]


async def test_reach_a_task_however_it_runs(queue: Queue) -> None:
    """The context and `current_job()` have the headers, in a coroutine, a stream and a thread."""
    found: list[tuple[str, dict[str, str], dict[str, str]]] = []

    @queue.task
    async def coroutine(ctx: Context) -> None:
        found.append(("coroutine", dict(ctx.headers), seen()))

    @queue.task
    async def stream(ctx: Context):  # inferred
        found.append(("stream", dict(ctx.headers), seen()))
        yield 1

    @queue.task
    def thread(ctx: Context) -> None:
        found.append(("thread", dict(ctx.headers), seen()))

    async with Worker(queue):
        for task in (coroutine, stream, thread):
            await (await task.using(headers=ACME).enqueue())
            await (await task.enqueue())
    names = ("coroutine", "stream", "thread")
    assert found == [(name, its, its) for name in names for its in (ACME, {})]


async def test_reach_a_process(redis_url: str) -> None:
    """A task in a process has the headers too, and none of the job before it."""
    cpu_jobs.queue.use_url(redis_url)
    async with cpu_jobs.queue as queue, Worker(queue, processes=1):
        assert await (await cpu_jobs.headers.using(headers=ACME).enqueue()) == [ACME, ACME]
        assert await (await cpu_jobs.headers.enqueue()) == [{}, {}]


async def test_current_job_is_still_a_tuple_of_three(queue: Queue) -> None:
    """Code that unpacks it, or compares it, still works."""

    @queue.task
    async def unpack_it() -> bool:
        job = current_job()
        assert job is not None
        task, job_id, attempt = job
        return job == (task, job_id, attempt) and (task, attempt) == ("unpack_it", 1)

    async with Worker(queue):
        assert await (await unpack_it.using(headers=ACME).enqueue())


async def test_given_twice_are_joined(queue: Queue) -> None:
    """Headers of a task, of `using` and of a second `using` add up; the latest value counts."""

    @queue.task(headers={"team": "a", "tenant": "none"})
    async def show() -> dict[str, str]:
        return seen()

    acme = show.using(headers=ACME)
    async with Worker(queue):
        assert await (await show.enqueue()) == {"team": "a", "tenant": "none"}
        assert await (await acme.enqueue()) == {"team": "a", "tenant": "acme"}
        mail = acme.using(headers={"team": "b"}, timeout=9)
        assert await (await mail.enqueue()) == {"team": "b", "tenant": "acme"}
        (job,) = await queue.enqueue_many([mail.bind()])
        assert await job == {"team": "b", "tenant": "acme"}


async def test_inherited_by_jobs_of_jobs(queue: Queue) -> None:
    """From coroutines and threads, single or many; own values win."""
    loop = asyncio.get_running_loop()

    @queue.task
    async def leaf(level: int) -> None:
        if level:
            await leaf.enqueue(level - 1)
        else:
            await late.enqueue()

    @queue.task
    async def later() -> None: ...

    late = later.using(delay="1h")

    @queue.task
    async def parent() -> None:
        await leaf.enqueue(2)
        await queue.enqueue_many([late.bind(), late.using(headers={"tenant": "other"}).bind()])

    @queue.task
    def thread() -> None:
        asyncio.run_coroutine_threadsafe(put(), loop).result(PATIENCE)

    async def put() -> None:
        await late.enqueue()

    async with Worker(queue):
        await (await parent.using(headers=ACME).enqueue())
        await (await thread.using(headers={"thread": "1"}).enqueue())
        await (await thread.enqueue())
    await Worker(queue).run(burst=True)
    found = await listed(queue, "delayed")
    expected = [ACME, ACME, {"tenant": "other"}, {"thread": "1"}, {}]
    assert sorted(map(str, found)) == sorted(map(str, expected))


async def test_trigger_inherits(queue: Queue) -> None:
    """A schedule that a job triggers gets the headers of the job; its own win."""

    @queue.task
    async def tick() -> dict[str, str]:
        return seen()

    await queue.schedules.create(
        "tick", tick.using(headers={"own": "1", "tenant": "own"}), every="1h"
    )

    @queue.task
    async def parent() -> str:
        return (await queue.schedules.trigger("tick")).id

    async with Worker(queue):
        by_job = await (await parent.using(headers={"tenant": "acme", "trace": "7"}).enqueue())
        found = await queue.job(by_job).result(timeout=PATIENCE)
        assert found == {"own": "1", "tenant": "own", "trace": "7"}
        alone = await queue.schedules.trigger("tick")
        assert await alone.result(timeout=PATIENCE) == {"own": "1", "tenant": "own"}


async def test_survive_retries_and_replays(queue: Queue) -> None:
    """Each attempt has the headers, and so has the dead letter and its replay."""
    found: list[dict[str, str]] = []

    @queue.task(retry=Retry(2, base=0.001))
    async def fail() -> None:
        found.append(seen())
        raise ValueError("no")

    async with Worker(queue):
        job = await fail.using(headers=ACME).enqueue()
        with pytest.raises(JobFailed):
            await job
        assert found == [ACME, ACME]
        (letter,) = await queue.dead_letters.list()
        assert letter.headers == ACME
        assert (await job.info()).headers == ACME
        await queue.dead_letters.replay(letter.id)
        with pytest.raises(JobFailed):
            await queue.job(job.id).result(timeout=PATIENCE)
    assert found[2:] == [ACME, ACME]


async def test_are_shown(queue: Queue) -> None:
    """Listings and `job.info()` show the headers of waiting and delayed jobs."""

    @queue.task
    async def wait() -> None: ...

    acme = wait.using(headers=ACME)
    jobs = [await acme.enqueue(), await acme.using(delay="1h").enqueue(), await wait.enqueue()]
    infos: list[JobInfo] = [await job.info() for job in jobs]
    assert [info.headers for info in infos] == [ACME, ACME, {}]
    assert await listed(queue, "delayed") == [ACME]


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ("tenant", "must be a mapping"),
        ([("tenant", "acme")], "must be a mapping"),
        (None, "must be a mapping"),
        ({"tenant": 7}, "must be a str, got 7"),
        ({"tenant": None}, "must be a str"),
        ({"tenant": b"acme"}, "must be a str"),
        ({7: "acme"}, "header name 7 is invalid"),
        ({"": "acme"}, "header name '' is invalid"),
        ({"a b": "acme"}, "header name 'a b' is invalid"),
        ({"a\n": "acme"}, "is invalid"),
        ({"a" * (LONGEST_NAME + 1): ""}, "is invalid"),
        ({"\ud800": ""}, "is invalid"),
        ({"tenant": "\ud800"}, "lone surrogate"),
        ({"tenant": "x" * MOST_HEADER_BYTES}, "over the limit of 8,192"),
    ],
)
def test_invalid_are_refused_early(headers: object, problem: str) -> None:
    """`using` and the decorator refuse bad headers."""
    queue = Queue("memory://")

    @queue.task
    async def f() -> None: ...

    given = cast("Mapping[str, str]", headers)
    with pytest.raises(UsageError, match=problem):
        f.using(headers=given)
    with pytest.raises(UsageError, match=problem):
        queue.task(headers=given)(f.__wrapped__)


async def test_inherited_and_own_are_bounded_together(queue: Queue) -> None:
    """A job that inherits more than fits is refused, and its parent gets that error."""
    half = {"a": "x" * (MOST_HEADER_BYTES // 2)}

    @queue.task
    async def child() -> None: ...

    @queue.task
    async def parent() -> None:
        await child.using(headers={"b": half["a"]}).enqueue()

    async with Worker(queue):
        with pytest.raises(JobFailed, match="that the job inherits included"):
            await (await parent.using(headers=half).enqueue())


async def test_jobs_without_have_the_same_bytes(queue: Queue) -> None:
    """The envelope of a job without headers is as in 0.1.0."""

    @queue.task
    async def f(n: int) -> None: ...

    job = await f.enqueue(1)
    store = core_of(queue).session().store
    stream = store.keys.stream("default")
    (entry,) = cast("list[tuple[bytes, list[bytes]]]", await store.call("XRANGE", stream, "-", "+"))
    fields = dict(zip(entry[1][::2], entry[1][1::2], strict=True))
    assert fields[b"id"] == job.id.encode()
    assert fields[b"job"] == b'{"task":"f","args":[1]}'


OLD_WORKER = """
import asyncio, sys
import aiostreamq
from aiostreamq import Queue, Worker

assert aiostreamq.__file__.startswith(sys.argv[2]), aiostreamq.__file__
queue = Queue(sys.argv[1], name="mixed")

@queue.task
async def size(text: str) -> int:
    return len(text)

asyncio.run(Worker(queue).run(burst=True))
"""


async def test_workers_of_the_first_release_run_such_jobs(redis_url: str, tmp_path: Path) -> None:
    """A worker of 0.1.0 ignores what it does not know, and runs the job."""
    if (commit := commit_of("0.1.0")) is None:
        pytest.skip("this needs a checkout with the commit of 0.1.0 in its history")
    tree = unpack(commit, tmp_path / "0.1.0")
    queue = Queue(redis_url, name="mixed")

    @queue.task
    async def size(text: str) -> int:
        return len(text)

    tenant = ContextVar[str]("tenant")
    tenant.set("acme")
    queue.carry(tenant)
    async with queue:
        job = await size.using(headers=ACME, tags=["import"]).enqueue("four")
        await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", OLD_WORKER, redis_url, str(tree)],
            env={"PYTHONPATH": str(tree)},
            cwd=tmp_path,
            check=True,
            timeout=PATIENCE,
        )
        assert await job.result(timeout=PATIENCE) == 4
