"""`aiostreamq top` in a real terminal of 80 x 24, and without one."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from aiostreamq import JobState, Queue, Worker
from aiostreamq.cli.top.look import MOST_LETTERS, Looker
from tests.examples.processes import environment
from tests.support.processes import Program
from tests.support.terminal import Terminal
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.may_block("the tests start programs and read their terminals")

PANES = ("─ lanes", "─ tasks", "─ running jobs", "─ workers", "─ dead letters", "─ findings")
TAB, DOWN = "\t", "\x1b[B"


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    """A queue with a worker, a job that runs, and a dead letter."""
    queue = Queue(redis_url, name="shop", lanes=["default", "bulk"])

    @queue.task
    async def nap() -> None:
        await asyncio.sleep(3600)

    @queue.task
    async def boom() -> None:
        raise ValueError("no \x1b[31m luck")

    async with queue, Worker(queue, lease="3s", shutdown_timeout=0):
        await boom.enqueue()
        await nap.enqueue()
        await wait_until_dead(queue, 1)
        yield queue


async def wait_until_dead(queue: Queue, count: int) -> None:
    """Return when the queue has this number of dead letters."""

    async def look() -> bool:
        return (await queue.info()).dead == count

    await wait_until(look, f"{count} dead letters")


def top(queue_url: str, *options: str) -> Terminal:
    """Return the command in a terminal, not started yet."""
    command = ("-m", "aiostreamq", "top", "--queue", "shop", "--every", "0.5", *options)
    return Terminal(*command, environment=environment(queue_url))


async def ended(terminal: Terminal) -> int:
    """Return the exit code, once the terminal is as it was before."""
    code = await terminal.end()
    assert terminal.settings == terminal.before
    assert terminal.raw.endswith("\x1b[?25h\x1b[?1049l") or "\x1b[?1049l" in terminal.raw[-400:]
    assert terminal.raw.rfind("\x1b[?25h") > terminal.raw.rfind("\x1b[?25l")
    return code


async def test_each_pane_is_drawn(queue: Queue, redis_url: str) -> None:
    """All six fit into 80 x 24, with what is there, and no text of a job controls the terminal."""
    with top(redis_url) as terminal:
        screen = await terminal.shows(*PANES, "bulk", "boom", "nap", "1/100", "q quit")
        assert len(screen) == 24
        assert max(map(len, screen)) == 80
        assert r"ValueError no \x" in "\n".join(screen)
        terminal.resize(120, 40)
        await wait_until(lambda: len(terminal.screen) == 40, "the larger screen")
        assert max(map(len, terminal.screen)) == 120
        terminal.resize(20, 6)
        await wait_until(lambda: len(terminal.screen) == 6, "the smaller screen")
        terminal.type("q")
        assert await ended(terminal) == 0
    assert queue.name == "shop"


async def test_keys_act(queue: Queue, redis_url: str) -> None:
    """Keys pause and resume a task and a lane, cancel a job and replay a letter, after y."""
    with top(redis_url) as terminal:
        await terminal.shows("nap", "boom", "1/100")
        terminal.type(f"{DOWN}p")
        await terminal.shows("lane bulk is paused")
        assert [pause.lane for pause in await queue.paused()] == ["bulk"]
        terminal.type(f"{TAB}j")
        terminal.type("p")
        await terminal.shows("nap (paused)")
        assert "nap" in {pause.task for pause in await queue.paused()}
        terminal.type("p")
        await terminal.shows("task nap is resumed")
        assert "nap" not in {pause.task for pause in await queue.paused()}
        terminal.type(f"{TAB}c")
        await terminal.shows("cancel job", "y/n")
        terminal.type("n")
        await terminal.shows("nothing was changed")
        (job,) = [job async for job in queue.jobs(state="running")]
        terminal.type("c")
        await terminal.shows(f"cancel job {job.id} of nap? y/n")
        terminal.type("y")
        await terminal.shows("was running and is cancelled")

        async def is_cancelled() -> bool:
            return await queue.job(job.id).status() is JobState.CANCELLED

        await wait_until(is_cancelled, "the job to be cancelled")
        (letter,) = await queue.dead_letters.list()
        terminal.type(f"{TAB}{TAB}r")
        await terminal.shows("replay", "y/n")
        terminal.type("y")
        await terminal.shows("1 replayed")
        await wait_until_dead(queue, 1)
        assert (await queue.dead_letters.list())[0].id != letter.id
        terminal.type("q")
        assert await ended(terminal) == 0


async def test_read_only(queue: Queue, redis_url: str) -> None:
    """No key changes anything."""
    with top(redis_url, "--read-only") as terminal:
        await terminal.shows("nap", "(read-only)")
        terminal.type(f"{TAB}{DOWN}p")
        await terminal.shows("the view is read-only")
        terminal.type(f"{TAB}c")
        await terminal.shows("the view is read-only")
        assert await queue.paused() == []
        terminal.type("\x03")  # Ctrl-C
        assert await ended(terminal) == 0


async def test_sigterm_restores_the_terminal(queue: Queue, redis_url: str) -> None:
    """SIGTERM ends it in order."""
    with top(redis_url) as terminal:
        await terminal.shows("nap")
        terminal.process.send_signal(signal.SIGTERM)
        assert await ended(terminal) == 0
    assert queue.name == "shop"


async def test_error_restores_the_terminal(
    queue: Queue, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An unexpected error ends it, with its traceback on a terminal as it was before."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "sitecustomize.py").write_text(
        "import aiostreamq.cli.top.screen as screen\n"
        "def fail(*_): raise RuntimeError('broken on purpose')\n"
        "screen.Cursor.move_pane = fail\n"
    )
    variables = environment(redis_url)
    variables["PYTHONPATH"] = f"{folder}:{variables['PYTHONPATH']}"
    command = ("-m", "aiostreamq", "top", "--queue", "shop")
    with Terminal(*command, environment=variables) as terminal:
        await terminal.shows("nap")
        terminal.type(TAB)
        assert await terminal.end() == 1
        assert terminal.settings == terminal.before
        assert "broken on purpose" in terminal.raw.rpartition("\x1b[?1049l")[2]
    assert queue.name == "shop"


async def test_redis_that_is_away(own_redis_server: RedisServer) -> None:
    """It says so, keeps the last look, and continues when Redis is back."""
    async with Queue(own_redis_server.url, name="shop") as queue:
        await queue.enqueue("send")
    with top(own_redis_server.url) as terminal:
        await terminal.shows("1 waiting")
        own_redis_server.stop()
        await terminal.shows("no look", "1 waiting")
        own_redis_server.start()
        async with Queue(own_redis_server.url, name="shop"):
            await terminal.shows("0 waiting", "q quit")
        own_redis_server.stop()
        await terminal.shows("no look")
        terminal.type("q")
        assert await ended(terminal) == 0


async def test_without_a_terminal(queue: Queue, redis_url: str) -> None:
    """It prints one look as text, and ends."""
    command = ("-m", "aiostreamq", "top", "--queue", "shop", "--url", redis_url)
    async with Program(*command) as program:
        assert await program.wait_end() == 0
    for part in ("lanes: ", "tasks: 2", "workers: 1", "dead letters: 1", "boom", "ValueError"):
        assert part in program.printed
    assert "\x1b" not in program.printed
    assert queue.name == "shop"


async def test_cost_of_a_look(redis_url: str) -> None:
    """Looks after the first ask for the counts only, however many jobs and letters there are."""
    async with Queue(redis_url, name="shop") as queue:

        @queue.task
        async def boom() -> None:
            raise ValueError

        for _ in range(200):
            await boom.enqueue()
        await Worker(queue).run(burst=True)
        for _ in range(200):
            await boom.enqueue()
        looker = Looker(queue)
        look = await looker.look()
        assert (look.info.dead, look.info.waiting, len(look.letters)) == (200, 200, MOST_LETTERS)
        async with Redis.from_url(redis_url) as redis:
            before = await calls(redis)
            for _ in range(10):
                await looker.look()
            # About 20 each. More only if the machine is so slow that dearer parts are due.
            assert (await calls(redis) - before) / 10 < 60


async def calls(redis: Redis) -> int:
    """Return how many commands this Redis has run."""
    stats = await redis.info("commandstats")
    return sum(int(each["calls"]) for each in stats.values())
