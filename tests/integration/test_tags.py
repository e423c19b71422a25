"""Tags mark jobs; listings filter by them, and by headers."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from aiostreamq import EnqueueCall, JobFailed, Queue, RunCall, UsageError, Worker
from aiostreamq.cli.main import main
from aiostreamq.model.metadata import LONGEST_NAME, MOST_TAGS
from tests.support.waiting import PATIENCE


async def listed(queue: Queue, **filters: object) -> list[object]:
    """Return the first arguments of the jobs that a listing finds, in order."""
    jobs = queue.jobs(**cast("dict[str, str]", filters))  # pyright: ignore[reportArgumentType]
    return sorted([job.args[0] async for job in jobs if job.args], key=str)


async def test_found_in_each_state(queue: Queue) -> None:
    """Running, queued, delayed and failed jobs are found by a tag and by a header, no others."""
    started, is_over = asyncio.Event(), asyncio.Event()

    @queue.task
    async def hold(_name: str) -> None:
        started.set()
        await is_over.wait()

    @queue.task
    async def fail(_name: str) -> None:
        raise ValueError("no")

    @queue.task
    async def succeed(_name: str) -> None: ...

    options = {"marked": {"tags": ["a", "b"], "headers": {"tenant": "acme"}}, "plain": {}}
    async with Worker(queue, concurrency=2):
        for name, given in options.items():
            using = fail.using(**given)  # pyright: ignore[reportArgumentType]
            with pytest.raises(JobFailed):
                await (await using.enqueue(f"{name} failed")).result(timeout=PATIENCE)
            await (await succeed.using(**given).enqueue(f"{name} done"))  # pyright: ignore[reportArgumentType]
        for name, given in options.items():
            await hold.using(**given).enqueue(f"{name} running")  # pyright: ignore[reportArgumentType]
        async with asyncio.timeout(PATIENCE):
            await started.wait()
        for name, given in options.items():
            await hold.using(**given, delay="1h").enqueue(f"{name} delayed")  # pyright: ignore[reportArgumentType]
        found = ["marked delayed", "marked failed", "marked running"]
        for filters in ({"tag": "a"}, {"tag": "b"}, {"header": ("tenant", "acme")}):
            assert await listed(queue, **filters) == found
            assert await listed(queue, state="failed", **filters) == ["marked failed"]
            assert await listed(queue, state=["delayed", "done"], **filters) == ["marked delayed"]
            assert await listed(queue, task="fail", **filters) == ["marked failed"]
        for nothing in ({"tag": "c"}, {"header": ("tenant", "b")}, {"header": ("a", "acme")}):
            assert await listed(queue, **nothing) == []
        assert await listed(queue, tag="a", header=("tenant", "other")) == []
        is_over.set()


async def test_given_in_place_and_not_inherited(queue: Queue) -> None:
    """Tags of `using` replace those of the task, and jobs of jobs have only their own."""

    @queue.task
    async def child(n: int) -> None: ...

    @queue.task(tags=("t", "u"))
    async def parent(_n: int) -> None:
        await child.using(delay="1h").enqueue(9)

    await parent.enqueue(1)
    await parent.using(tags=["u", "v", "u"], timeout=5).enqueue(2)
    await parent.using(tags=["v"]).using(tags=[]).enqueue(3)
    assert [job.tags async for job in queue.jobs()] == [("t", "u"), ("u", "v"), ()]
    await Worker(queue).run(burst=True)
    assert [job.tags async for job in queue.jobs(state="delayed")] == [()] * 3


async def test_seen_by_middleware(queue: Queue) -> None:
    """Both kinds of middleware see tags, and the one before an enqueue can give some."""
    seen: list[tuple[str, ...]] = []

    @queue.enqueue_middleware
    def mark(call: EnqueueCall) -> EnqueueCall:
        return call.using(tags=[*call.tags, "marked"])

    @queue.middleware
    async def look(call: RunCall, call_next: object) -> object:
        seen.append(call.tags)

    @queue.task
    async def f() -> None: ...

    del mark, look
    async with Worker(queue):
        await (await f.using(tags=["a"]).enqueue())
        await (await f.enqueue())
    assert seen == [("a", "marked"), ("marked",)]


@pytest.mark.parametrize(
    "tags",
    [
        "import",
        None,
        7,
        {"a"},
        [7],
        [""],
        ["a b"],
        ["a\n"],
        ["\ud800"],
        ["a" * (LONGEST_NAME + 1)],
        [str(n) for n in range(MOST_TAGS + 1)],
    ],
    ids=lambda tags: repr(tags)[:20],
)
def test_invalid_are_refused_early(tags: object) -> None:
    """`using` and the decorator refuse bad tags."""
    queue = Queue("memory://")

    @queue.task
    async def f() -> None: ...

    given = cast("Sequence[str]", tags)
    with pytest.raises(UsageError, match="tag"):
        f.using(tags=given)
    with pytest.raises(UsageError, match="tag"):
        queue.task(tags=given)(f.__wrapped__)


@pytest.mark.parametrize(
    "filters", [{"tag": 7}, {"tag": ["a"]}, {"header": "a"}, {"header": ("a",)}, {"header": (1, 2)}]
)
def test_invalid_filters(filters: dict[str, str]) -> None:
    """A wrong filter is refused by the call, before anything is read."""
    with pytest.raises(UsageError, match="is invalid"):
        Queue("memory://").jobs(**filters)  # pyright: ignore[reportArgumentType]


async def test_command(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`jobs ls` takes both filters, and `jobs show` shows both."""
    async with Queue(redis_url, name="tagged") as queue:
        named = queue.named("f").using(tags=["a", "b"], headers={"tenant": "acme"})
        job, other = await named.enqueue(1), await queue.named("f").enqueue(2)

    async def run(*args: str) -> tuple[int, str]:
        options = ["--queue", "tagged", "--url", redis_url]
        code = await asyncio.to_thread(main, ["jobs", *args, *options])
        return code, capsys.readouterr().out

    for filters in (["--tag", "a"], ["--header", "tenant=acme"]):
        code, out = await run("ls", *filters)
        assert code == 0
        assert job.id in out
        assert other.id not in out
    _, out = await run("show", job.id)
    assert "tags        a b" in out
    assert '{"tenant": "acme"}' in out
    assert (await run("ls", "--header", "tenant"))[0] == 2
