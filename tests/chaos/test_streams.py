"""Jobs stream and report while workers, connections and those who follow are hit."""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import cast

from redis.asyncio import Redis

from aiostreamq import Call, Chunk, Event, Progress, Queue, Restarted
from tests.chaos import invariants
from tests.chaos.app import KEEP, NAME, queue, tell, tell_progress
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fault, Fleet
from tests.chaos.invariants import KEYS
from tests.chaos.killing import STUBBORN, kill_beside_a_stopped_one
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.rhythm import now_and_then, pause_about
from tests.chaos.scale import sized
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

#: How often workers are killed while another is stopped past its lease, and how many each time.
ROUNDS = sized(short=1, long=12)
KILLS = 3
WORKERS = 4
SLOTS = 10  # of each worker

#: How many jobs stream, and how many report; what each says, and about how long it takes, in
#: seconds: less than passes between two kills, so that some get to their end.
STREAMS = 100 * ROUNDS
REPORTS = 60 * ROUNDS
SAID = 60
PAUSE = 0.04

#: Seconds until the connection of some who follow is hit again.
CUT_EVERY = 0.2

#: The chance with each event that who follows goes away, and comes back behind it.
LEAVING = 0.02

#: Seconds in which all must have been told to the end.
PATIENCE = 60.0

Told = list[Event[object]]


async def follow(through: Queue, job_id: str, *, leaving: float = 0.0) -> Told:
    """Follow a job to its end; returns all that was told.

    Args:
        through: Which queue, over which connection.
        job_id: Of the job.
        leaving: The chance with each event to go away, and to come back behind it.
    """
    told: Told = []
    while True:
        async with aclosing(through.job(job_id).events(told[-1].id if told else None)) as events:
            async for event in events:
                told.append(event)
                if random.random() < leaving:
                    break
            else:
                return told


def mistakes(told: Sequence[Event[object]], last: int) -> list[str]:
    """Return what is wrong with what somebody was told.

    Args:
        told: All of it: the run of a delivery from its first word on, in order, without a hole
            or anything twice, then the same of later ones, with a word of that in between.
        last: The number of the delivery that ended the job: of that, all.
    """
    wrong: list[str] = []
    number = seq = 0
    for event in told:
        its_number, its_seq = map(int, event.id.split("-"))
        match event:
            case Restarted(delivery=delivery):
                fits = its_number == delivery > number > 0 and its_seq == 0
            case Chunk(value=value):
                fits = its_seq == seq + 1 and its_number == (number or its_number)
                fits &= tuple(cast("list[int]", value)) == (its_number, its_seq - 1)
            case Progress(meta=meta):
                fits = its_seq == seq + 1 and its_number == (number or its_number)
                fits &= meta == {"delivery": its_number, "number": its_seq - 1}
            case _:
                fits = False
        if not fits:
            wrong.append(f"{event} after {number}-{seq}")
        number, seq = its_number, its_seq
    if (number, seq) != (last, SAID):
        wrong.append(f"the last was {number}-{seq}, and delivery {last} has said {SAID}")
    return wrong


async def trouble(client: Redis, fleet: Fleet, ledger: Ledger) -> list[Fault]:
    """Kill workers while another stands still past its lease, and then cut all connections."""
    faults: list[Fault] = []
    for _ in range(ROUNDS):
        kills, stop = await kill_beside_a_stopped_one(fleet, ledger, KILLS)
        faults += [stop, *kills]
        await client.client_kill_filter(_type="normal")
        await pause_about(0.3)
    return faults


def cut_within_a_reply(proxy: Proxy) -> None:
    """Let the next replies through only so far."""
    proxy.cut_after(random.randrange(4000))


async def told_to(following: Mapping[str, list[asyncio.Task[Told]]]) -> dict[str, list[Told]]:
    """Return what all who follow were told, by job. Fails if one does not get to the end."""
    everybody = [task for tasks in following.values() for task in tasks]
    done, hung = await asyncio.wait(everybody, timeout=PATIENCE)
    for task in hung:
        task.cancel()
    assert not hung, f"{len(hung)} who follow have not got to the end, {len(done)} have"
    return {job: [task.result() for task in tasks] for job, tasks in following.items()}


async def lasting_too_long(client: Redis, jobs: Iterable[str]) -> list[str]:
    """Return the jobs whose events outlive their results by more than a minute."""
    limit_ms = (KEEP + 60) * 1000
    return [job for job in jobs if not 0 < await client.pttl(KEYS.events(job)) <= limit_ms]


async def test_streams_while_workers_die(
    client: Redis, server: RedisServer, fleet: Fleet, load: Load, ledger: Ledger, ending: Ending
) -> None:
    """Whoever follows is told each run in its order, once, without a hole; and all of the last."""
    fleet.options += ["--concurrency", str(SLOTS), *STUBBORN]
    await fleet.start(WORKERS)
    calls: list[Call[object]] = [tell.bind(SAID, PAUSE) for _ in range(STREAMS)]
    calls += [tell_progress.bind(SAID, PAUSE) for _ in range(REPORTS)]
    random.shuffle(calls)
    jobs = [job.id for job in await queue.enqueue_many(calls)]
    async with (
        Proxy(server.port) as proxy,
        Queue(proxy.url, name=NAME) as through,
        now_and_then(CUT_EVERY, proxy.cut, partial(cut_within_a_reply, proxy)),
    ):
        ways = (partial(follow, queue, leaving=LEAVING), partial(follow, through))
        following = {job: [asyncio.create_task(way(job)) for way in ways] for job in jobs}
        await wait_until(lambda: ledger.count("start") >= SLOTS * WORKERS, "all to be at work")
        faults = await trouble(client, fleet, ledger)
        told = await told_to(following)
    book = await ending.wind_up(WORKERS)
    afterwards = {job: await follow(queue, job) for job in jobs}

    stored = await invariants.stored_outcomes(client, jobs)
    last = {job: kept["n"] for job, kept in stored.items() if kept and kept["state"] == "done"}
    wrong = [
        one
        for job, number in last.items()
        for events in [*told[job], afterwards[job]]
        for one in mistakes(events, number)
    ]
    events = [event for of_job in told.values() for of_one in of_job for event in of_one]
    line = ending.report(
        "streams",
        f"streams and progress, {WORKERS} workers killed or stopped, connections cut",
        jobs,
        f"{ROUNDS * KILLS} kill -9, {ROUNDS} SIGSTOP, {proxy.connections_made - 3} connections cut",
        recovery=max(book.recoveries(faults)),
        figures={
            "told to two who follow each": f"{len(events):,} events",
            "holes, doubles or runs mixed": str(len(wrong)),
            "told that the job runs again": str(sum(isinstance(e, Restarted) for e in events)),
            "refused to workers that had lost the job": str(len(fleet.lines_with("events of"))),
        },
    )
    assert line.lost == 0
    assert last.keys() == set(jobs)
    assert not wrong
    # Whoever comes afterwards is told of the last run only.
    assert not [one for told in afterwards.values() for one in told if isinstance(one, Restarted)]
    assert any(isinstance(event, Restarted) for event in events), "no kill met work"
    assert line.duplicates <= book.started_again <= ending.may_run_again(faults, SLOTS)
    assert not fleet.errors("was taken for dead")
    assert not await lasting_too_long(client, jobs)
    await ending.check(jobs)
