"""Jobs in order, while some fail and are retried, workers are killed, and connections are reset."""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping

import pytest
from redis.asyncio import Redis

from tests.chaos.ending import Ending
from tests.chaos.fleet import Fleet
from tests.chaos.invariants import KEYS
from tests.chaos.killing import STUBBORN, kill_at_random
from tests.chaos.ledger import Event, Ledger
from tests.chaos.limits_app import book, queue
from tests.chaos.load import Load
from tests.chaos.mischief import Mischief
from tests.chaos.rhythm import now_and_then
from tests.chaos.scale import sized
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

APP = "tests.chaos.limits_app:queue"

WORKERS = 3
SLOTS = 20  # of each worker

#: How many keys there are, and jobs of each; of how many an attempt or two fail.
KEY_COUNT = sized(short=50, long=300)
EACH_KEY = sized(short=10, long=50)
FAILING = 0.2

CHUNK = 10  # jobs of one command, so that faults meet many

#: Faults of the network, and seconds between two: too short for a slow machine, so they end.
FAULTS, FAULT_EVERY = 40, 0.005

KILLS = sized(short=3, long=30)


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncGenerator[Proxy]:
    """The network of the producer."""
    async with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def load(proxy: Proxy) -> AsyncGenerator[Load]:
    """The producer, in this process."""
    queue.use_url(proxy.url)
    await queue.open()
    yield Load(queue)
    await queue.aclose()


def order_of(events: Iterable[Event], keys: Mapping[str, int]) -> dict[int, list[str]]:
    """Return the jobs of each key in the order in which they began to run for the last time."""
    last = {event.job: event.at for event in events if event.kind == "start"}
    found = defaultdict[int, list[str]](list)
    for job in sorted(last, key=lambda job: last[job]):
        found[keys[job]].append(job)
    return found


def inversions(events: list[Event], keys: Mapping[str, int], given: list[str]) -> list[str]:
    """Return the jobs that began before one that came earlier had ended for good.

    If a worker is killed after the end of a body, the run that follows is before the next job.
    """
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for event in events:
        first.setdefault(event.job, event.at)
        last[event.job] = event.at
    until, found = defaultdict[int, float](float), list[str]()
    for job in given:
        if first[job] < until[keys[job]]:
            found.append(job)
        until[keys[job]] = max(until[keys[job]], last[job])
    return found


async def test_order(
    client: Redis,
    proxy: Proxy,
    fleet: Fleet,
    load: Load,
    ledger: Ledger,
    ending: Ending,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each job begins when all that came earlier with its key have ended, whatever happens."""
    monkeypatch.setattr("aiostreamq.client.sessions.enqueuing.ENQUEUE_LIMIT", CHUNK)
    fleet.options += ["--concurrency", str(SLOTS), *STUBBORN]
    await fleet.start(WORKERS, app=APP)
    pairs = [key for key in range(KEY_COUNT) for _ in range(EACH_KEY)]
    random.shuffle(pairs)
    fails = [random.choice((1, 2)) if random.random() < FAILING else 0 for _ in pairs]
    mischief = Mischief(proxy)

    def spoil() -> None:
        if mischief.done < FAULTS:
            mischief.once()
        else:
            proxy.mend()

    async with now_and_then(FAULT_EVERY, spoil):
        ids = await load.give(book.bind(*call) for call in zip(pairs, fails, strict=True))
    proxy.mend()
    keys = dict(zip(ids, pairs, strict=True))
    awaiting = asyncio.ensure_future(load.outcomes())
    await wait_until(lambda: ledger.count("end") > KEY_COUNT, "the first jobs to end")
    faults = await kill_at_random(fleet, KILLS, app=APP)
    heard = await awaiting
    written = await ending.wind_up(WORKERS)

    wrong = inversions(written.events, keys, ids)
    line = ending.report(
        "order",
        f"{KEY_COUNT} keys with jobs in order, a fifth fail at first, workers killed",
        load.accepted,
        f"{KILLS} kill -9, {mischief.done} faults while they were enqueued",
        recovery=max(written.recoveries(faults), default=0.0),
        figures={"jobs out of their order": str(len(wrong))},
    )
    assert line.lost == 0
    assert wrong == []
    in_order = order_of(written.events, keys)
    assert in_order == {key: [job for job in ids if keys[job] == key] for key in set(pairs)}
    left = [await client.keys(KEYS.prefix + kind) for kind in ("order:*", "backlog:*", "blocked:*")]
    assert left == [[], [], []]
    await ending.check(load.accepted, heard)
