"""Jobs of which the latest is kept, while everything dies: the last arguments always run."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from itertools import pairwise
from typing import NamedTuple

import pytest

from aiostreamq import Job, JobCancelled, JobState, KeepLatest
from tests.chaos import app
from tests.chaos.app import follow, queue
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fault, Fleet
from tests.chaos.keyed import KEYS, Calls, events_of, overlaps
from tests.chaos.killing import STUBBORN, kill_at_random
from tests.chaos.ledger import Book
from tests.chaos.load import Load
from tests.chaos.mischief import Mischief
from tests.chaos.rhythm import now_and_then, pause, pause_about
from tests.chaos.scale import sized
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

FAULTS = sized(short=3, long=40)
WORKERS = 3

#: Seconds: a worker is to be taken for dead only if it is killed.
LEASE = {"workers": 1.0, "redis": 3.0, "network": 5.0}
NAMES = {
    "workers": "keep-latest", "redis": "keep-latest-redis", "network": "keep-latest-resets",
}  # fmt: skip

#: Seconds between two jobs that are cancelled, and in which every await must have ended.
CANCEL_EVERY, PATIENCE = 0.4, 60.0


@pytest.fixture
def server() -> Generator[RedisServer]:
    """A Redis that writes each change down before it answers."""
    with RedisServer(appendonly=True) as server:
        yield server


latest = follow.using(keep_latest=KeepLatest(key="seconds"))


class Networks(NamedTuple):
    """The networks that can be spoiled."""

    of_client: Proxy
    of_workers: Proxy


@pytest.fixture
async def networks(server: RedisServer) -> AsyncGenerator[Networks]:
    """The network of the client, and that of the workers."""
    async with Proxy(server.port) as of_client, Proxy(server.port) as of_workers:
        yield Networks(of_client, of_workers)


@pytest.fixture
async def load(networks: Networks) -> AsyncGenerator[Load]:
    """The producer, over its network."""
    app.queue.use_url(networks.of_client.url)
    await app.queue.open()
    yield Load()
    await app.queue.aclose()


async def call_again(key: float, calls: Calls, over: asyncio.Event) -> None:
    """Ask for one version of a key after the other, and for a last one when it is over."""
    version = 0
    while not over.is_set():
        version += 1
        await calls.make(key, latest.enqueue(key, version), version)
        await pause_about(key / 4)
    await calls.make(key, latest.enqueue(key, version + 1), version + 1)


async def cancel(calls: Calls, over: asyncio.Event) -> None:
    """Cancel jobs of late calls, which run or wait, and at times all that wait in a lane."""
    while not over.is_set():
        await pause_about(CANCEL_EVERY)
        if random.random() < 0.2:
            await queue.cancel_many(state=JobState.QUEUED)
        else:
            await random.choice(calls.made[-3 * len(KEYS) :]).job.cancel()


Faults = Callable[[], Awaitable[tuple[str, list[Fault]]]]


def faults_of(kind: str, server: RedisServer, fleet: Fleet, networks: Networks) -> Faults:
    """Return a function that does the faults of a kind, and returns them and the workers hit."""

    async def hit_workers() -> tuple[str, list[Fault]]:
        faults = await kill_at_random(fleet, FAULTS)
        return f"{FAULTS} kill -9", faults

    async def hit_redis() -> tuple[str, list[Fault]]:
        for _ in range(FAULTS):
            await pause_about(1.0)
            server.kill()
            server.start()
        return f"{FAULTS} kill -9 of Redis", []

    async def hit_network() -> tuple[str, list[Fault]]:
        near, far = Mischief(networks.of_client), Mischief(networks.of_workers)
        async with now_and_then(0.1, near.once, far.once):
            await pause(FAULTS)
        for proxy in networks:
            proxy.mend()
        return f"{near.done} faults for the client, {far.done} for the workers", []

    return {"workers": hit_workers, "redis": hit_redis, "network": hit_network}[kind]


async def ends_of(jobs: dict[str, Job[int]]) -> tuple[dict[str, int], set[str], int]:
    """Return which version each job was about, which were cancelled, and how many hang."""
    awaits = {job: asyncio.ensure_future(jobs[job].result()) for job in jobs}
    _, hung = await asyncio.wait(awaits.values(), timeout=PATIENCE)
    versions: dict[str, int] = {}
    cancelled: set[str] = set()
    for job, one in awaits.items():
        if one in hung:
            one.cancel()
        elif isinstance(one.exception(), JobCancelled):
            cancelled.add(job)
        else:
            versions[job] = one.result()
    return versions, cancelled, len(hung)


def made_too_early(book: Book, calls: Calls, cancelled: set[str]) -> list[tuple[str, str]]:
    """Return pairs of jobs of a key of which the second was made while the first one ran.

    There is one job between the two, which waited for the first, and was not cancelled.
    """
    events, answers = events_of(book), calls.first_answers()
    return [
        (one, three)
        for jobs in calls.of_keys().values()
        for (one, two), (_, three) in pairwise(pairwise(jobs))
        if two not in cancelled and one in events and events[one][-1].at > answers[three]
    ]


@pytest.mark.parametrize("kind", list(NAMES))
async def test_keep_latest(
    kind: str,
    server: RedisServer,
    networks: Networks,
    fleet: Fleet,
    load: Load,
    ending: Ending,
) -> None:
    """One job of a key runs, one more waits at most, and what was asked last is done last."""
    fleet.options += ["--lease", f"{LEASE[kind]:g}", *STUBBORN]
    await fleet.start(WORKERS, url=networks.of_workers.url)
    over, calls = asyncio.Event(), Calls()
    callers = [asyncio.create_task(call_again(key, calls, over)) for key in KEYS]
    await wait_until(lambda: len(calls.made) > 3 * len(KEYS), "the first calls")
    enough = asyncio.Event()
    canceller = asyncio.create_task(cancel(calls, enough))
    done, faults = await faults_of(kind, server, fleet, networks)()
    enough.set()
    await canceller
    over.set()
    await asyncio.gather(*callers)
    jobs: dict[str, Job[int]] = calls.jobs
    versions, cancelled, hung = await ends_of(jobs)
    fresh = [await latest.enqueue(key, 0) for key in KEYS]
    await asyncio.gather(*fresh)
    book = await ending.wind_up(WORKERS)

    line = ending.report(
        NAMES[kind],
        "the latest arguments of each key are kept, and some jobs cancelled",
        jobs,
        done,
        given_up=cancelled,
        figures={"calls": str(len(calls.made)), "cancelled": str(len(cancelled))},
    )
    assert hung == 0
    assert line.lost == 0
    assert line.duplicates <= ending.may_run_again(faults, len(KEYS))
    assert overlaps(book, calls.of_keys().values()) == []
    assert made_too_early(book, calls, cancelled) == []
    answered = [call for call in calls.made if call.job.id not in cancelled]
    assert [call for call in answered if versions[call.job.id] < call.version] == []
    events = events_of(book)
    assert [call for call in answered if events[call.job.id][-1].at < call.asked] == []
    for key, of_key in calls.of_keys().items():
        last = [call for call in calls.made if call.key == key][-1]
        assert (of_key[-1], versions[of_key[-1]]) == (last.job.id, last.version)
    known = {*jobs, *(job.id for job in fresh)}
    assert set(book.starts) <= known, "there is no job that no caller was given"
    assert [job.is_new for job in fresh] == [True] * len(KEYS), "all keys are free"
    await ending.check(known)
