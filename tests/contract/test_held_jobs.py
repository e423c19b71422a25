"""Held jobs are found wherever they wait, counted, and cancelled in bulk."""

from typing import TYPE_CHECKING, cast

import pytest

from aiostreamq.client.bulk_cancellation import OpenJobFilter, cancel_many
from aiostreamq.client.info import look
from aiostreamq.client.job_listing import list_jobs, look_at_job
from aiostreamq.model.job_state import JobState
from aiostreamq.model.metadata import MetadataFilter
from aiostreamq.store.inspect import walk
from aiostreamq.store.inspect.doctor_probes import Keyspace
from aiostreamq.store.inspect.walk import Walk
from tests.support.held import Line
from tests.support.store import Store

if TYPE_CHECKING:
    from aiostreamq.client.protocols import OpenSession

PAGE = 4


@pytest.fixture
def line(store: Store) -> Line:
    """The held jobs of the store."""
    return Line(store)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of jobs makes several pages."""
    monkeypatch.setattr(walk, "PAGE", PAGE)


async def fill(line: Line) -> dict[str, list[str]]:
    """Have jobs wait in backlogs of many lengths: some for limits, some ready, of two tasks."""
    await line.rule("c=a", "1")
    await line.rule("c=b", "1")
    jobs = {
        **{
            f"default size c=a:{n}": [f"a{n}-{m:02}" for m in range(n + 2)] for n in range(3 * PAGE)
        },
        "slow other c=b": [f"b{m:02}" for m in range(2 * PAGE)],
    }
    for name, ids in jobs.items():
        lane, task, tokens = name.split(" ", 2)
        await line.enqueue(*ids, tokens=tokens, lane=lane, task=task)
    for delivery in await line.admit(PAGE):
        for ids in jobs.values():
            if delivery.job_id in ids:
                ids.remove(delivery.job_id)
    return jobs


@pytest.mark.usefixtures("small_pages")
async def test_walk_finds_each_held_job_once(store: Store, line: Line) -> None:
    """Those of a backlog in their order, whether or not the backlog waits for a limit."""
    jobs = await fill(line)
    found: dict[str, list[str]] = {}
    async for page in Walk(store.queue).held():
        for one in page:
            found.setdefault(one.backlog, []).append(one.job_id)
    assert found == jobs
    others = [one.job_id async for page in Walk(store.queue).held("other") for one in page]
    assert others == jobs["slow other c=b"]


async def jobs_in(store: Store, state: str) -> list[tuple[str, str, str]]:
    """Return id, task and lane of the jobs in a state."""
    found = list_jobs(
        lambda: cast("OpenSession", Session(store)),
        state,
        None,
        None,
        MetadataFilter(),
        lambda _: None,
    )
    return [(job.id, job.task, job.lane) async for job in found]


class Session:
    """As much of a session as a listing needs."""

    def __init__(self, store: Store) -> None:
        self.store = store.queue


async def test_listing(store: Store, line: Line) -> None:
    """Held jobs are listed with their task and lane, and one of them says that it is held."""
    jobs = await fill(line)
    expected = {
        (job_id, name.split()[1], name.split()[0]) for name, ids in jobs.items() for job_id in ids
    }
    assert set(await jobs_in(store, "held")) == expected
    info = await look_at_job(store.queue, "b00", lambda _: None)
    assert (info.state, info.task, info.lane, info.args) == (JobState.HELD, "other", "slow", [1])
    assert info.state_since is not None


async def test_counts(store: Store, line: Line) -> None:
    """Held jobs are not among the waiting ones; those that may have room are counted apart."""
    jobs = await fill(line)
    info = await look(store.queue, "5m")
    total = sum(map(len, jobs.values()))
    blocked = 0
    for token in [f"c=a:{n}" for n in range(3 * PAGE)]:
        key = f"{store.keys.prefix}blocked:{token}"
        if await store.call("EXISTS", key):
            blocked += len(jobs[f"default size {token}"])
    assert (info.waiting, info.running, info.held) == (0, PAGE, total)
    assert info.admittable == total - blocked
    assert {lane.name: lane.held for lane in info.lanes if lane.held} == {
        "default": total - 2 * PAGE,
        "slow": 2 * PAGE,
    }
    assert {task.name: task.held for task in info.tasks if task.held} == {
        "size": total - 2 * PAGE,
        "other": 2 * PAGE,
    }


async def test_counts_without_held_jobs(store: Store) -> None:
    """There are none."""
    await store.enqueue("a")
    info = await look(store.queue, "5m")
    assert (info.waiting, info.held, info.admittable) == (1, 0, 0)


@pytest.mark.usefixtures("small_pages")
async def test_cancelled_in_bulk(store: Store, line: Line) -> None:
    """By state and task, also several pages of them, and nothing of them is left."""
    jobs = await fill(line)
    total = sum(map(len, jobs.values()))
    wanted = OpenJobFilter.of("other", None, JobState.HELD, everything=False)
    assert await cancel_many(store.queue, [], wanted) == {JobState.HELD: 2 * PAGE}
    wanted = OpenJobFilter.of(None, None, None, everything=True)
    cancelled = await cancel_many(store.queue, [], wanted)
    assert cancelled[JobState.HELD] == total - 2 * PAGE
    assert cancelled[JobState.RUNNING] == PAGE
    left = await store.key_names()
    assert not [key for key in left if key.startswith(("backlog:", "blocked:", "held", "ready"))]


async def test_held_jobs_are_no_orphans(store: Store, line: Line) -> None:
    """The doctor knows where they wait, and finds those that wait nowhere."""
    await fill(line)
    scanned = await Keyspace(store.queue).scan()
    assert (scanned.orphans, scanned.lanes) == ([], [])
    await store.call("DEL", f"{store.keys.prefix}backlog:slow other c=b")
    scanned = await Keyspace(store.queue).scan()
    assert set(scanned.orphans) == {f"job:b{n:02}" for n in range(2 * PAGE)}
