"""Redis refuses for a reason of its own: what passes is waited for, what does not is told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from aiostreamq import BrokerError, Context, Job, Queue, QueueUnavailable, Retry, Worker
from tests.support.redis_server import RedisServer, RedisServerError
from tests.support.waiting import PATIENCE, wait_until

#: Seconds after which a call gives up, in tests about that: enough for an answer on any machine.
SHORT = 2.0


async def same(n: int) -> int:
    """What the jobs do."""
    return n


@pytest.fixture
async def queue(own_redis_server: RedisServer) -> AsyncIterator[Queue]:
    """An open queue with a task, on a server that will refuse."""
    async with Queue(own_redis_server.url) as queue:
        queue.task(same)
        yield queue


@contextmanager
def no_replicas(server: RedisServer) -> Generator[None]:
    """It wants to be copied, and nobody does."""
    server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
    yield
    server.ask("CONFIG", "SET", "min-replicas-to-write", "0")


@contextmanager
def read_only(server: RedisServer) -> Generator[None]:
    """It follows another."""
    server.ask("REPLICAOF", "127.0.0.1", "1")
    yield
    server.ask("REPLICAOF", "NO", "ONE")


@contextmanager
def without_master(server: RedisServer) -> Generator[None]:
    """It follows another that is not there, and tells nothing that may be old."""
    server.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
    with read_only(server):
        yield


@contextmanager
def busy(server: RedisServer) -> Generator[None]:
    """Somebody's script does not end."""
    server.ask("CONFIG", "SET", "lua-time-limit", "10")

    def run_on_and_on() -> None:
        with pytest.raises(RedisServerError, match="killed"):
            server.ask("EVAL", "while true do end", "0")

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(run_on_and_on)
        yield
        server.ask("SCRIPT", "KILL")
        running.result()


@contextmanager
def unable_to_save(server: RedisServer) -> Generator[None]:
    """Its snapshots fail: there is something else in their place."""
    server.directory.joinpath("dump.rdb").mkdir()
    server.ask("CONFIG", "SET", "save", "3600 1")
    server.ask("BGSAVE")
    yield
    server.ask("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")


REFUSALS = {
    "NOREPLICAS": no_replicas,
    "READONLY": read_only,
    "MASTERDOWN": without_master,
    "BUSY": busy,
    "MISCONF": unable_to_save,
}


@pytest.mark.parametrize("reason", REFUSALS)
async def test_client_and_worker_wait_until_redis_accepts_commands(
    queue: Queue, own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture, reason: str
) -> None:
    """Enqueueing and working wait until Redis takes commands again, and say once why."""
    calls: list[asyncio.Future[Job[object]]] = []

    def is_told() -> bool:
        # A snapshot fails a moment after it was asked for.
        calls.append(asyncio.ensure_future(queue.enqueue("same", 2)))
        return reason in caplog.text

    async with Worker(queue):
        assert await (await queue.enqueue("same", 1)) == 1
        with REFUSALS[reason](own_redis_server):
            await wait_until(is_told, "the refusal to be logged")
            calling = asyncio.ensure_future(queue.enqueue("same", 3))
            await asyncio.wait([calling], timeout=0.1)
            assert not calling.done()
        assert await (await calling) == 3
        assert await asyncio.gather(*await asyncio.gather(*calls)) == [2] * len(calls)
    assert "Redis accepts the request again" in caplog.text


def is_loading(server: RedisServer) -> bool:
    """Whether it has started and does not answer yet."""
    try:
        server.ask("PING")
    except (OSError, RedisServerError) as refusal:
        return "LOADING" in str(refusal)
    return False


async def test_enqueue_waits_while_redis_loads(caplog: pytest.LogCaptureFixture) -> None:
    """Who comes while Redis reads its data waits until it is done."""
    slowly = ("--key-load-delay", "20000")  # microseconds
    with RedisServer("--save", "3600", "1", "--rdbcompression", "no", *slowly) as server:
        # Redis answers its clients after each 2 MB that it has loaded. That can be set from 7.0 on.
        for n in range(50):
            server.ask("SET", f"ballast:{n}", "x" * 200_000)
        async with Queue(server.url) as queue:
            queue.task(same)
            early = await queue.enqueue("same", 1)
            server.stop()
            with ThreadPoolExecutor(1) as threads:
                starting = threads.submit(server.start)  # returns when it has loaded
                await wait_until(lambda: is_loading(server), "it to load")
                late = asyncio.ensure_future(queue.enqueue("same", 2))
                await wait_until(lambda: "LOADING" in caplog.text, "it to be met while it loads")
                await wait_until(starting.done, "it to have loaded")
                starting.result()
            async with Worker(queue):
                assert await asyncio.gather(early, await late) == [1, 2]


async def test_enqueue_gives_up_with_the_reason_of_redis(own_redis_server: RedisServer) -> None:
    """After its deadline an enqueue gives up, with Redis's reason."""
    async with Queue(own_redis_server.url, enqueue_timeout=SHORT) as queue:
        task = queue.task(same)
        own_redis_server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        with pytest.raises(QueueUnavailable, match="NOREPLICAS"):
            await task.enqueue(1)


