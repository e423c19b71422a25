"""Workers that are killed at random, each with another in its place."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from tests.chaos.fleet import APP, Fault, Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.rhythm import pause_about
from tests.support.waiting import wait_until

#: Where it is not the subject: a job is given up after so many deaths only. By chance some are
#: with three workers when those are killed.
STUBBORN = ("--max-worker-deaths", "50")


async def nothing(_: Fault) -> None:
    """Let the fault be."""


async def kill_at_random(
    fleet: Fleet,
    count: int,
    *,
    app: str = APP,
    then: Callable[[Fault], Awaitable[None]] = nothing,
) -> list[Fault]:
    """Kill a worker about every second, and start another in its place.

    Args:
        fleet: Of whom.
        count: How often.
        app: What the new ones run.
        then: Called right after each kill, long before the others notice.
    """
    faults: list[Fault] = []
    for _ in range(count):
        faults.append(await fleet.kill(random.choice(fleet.living)))
        await asyncio.gather(then(faults[-1]), fleet.start(app=app), pause_about(1.0))
    return faults


async def kill_beside_a_stopped_one(
    fleet: Fleet, ledger: Ledger, count: int
) -> tuple[list[Fault], Fault]:
    """Kill workers while another stands still, which continues once others run what it had.

    Returns the kills, and when that one was stopped.
    """
    stopped = random.choice(fleet.living)
    fleet.living.remove(stopped)  # it is not to be killed
    stop = fleet.stop(stopped)
    kills = await kill_at_random(fleet, count)

    def is_robbed() -> bool:
        book = ledger.book()
        hit = book.in_flight(stop)
        return all(book.starts[run.job][-1].delivery > run.delivery for run in hit)

    await wait_until(is_robbed, "the jobs of the stopped worker to start elsewhere", timeout=15)
    fleet.go_on(stopped)
    fleet.living.append(stopped)
    return kills, stop
