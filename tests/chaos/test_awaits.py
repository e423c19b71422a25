"""Those who await go away and come back, or Redis does."""

import asyncio
import json
import time
from collections.abc import Generator

import pytest

from tests.chaos.app import NAME, Run
from tests.chaos.ending import Ending
from tests.chaos.fleet import PATIENT, Fleet
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.scale import sized
from tests.support.processes import Program
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

AWAITS = sized(short=2_000, long=10_000)
CLIENTS = sized(short=3, long=10)
JOBS_A_CLIENT = 200
WORKERS = 2

#: Seconds in which every await must have ended.
PATIENCE = 60.0


@pytest.fixture
def server() -> Generator[RedisServer]:
    """A Redis that has written down whatever it has said yes to."""
    with RedisServer(appendonly=True) as server:
        yield server


def awaiter(url: str, load: Load) -> Program:
    """Return a process that awaits all jobs."""
    ids = "\n".join(load.accepted)
    return Program("-m", "tests.support.awaiter", url, NAME, send=ids)


async def test_awaiting_client_is_killed(
    server: RedisServer, fleet: Fleet, load: Load, ledger: Ledger, ending: Ending
) -> None:
    """Whoever asks again, from a new process, gets all results."""
    fleet.options += ["--concurrency", "20", *PATIENT]
    await fleet.start(WORKERS)
    for _ in range(CLIENTS):
        ended = ledger.count("end")
        await load.bulk(JOBS_A_CLIENT, 0.1)
        async with awaiter(server.url, load) as killed:
            await killed.wait_for_line("ready")

            def is_under_way(ended: int = ended) -> bool:
                return ledger.count("end") > ended + JOBS_A_CLIENT // 4

            await wait_until(is_under_way, "some jobs to end")
    async with awaiter(server.url, load) as last:
        started = time.monotonic()
        assert await last.wait_end() == 0
        took = time.monotonic() - started
    answers: list[Run] = json.loads(last.lines[-1])
    told = dict(zip(load.accepted, answers, strict=True))
    book = await ending.wind_up(WORKERS)

    line = ending.report(
        "awaiting-clients",
        "an awaiting client killed and started again",
        load.accepted,
        f"{CLIENTS} kill -9 of the client",
        recovery=took,
        figures={"answers to the last client": str(len(answers))},
    )
    assert (line.lost, line.duplicates, book.started_again) == (0, 0, 0)
    await ending.check(load.accepted, told)


async def test_awaits_across_a_restart(
    server: RedisServer, fleet: Fleet, load: Load, ledger: Ledger, ending: Ending
) -> None:
    """Each of thousands is told, whatever its notice has met."""
    fleet.options += ["--concurrency", "20", *PATIENT]
    await fleet.start(WORKERS)
    await load.bulk(AWAITS, 0.02)
    awaits = [asyncio.ensure_future(job.result()) for job in load.accepted.values()]
    await wait_until(lambda: ledger.count("end") > AWAITS // 4, "some jobs to end", timeout=30)
    server.kill()
    server.start()
    moment = time.monotonic()
    pending = (await asyncio.wait(awaits, timeout=PATIENCE))[1]
    took = time.monotonic() - moment
    told = {} if pending else await load.outcomes()
    book = await ending.wind_up(WORKERS)

    last = max(end.at for ends in book.ends.values() for end in ends)
    line = ending.report(
        "awaits",
        "awaits across a restart of Redis, append-only file",
        load.accepted,
        "1 kill -9 of Redis",
        recovery=took,
        figures={
            "hung awaits": str(len(pending)),
            "last await after the last job": f"{moment + took - last:.2f} s",
        },
    )
    assert not pending
    assert (line.lost, line.duplicates, book.started_again) == (0, 0, 0)
    await ending.check(load.accepted, told)