async def test_no_place_for_a_connection(own_redis_server: RedisServer) -> None:
    """Where Redis has as many clients as it takes, one more comes when another goes."""
    own_redis_server.ask("CONFIG", "SET", "maxclients", "1")
    async with Queue(own_redis_server.url) as first:
        second = Queue(own_redis_server.url)
        opening = asyncio.ensure_future(second.open())
        done, _ = await asyncio.wait([opening], timeout=0.1)
        assert not done
        await first.aclose()
        await opening
        await second.aclose()


@pytest.mark.parametrize("rule", ["-evalsha", "-xadd", "resetkeys"])
async def test_not_permitted(queue: Queue, own_redis_server: RedisServer, rule: str) -> None:
    """It is told at once that the Redis user lacks a right, also where it is one of a script's."""
    own_redis_server.ask("ACL", "SETUSER", "default", rule)
    with pytest.raises(BrokerError, match=r"the Redis user lacks a right.*\("):
        await queue.enqueue("same", 1)


async def test_foreign_key(queue: Queue, own_redis_server: RedisServer) -> None:
    """The error names the key, and says that another program has written to it."""
    own_redis_server.ask("DEL", "aiostreamq:{default}:stream:default")
    own_redis_server.ask("SET", "aiostreamq:{default}:stream:default", "?")
    with pytest.raises(BrokerError, match=r"key \S+stream:default: another program.*WRONGTYPE"):
        await queue.enqueue("same", 1)


async def test_scripts_are_flushed(queue: Queue, own_redis_server: RedisServer) -> None:
    """They are loaded again, and nobody notices."""
    async with Worker(queue):
        for n in range(20):
            own_redis_server.ask("SCRIPT", "FLUSH")
            assert await (await queue.enqueue("same", n)) == n


def refuse_ends(server: RedisServer) -> None:
    """Let Redis refuse all that ends a delivery."""
    server.ask("ACL", "SETUSER", "default", "-xack")


def take_ends(server: RedisServer) -> None:
    """Let it take them again."""
    server.ask("ACL", "SETUSER", "default", "+xack")


class Gated:
    """Jobs that run when the test says so."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.ran: Counter[int] = Counter()  #: how often each has begun

    async def hold(self, n: int) -> int:
        """Wait for the gate."""
        self.ran[n] += 1
        await self.gate.wait()
        return n


async def end_refused(gated: Gated, server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Let jobs that run end, and Redis refuse that."""
    await wait_until(lambda: gated.ran, "a job to begin")
    refuse_ends(server)
    gated.gate.set()
    await wait_until(lambda: "outcomes were refused" in caplog.text, "the refusal")


async def test_outcomes_are_refused(
    queue: Queue, own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """They are kept and told again. Few jobs are begun in between: each might have to run anew."""
    gated = Gated()
    hold = queue.task(gated.hold)
    async with Worker(queue, concurrency=2):
        jobs = await queue.enqueue_many(hold.bind(n) for n in range(100))
        await end_refused(gated, own_redis_server, caplog)
        await wait_until(lambda: "still refused" in caplog.text, "a second try")
        assert gated.ran.total() < 20
        take_ends(own_redis_server)
        assert [await job.result(timeout=PATIENCE) for job in jobs] == list(range(100))
    assert gated.ran == Counter(range(100))
    assert "Redis has accepted all outcomes" in caplog.text


async def test_retries_are_refused(
    queue: Queue, own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The next attempt begins when Redis takes it."""
    attempts: list[int] = []
    gate = asyncio.Event()

    @queue.task(retry=Retry(2))
    async def fail_once(context: Context) -> str:
        attempts.append(context.attempt)
        await gate.wait()
        if context.attempt == 1:
            raise ValueError("no")
        return "yes"

    async with Worker(queue):
        job = await fail_once.enqueue()
        await wait_until(lambda: attempts, "it to begin")
        refuse_ends(own_redis_server)
        gate.set()
        await wait_until(lambda: "retries were refused" in caplog.text, "the refusal")
        take_ends(own_redis_server)
        assert await job.result(timeout=PATIENCE) == "yes"
    assert attempts == [1, 2]


async def test_parking_is_refused(
    queue: Queue, own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A job of an unknown task is set aside when Redis lets it be."""
    async with Worker(queue):
        own_redis_server.ask("SET", "aiostreamq:{default}:parked", "?")
        job = await queue.enqueue("unknown")
        await wait_until(lambda: "to be parked were refused" in caplog.text, "the refusal")
        assert await job.status() == "running"
        own_redis_server.ask("DEL", "aiostreamq:{default}:parked")

        async def is_parked() -> bool:
            return await job.status() == "parked"

        await wait_until(is_parked, "it to be parked")


async def test_refused_to_the_end(
    queue: Queue, own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker that stops in between tries once more, and leaves the job to be run elsewhere."""
    gated = Gated()
    hold = queue.task(gated.hold)
    async with Worker(queue, lease=1):
        job = await hold.enqueue(1)
        await end_refused(gated, own_redis_server, caplog)
    take_ends(own_redis_server)
    assert gated.ran[1] == 1
    async with Worker(queue, lease=1):
        assert await job.result(timeout=PATIENCE) == 1
    assert gated.ran[1] == 2


async def test_stops_when_it_is_taken_again(
    queue: Queue, own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What was refused is told with the last words of a worker, where Redis takes it by then."""
    gated = Gated()
    hold = queue.task(gated.hold)
    async with Worker(queue):
        job = await hold.enqueue(1)
        await end_refused(gated, own_redis_server, caplog)
        take_ends(own_redis_server)
    assert await job.status() == "done"
