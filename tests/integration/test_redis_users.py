"""Redis users who may do what the page grants them, or less."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import cast

import pytest
from redis.asyncio import Redis

from aiostreamq import (
    BrokerError,
    Context,
    GiveUp,
    JobCancelled,
    JobDead,
    Queue,
    QueueUnavailable,
    Retry,
    Worker,
)
from aiostreamq.client.doctor import diagnose
from tests.support.redis_rights import rule_on_page, take_away
from tests.support.redis_server import RedisServer, RedisServerError
from tests.support.waiting import PATIENCE, wait_until

#: What may be refused without anybody missing it, see the page.
BORNE = {"config|get", "client|setinfo", "config", "client"}  # 6.2 names no subcommands

pytestmark = pytest.mark.usefixtures("second_looks")


def url_of(server: RedisServer, user: str) -> str:
    """The address of the server for a user."""
    return server.url.replace("redis://", f"redis://{user}:change-me@")


async def refusals(server: RedisServer) -> set[str]:
    """Return what Redis has refused to anybody, but for what is borne."""
    async with Redis.from_url(server.url, decode_responses=True) as admin:
        log = cast("list[dict[str, object]]", await admin.acl_log())
    told = {f"{one['username']} may not: {one['object']}" for one in log}
    return {line for line in told if line.rpartition(" ")[2] not in BORNE}


async def add(a: int, b: int) -> int:
    """End at once."""
    return a + b


async def fail_once(context: Context) -> int:
    """Run twice."""
    if context.attempt == 1:
        raise ValueError("once")
    return context.attempt


async def die() -> None:
    """Leave a dead letter."""
    raise GiveUp("no")


def in_thread() -> str:
    """Run in a thread."""
    return "thread"


async def stream(context: Context) -> AsyncIterator[int]:
    """Say something of all kinds."""
    await context.progress(0.5, "half")
    for n in range(3):
        yield n


class Told:
    """Tasks that say when they run, and one that enqueues."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.seen: list[str] = []

    async def parent(self) -> int:
        """Await another job."""
        return cast("int", await (await self.queue.enqueue("add", 2, 3)))

    async def hang(self) -> None:
        """Never end."""
        self.seen.append("hang")
        await asyncio.Event().wait()

    async def tick(self) -> None:
        """End at once."""
        self.seen.append("tick")

    async def outlive(self) -> str:
        """End when it is run again."""
        if "outlive" in self.seen:
            return "recovered"
        self.seen.append("outlive")
        await asyncio.Event().wait()
        return "never"


def add_tasks(queue: Queue) -> list[str]:
    """Register tasks of every kind; return what they tell of themselves."""
    told = Told(queue)
    for function in (add, die, told.parent, told.hang, told.tick, told.outlive, stream):
        queue.task(function)
    queue.task(retry=Retry(2, base="50ms"))(fail_once)
    queue.task(lane="low")(in_thread)
    return told.seen


def make_queue(url: str, **more: str | float) -> Queue:
    """A queue with two lanes and no tasks."""
    return Queue(url, name="app", lanes=["default", "low"], **more)  # pyright: ignore[reportArgumentType]


async def use_all(queue: Queue) -> None:
    """Do all that a producer may: with *queue*, whose user is that."""
    enqueue = queue.enqueue
    assert await (await enqueue("add", 1, 2)) == 3
    assert await (await enqueue("in_thread")) == "thread"
    assert await (await enqueue("fail_once")) == 2
    assert await (await enqueue("parent")) == 5
    many = await queue.enqueue_many(queue.named("add").bind(n, n) for n in range(3))
    assert [await job for job in many] == [0, 2, 4]
    by_name = queue.named("add")
    later = [by_name.using(delay="50ms", expires="1h"), by_name.using(id="own", result_ttl=60)]
    assert [await (await one.enqueue(1, 1)) for one in later] == [2, 2]
    assert await queue.job("own").status() == "done"
    events = [event.kind async for event in (await enqueue("stream")).events()]
    assert events == ["progress", "chunk", "chunk", "chunk"]
    with pytest.raises(JobDead):
        await (await enqueue("die"))
    for job in (await by_name.using(delay="1h").enqueue(1, 1), await enqueue("hang")):
        await job.cancel()
        with pytest.raises(JobCancelled):
            await job
    parked = await enqueue("unknown")

    async def is_parked() -> bool:
        return await parked.status() == "parked"

    await wait_until(is_parked, "a job of an unknown task to be parked")


