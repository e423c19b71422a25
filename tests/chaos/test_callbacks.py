"""Jobs with callbacks end while workers are killed: each has exactly one, the right one."""

import asyncio
from collections import defaultdict
from typing import cast

from redis.asyncio import Redis

from tests.chaos import invariants
from tests.chaos.app import call_back, exit_at_once, fail, work
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fleet
from tests.chaos.invariants import KEYS
from tests.chaos.killing import kill_at_random
from tests.chaos.load import Load
from tests.chaos.scale import sized

KILLS = sized(short=3, long=40)
WORKERS = 3
SLOTS = 10  # of each worker

#: How many jobs return, and the same number of them raise. And how many end each worker that runs
#: them.
JOBS = 60 * KILLS
POISON = sized(short=1, long=5)

#: Seconds that a job takes.
EACH = 0.1


async def callbacks_of(client: Redis) -> dict[str, list[str]]:
    """Return the ends that the callbacks of each job were called for."""
    found = defaultdict[str, list[str]](list)
    prefix = KEYS.result("")
    for key in cast("list[str]", await client.keys(f"{prefix}*.*")):
        parent, _, end = key.removeprefix(prefix).partition(".")
        found[parent].append(end.partition(".")[0])
    return found


async def test_callbacks(client: Redis, fleet: Fleet, load: Load, ending: Ending) -> None:
    """A job that has ended has one callback, whenever a worker died: none is lost or repeated."""
    fleet.options += ["--concurrency", str(SLOTS)]
    await fleet.start(WORKERS)
    call = call_back.bind()
    good, bad = (task.using(on_success=call, on_failure=call) for task in (work, fail))
    await load.give(one.bind(EACH) for _ in range(JOBS) for one in (good, bad))
    deadly = exit_at_once.using(on_success=call, on_failure=call)
    await kill_at_random(fleet, KILLS)
    keeping = asyncio.ensure_future(fleet.keep_up())
    try:
        poison = [await deadly.enqueue() for _ in range(POISON)]
        jobs = [*load.accepted.values(), *poison]
        await asyncio.gather(*jobs, return_exceptions=True)
        await invariants.wait_quiet(client, WORKERS)
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
    await ending.wind_up(WORKERS)

    accepted = [job.id for job in jobs]
    outcomes = await invariants.stored_outcomes(client, accepted)
    found, states = await callbacks_of(client), {i: (o or {})["state"] for i, o in outcomes.items()}
    wanted = {i: ["success" if state == "done" else "failure"] for i, state in states.items()}
    line = ending.report(
        "callbacks",
        "jobs with callbacks that return, raise or end their worker",
        load.accepted,
        f"{KILLS} kill -9, {POISON} poisonous jobs",
        given_up=[job_id for job_id, state in states.items() if state != "done"],
        figures={"callbacks": str(sum(map(len, found.values())))},
    )
    assert found == wanted
    assert line.lost == 0
    assert set(states.values()) == {"done", "failed", "dead"}
    await ending.check(accepted)
