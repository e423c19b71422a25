"""Workers are killed at random while a schedule is to be kept."""

import asyncio
import math
import random
from collections import Counter
from itertools import pairwise
from typing import cast

from redis.asyncio import Redis

from tests.chaos.fleet import Fleet
from tests.chaos.report import Line, Report
from tests.chaos.rhythm import pause_about
from tests.chaos.scale import sized
from tests.chaos.schedule_app import TICKS, queue
from tests.support.waiting import wait_until

WORKERS = sized(short=3, long=8)
BEATS = sized(short=8, long=200)

#: Milliseconds from one tick to the next.
INTERVAL = 1000

#: Milliseconds that nearly all may be late. The short form runs beside other tests.
#: What is measured is in the report.
SLACK = sized(short=5_000, long=100)

APP = "tests.chaos.schedule_app:queue"


async def ticks_in(client: Redis) -> list[tuple[int, str]]:
    """Return what was enqueued: when, by Redis's clock, and the id."""
    stream = f"aiostreamq:{{{queue.name}}}:stream:{TICKS}"
    entries = cast("list[tuple[str, dict[str, str]]]", await client.xrange(stream))
    return [(int(entry.partition("-")[0]), fields["id"]) for entry, fields in entries]


async def planned_in(client: Redis) -> list[int]:
    """Return what the ticks were planned for, ms since 1970, in the order of their enqueues."""
    stream = f"aiostreamq:{{{queue.name}}}:stream:{TICKS}"
    entries = cast("list[tuple[str, dict[str, str]]]", await client.xrange(stream))
    found: list[int] = []
    for _, fields in entries:
        _, _, told = fields["job"].partition('"scheduled_for":')
        found.append(int(told.rstrip("}")))
    return found


async def trouble(fleet: Fleet, kills: list[int]) -> None:
    """Kill a worker about every second, and start another in its place, until cancelled."""
    while True:
        fault = await fleet.kill(random.choice(fleet.living))
        kills.append(fault.pid)
        await asyncio.gather(fleet.start(app=APP), pause_about(1.0))


async def test_schedule_while_workers_die(client: Redis, fleet: Fleet, report: Report) -> None:
    """Each tick is enqueued exactly once, and none is missed."""
    fleet.options += ["--lanes", "default"]
    await fleet.start(WORKERS, app=APP)
    kills: list[int] = []

    async def is_over() -> bool:
        return len(await ticks_in(client)) >= BEATS

    troubling = asyncio.ensure_future(trouble(fleet, kills))
    await wait_until(is_over, "the last tick", timeout=BEATS * 2 + 20)
    troubling.cancel()
    await asyncio.wait({troubling})

    enqueued, planned = await ticks_in(client), await planned_in(client)
    late = sorted(at - due for (at, _), due in zip(enqueued, planned, strict=True))
    doubled = sum(count - 1 for count in Counter(name for _, name in enqueued).values())
    missed = sum((after - before) // INTERVAL - 1 for before, after in pairwise(planned))
    p99 = late[math.ceil(len(late) * 0.99) - 1]
    report.add(
        Line(
            name="schedules",
            scenario=f"schedule of 1 s, {WORKERS} workers killed at random",
            jobs=len(enqueued),
            faults=f"{len(kills)} kill -9",
            lost=missed,
            duplicates=doubled,
            figures={
                "late, median": f"{late[len(late) // 2]} ms",
                "p99": f"{p99} ms",
                "slowest": f"{late[-1]} ms",
            },
        )
    )
    assert kills
    assert (missed, doubled) == (0, 0)
    assert planned == sorted(planned)
    assert late[0] >= 0
    assert p99 <= SLACK
    assert not fleet.errors()