async def look_at_all(queue: Queue) -> None:
    """Do all that a reader may."""
    assert (await queue.info()).dead
    assert await queue.workers()
    jobs = [job async for job in queue.jobs()]
    assert {"parked", "done"} <= {job.state for job in jobs}
    assert (await queue.job("own").info()).state == "done"
    (letter,) = await queue.dead_letters.list()
    await queue.dead_letters.show(letter.id)
    await queue.dead_letters.show(letter.job_id)
    assert [one.name for one in await queue.schedules.list()] == ["tick"]
    found = await diagnose(queue)
    assert {one.level for one in found if one.subject != "persistence"} <= {"ok", "warning"}


async def steer_all(queue: Queue) -> None:
    """Do all that an operator may."""
    await queue.pause(task="tick")
    assert await queue.paused()
    assert await queue.resume(task="tick")
    await queue.schedules.pause("tick")
    await queue.schedules.resume("tick")
    await queue.schedules.trigger("tick")
    await queue.schedules.create("again", queue.named("add"), every="1h", args=[1, 1])
    await queue.schedules.delete("again")
    assert await queue.dead_letters.replay(everything=True)
    await queue.dead_letters.purge(everything=True)
    await queue.cancel_many(everything=True)


@pytest.fixture
def server(own_redis_server: RedisServer) -> RedisServer:
    """A server with the users of the page."""
    for role in ("producer", "worker", "reader", "operator"):
        own_redis_server.ask("ACL", "SETUSER", role, *rule_on_page(role))
    return own_redis_server


async def test_the_rules_of_the_page(server: RedisServer) -> None:
    """They are enough for all features: Redis refuses nothing to anybody."""
    workers = make_queue(url_of(server, "worker"))
    seen = add_tasks(workers)
    workers.every("100ms")(workers.tasks["tick"])
    async with workers, make_queue(url_of(server, "producer")) as producer:
        async with Worker(workers, lease=1) as dying:
            survivor = await producer.enqueue("outlive")
            await wait_until(lambda: "outlive" in seen, "the job to begin")
            dying.abort()
        async with Worker(workers, lease=1):
            assert await survivor == "recovered"
            await use_all(producer)
            await wait_until(lambda: "tick" in seen, "a tick")
            async with make_queue(url_of(server, "reader")) as reader:
                await look_at_all(reader)
            async with make_queue(url_of(server, "operator")) as operator:
                await look_at_all(operator)
                await steer_all(operator)
    assert await refusals(server) == set()


async def test_a_bounded_queue(server: RedisServer) -> None:
    """A bound of lanes needs no more."""
    url = url_of(server, "producer")
    async with make_queue(url, max_length=1, when_full="wait") as queue:
        await queue.enqueue("add", 1, 2)
    assert await refusals(server) == set()


@pytest.mark.parametrize("right", ["xinfo|stream", "xgroup|setid", "xsetid"])
async def test_cancelled_entries_are_dropped_without_a_right(
    server: RedisServer, right: str
) -> None:
    """Workers can do without the rights that only the lag of their group needs."""
    take_away(server, "worker", right)
    queue = make_queue(url_of(server, "worker"))
    add_tasks(queue)
    async with queue:
        running = await queue.enqueue("hang")
        many = await queue.enqueue_many(queue.named("add").bind(n, n) for n in range(100))
        for job in many:
            await job.cancel()
        behind = await queue.enqueue("add", 1, 2)
        async with Worker(queue, concurrency=2):
            assert await behind == 3
            assert await running.status() == "running"
            await running.cancel()
    assert await refusals(server) == {f"worker may not: {right}"}


