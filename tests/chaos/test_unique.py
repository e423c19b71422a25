"""Clients enqueue unique jobs while workers are killed: one open job for each key, always."""

import asyncio
from contextlib import AsyncExitStack
from typing import cast

from redis.asyncio import Redis

from aiostreamq import Job, Queue, Unique
from tests.chaos.app import KEEP, NAME, Run, queue, work
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fault, Fleet
from tests.chaos.keyed import KEYS, Calls, call_at_random, events_of, overlaps
from tests.chaos.killing import STUBBORN, kill_at_random
from tests.chaos.load import Load
from tests.chaos.mischief import Mischief
from tests.chaos.rhythm import now_and_then
from tests.chaos.scale import sized
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

KILLS = sized(short=3, long=40)
FAULTS = sized(short=30, long=600)  # of the network
FAULT_EVERY = 0.2  # seconds
WORKERS = 3
CALLERS = 20  # which enqueue one call after the other
CLIENTS = sized(short=10, long=50)  # each with connections of its own
LEASE = 5.0  # a beat may meet several faults of the network in a row

UNIQUE = f"aiostreamq:{{{NAME}}}:unique"


async def kill(fleet: Fleet, rule: Unique) -> tuple[Calls, list[Fault]]:
    """Make calls while workers are killed; returns both."""
    over, calls, task = asyncio.Event(), Calls(), work.using(unique=rule)
    callers = [asyncio.create_task(call_at_random(task, calls, over)) for _ in range(CALLERS)]
    await wait_until(lambda: len(calls.jobs) > len(KEYS), "the first jobs to end")
    faults = await kill_at_random(fleet, KILLS)
    over.set()
    await asyncio.gather(*callers)
    return calls, faults


async def test_unique(client: Redis, fleet: Fleet, load: Load, ending: Ending) -> None:
    """No two jobs of a key run at once, each key is free again and again, and nothing is left."""
    fleet.options += STUBBORN
    await fleet.start(WORKERS)
    calls, faults = await kill(fleet, Unique(key="seconds"))
    load.accepted |= calls.jobs
    await load.ends()
    book = await ending.wind_up(WORKERS)

    line = ending.report(
        "unique",
        "unique jobs, which many callers enqueue at once",
        load.accepted,
        f"{KILLS} kill -9",
        figures={"calls": str(len(calls.made))},
    )
    assert overlaps(book, calls.of_keys().values()) == []
    assert line.lost == 0
    assert line.duplicates <= ending.may_run_again(faults, len(KEYS))
    assert len(load.accepted) > 2 * len(KEYS)
    assert set(book.starts) == set(load.accepted), "there is no job that no caller was given"
    assert await client.hlen(UNIQUE) == 0
    await ending.check(load.accepted)


async def test_unique_until_started(
    client: Redis, fleet: Fleet, load: Load, ending: Ending
) -> None:
    """Each call gets a job that begins after it, although workers die before the first run."""
    fleet.options += STUBBORN
    await fleet.start(WORKERS)
    calls, faults = await kill(fleet, Unique(key="seconds", until="started"))
    load.accepted |= calls.jobs
    await load.ends()
    book = await ending.wind_up(WORKERS)

    line = ending.report(
        "unique-started",
        "the same, unique until they start",
        load.accepted,
        f"{KILLS} kill -9",
        figures={"calls": str(len(calls.made))},
    )
    events = events_of(book)
    late = [call for call in calls.made if events[call.job.id][0].at < call.asked]
    assert late == []
    assert line.lost == 0
    assert line.duplicates <= ending.may_run_again(faults, 2 * CALLERS)
    assert len(load.accepted) > 2 * len(KEYS)
    assert set(book.starts) == set(load.accepted)
    assert await client.hlen(UNIQUE) == 0
    await ending.check(load.accepted)


async def race(url: str, of_client: Mischief, of_workers: Mischief) -> Calls:
    """Have clients race for keys until enough faults have met them; returns their calls."""
    over, calls, rule = asyncio.Event(), Calls(), Unique(key="seconds")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Queue(url, name=NAME)) for _ in range(CLIENTS)]
        tasks = [one.named("work").using(unique=rule, result_ttl=KEEP) for one in clients]
        async with (
            now_and_then(FAULT_EVERY, of_client.once),
            now_and_then(FAULT_EVERY, of_workers.once),
        ):
            callers = [asyncio.create_task(call_at_random(task, calls, over)) for task in tasks]
            await wait_until(
                lambda: of_client.done > FAULTS and len(calls.jobs) > 2 * len(KEYS),
                "enough faults",
                timeout=10 * FAULTS * FAULT_EVERY,
            )
            over.set()
            await asyncio.gather(*callers)
    return calls


async def test_unique_through_resets(
    client: Redis, server: RedisServer, fleet: Fleet, load: Load, ending: Ending
) -> None:
    """Many clients whose connections break race for keys: a key has one open job."""
    fleet.options += ["--lease", f"{LEASE:g}"]
    async with Proxy(server.port) as near, Proxy(server.port) as far:
        await fleet.start(WORKERS, url=far.url)
        of_client, of_workers = Mischief(near), Mischief(far)
        calls = await race(near.url, of_client, of_workers)
        for proxy in (near, far):
            proxy.mend()
        load.accepted |= {job: cast("Job[Run]", queue.job(job)) for job in calls.jobs}
        await load.ends()
        book = await ending.wind_up(WORKERS)

    line = ending.report(
        "unique-resets",
        f"unique jobs, for which {CLIENTS} clients race through resets and lost replies",
        load.accepted,
        f"{of_client.done} faults for the clients, {of_workers.done} for the workers",
        figures={"calls": str(len(calls.made))},
    )
    assert overlaps(book, calls.of_keys().values()) == []
    assert (line.lost, line.duplicates) == (0, 0)
    assert set(book.starts) == set(load.accepted)
    assert await client.hlen(UNIQUE) == 0
    await ending.check(load.accepted)
