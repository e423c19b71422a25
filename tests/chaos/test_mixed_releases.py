"""Workers of the first release beside workers of today: each ends the jobs of the other."""

import asyncio
from pathlib import Path

import pytest

from aiostreamq import Unique
from tests.chaos.app import work
from tests.chaos.ending import Ending
from tests.chaos.fleet import LEASE, SLACK, Fault, Fleet
from tests.chaos.keyed import KEYS, Calls, call_at_random, overlaps
from tests.chaos.killing import STUBBORN
from tests.chaos.load import Load
from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.processes import Program
from tests.support.release import commit_of, unpack
from tests.support.warm_start import ROOT

RELEASE = "0.1.0"

JOBS = sized(short=600, long=6_000)
KILLS = sized(short=2, long=10)  # of each release
CALLERS = 10  # of unique jobs
EACH = 0.15  # seconds that a job takes
SLOTS = 10  # of each worker


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The tree of the release."""
    commit = commit_of(RELEASE)
    if commit is None:
        pytest.skip(f"this needs a checkout with the commit of {RELEASE} in its history")
    return unpack(commit, tmp_path / RELEASE)


async def kill_in_turn(fleet: Fleet, release: Path) -> tuple[list[Fault], list[Program]]:
    """Start two workers of each release, and kill one of each again and again, replacing it.

    Returns the kills, and the workers of today.
    """
    old = await fleet.start(2, tree=release)
    new = await fleet.start(2)
    faults: list[Fault] = []
    for _ in range(KILLS):
        for workers, tree in ((old, release), (new, ROOT)):
            await pause(2 * LEASE)
            faults.append(await fleet.kill(workers.pop(0)))
            workers.extend(await fleet.start(tree=tree))
    return faults, new


async def test_releases_recover_the_jobs_of_each_other(
    release: Path, fleet: Fleet, load: Load, ending: Ending
) -> None:
    """No job is lost, whichever release dies, and whichever recovers."""
    fleet.options += ["--concurrency", str(SLOTS)]
    feeding = asyncio.ensure_future(load.bulk(JOBS, EACH))
    faults, _ = await kill_in_turn(fleet, release)
    await feeding
    outcomes, given_up = await load.ends()
    book = await ending.wind_up(4)

    recoveries = book.recoveries(faults)
    line = ending.report(
        "mixed-releases",
        f"two workers of {RELEASE} beside two of today, killed in turn",
        load.accepted,
        f"{len(faults)} kill -9",
        given_up=given_up,
        recovery=max(recoveries, default=None),
        figures={"started again": str(book.started_again)},
    )
    assert line.lost == 0
    assert line.duplicates <= book.started_again <= ending.may_run_again(faults, SLOTS)
    assert max(recoveries, default=0.0) <= 2 * LEASE + SLACK
    assert not fleet.errors("was taken for dead", "gave up ")
    await ending.check(load.accepted, outcomes)


async def test_releases_share_keys(release: Path, fleet: Fleet, load: Load, ending: Ending) -> None:
    """A worker of the release knows of no keys, and leaves none taken."""
    fleet.options += STUBBORN
    over, calls, task = asyncio.Event(), Calls(), work.using(unique=Unique(key="seconds"))
    callers = [asyncio.create_task(call_at_random(task, calls, over)) for _ in range(CALLERS)]
    faults, new = await kill_in_turn(fleet, release)
    over.set()
    await asyncio.gather(*callers)
    for worker in new:
        await fleet.terminate(worker)
    await asyncio.gather(*[await calls.make(key, task.enqueue(key)) for key in KEYS])
    again = [await calls.make(key, task.enqueue(key)) for key in KEYS]
    load.accepted |= calls.jobs
    await load.ends()
    book = await ending.wind_up(2)

    line = ending.report(
        "mixed-releases-unique",
        f"unique jobs for two workers of {RELEASE} beside two of today, killed in turn",
        load.accepted,
        f"{len(faults)} kill -9",
        figures={"calls": str(len(calls.made))},
    )
    assert overlaps(book, calls.of_keys().values()) == []
    assert (line.lost, set(book.starts)) == (0, set(load.accepted))
    assert line.duplicates <= ending.may_run_again(faults, len(KEYS))
    assert [job.is_new for job in again] == [True] * len(KEYS), "old workers have freed the keys"
    await ending.check(load.accepted)