async def test_confirmed_by_a_replica(server: RedisServer) -> None:
    """What waits for a replica needs `WAIT`, and is told so without it."""
    url = url_of(server, "producer")
    async with make_queue(url, durability="replicated") as queue:
        with pytest.raises(BrokerError, match=r"grant it \+wait "):
            await queue.enqueue("add", 1, 2)
    server.ask("ACL", "SETUSER", "producer", "+wait")
    server.ask("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    with RedisServer("--replicaof", "127.0.0.1", str(server.port)):
        async with make_queue(url, durability="replicated", enqueue_timeout=PATIENCE) as queue:
            assert (await queue.enqueue("add", 1, 2)).is_new


#: What is sent while connecting, opening and starting, and who cannot do without it.
AT_THE_START = {
    "auth": "",
    "hello": "",
    "select": "producer worker",
    "client|setname": "worker",
    "client|setinfo": "",
    "info": "",
    "time": "producer worker",
    "evalsha": "producer worker",
    "script|load": "producer worker",
    "xack": "producer worker",
    "xgroup|create": "producer worker",
    "xpending": "producer worker",
    "xinfo|groups": "producer worker",
    "get": "producer worker",
    "hget": "producer worker",
    "hmget": "producer worker",
    "xlen": "producer worker",
    "xrange": "producer worker",
    "client|id": "worker",
    "xreadgroup": "worker",
    "hset": "producer worker",
    "~aiostreamq": "producer worker",
}


def refuse(server: RedisServer, right: str) -> str:
    """Make a user who may do all but this; return its address."""
    granted = ["reset", "on", ">change-me", "allkeys", "+@all"]
    server.ask("ACL", "SETUSER", "lacking", *granted)
    if right.startswith("~"):
        server.ask("ACL", "SETUSER", "lacking", "resetkeys", "~other:*")
    elif right == "client|setinfo":
        with suppress(RedisServerError):  # it came with 7.2
            server.ask("ACL", "SETUSER", "lacking", f"-{right}")
    else:
        take_away(server, "lacking", right)
    return url_of(server, "lacking").replace("/0", "/3")


async def start(role: str, url: str) -> None:
    """Do what a program does first."""
    async with Queue(url, enqueue_timeout=3600) as queue:
        if role == "producer":
            await queue.enqueue("nothing")
        else:
            queue.task(name="nothing")(lambda: None)
            await Worker(queue).run(burst=True)


@pytest.mark.parametrize("role", ["producer", "worker"])
@pytest.mark.parametrize("right", AT_THE_START)
async def test_a_right_is_missing_at_the_start(
    own_redis_server: RedisServer, right: str, role: str
) -> None:
    """It is told at once, with what to grant, and is no outage; or nothing depends on it."""
    url = refuse(own_redis_server, right)
    starting = asyncio.wait_for(start(role, url), PATIENCE)
    if role not in AT_THE_START[right]:
        await starting
        return
    grants = {right if right.startswith("~") else f"+{right}"}
    if "|" in right:  # 6.2 names no subcommands
        grants.add(f"+{right.partition('|')[0]} ")
    if right == "hset":  # as Redis up to 7.0 does not say what a script may not run
        grants.add("the command that ACL LOG names")
    with pytest.raises(BrokerError) as raised:
        await starting
    assert not isinstance(raised.value, QueueUnavailable)
    assert any(f"grant it {grant}" in str(raised.value) for grant in grants)
    assert "docs/how-to/redis-users.md" in str(raised.value)


async def test_the_user_is_removed(server: RedisServer) -> None:
    """Whoever works, awaits or enqueues is told, and waits for nothing."""
    queue = make_queue(url_of(server, "worker"))
    seen = add_tasks(queue)
    async with queue:
        working = asyncio.create_task(Worker(queue, lease=1, shutdown_timeout=0).run())
        job = await queue.enqueue("hang")
        awaiting = asyncio.create_task(job.result())
        await wait_until(lambda: "hang" in seen, "the job to begin")
        server.ask("ACL", "DELUSER", "worker")
        for ending in (working, awaiting, queue.enqueue("add", 1, 2)):
            with pytest.raises(BrokerError, match="refused the user name or password") as raised:
                await asyncio.wait_for(ending, PATIENCE)
            assert not isinstance(raised.value, QueueUnavailable)


async def test_a_right_is_taken_away(server: RedisServer) -> None:
    """The same where the user stays, and may no longer do something."""
    queue = make_queue(url_of(server, "worker"))
    seen = add_tasks(queue)
    async with queue:
        working = asyncio.create_task(Worker(queue, lease=1, shutdown_timeout=0).run())
        await queue.enqueue("hang")
        await wait_until(lambda: "hang" in seen, "the job to begin")
        server.ask("ACL", "SETUSER", "worker", "-xreadgroup", "-evalsha")
        with pytest.raises(BrokerError, match=r"grant it \+(xreadgroup|evalsha)"):
            await queue.enqueue("add", 1, 2)
        with pytest.raises(BrokerError, match=r"grant it \+(xreadgroup|evalsha)"):
            await asyncio.wait_for(working, PATIENCE)
