"""Walking over the jobs of a queue while they come and go."""

import pytest

from aiostreamq.model.delivery import DelayedSubmission, WaiterMode
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.inspect import walk
from aiostreamq.store.inspect.walk import Walk
from tests.support.store import DEADLINE, ENVELOPE, Store

PAGE = 4

#: Long after the test, and one of them shared by more jobs than two pages have.
FAR = 4_000_000_000_000
DUE = [FAR, FAR + 1, *[FAR + 2] * 11, *[FAR + 3] * 3, FAR + 4]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of jobs makes several pages."""
    monkeypatch.setattr(walk, "PAGE", PAGE)


async def delay(store: Store, *due: int) -> dict[str, int]:
    """Delay a job until each time of *due*; return when each is due, by id."""
    jobs = {f"j{at:02}": when for at, when in enumerate(due)}
    batch: list[DelayedSubmission] = [
        (job_id, DEFAULT_LANE, WaiterMode.NOBODY, str(when), ENVELOPE)
        for job_id, when in jobs.items()
    ]
    await store.delayed.delay(batch, "me", DEADLINE)
    return jobs


async def test_delayed_jobs_are_found_once_in_their_order(store: Store) -> None:
    """Also if more are due at one time than a page has."""
    jobs = await delay(store, *DUE)
    pages = [page async for page in Walk(store.queue).delayed()]
    assert all(len(page) <= PAGE for page in pages)
    assert [one for page in pages for one in page] == list(jobs.items())


@pytest.mark.parametrize("every", [1, 2, 3])
async def test_cancelled_during_the_walk(store: Store, every: int) -> None:
    """Jobs of a page that are cancelled before the next do not hide any others."""
    jobs = await delay(store, *DUE)
    found: list[str] = []
    async for page in Walk(store.queue).delayed():
        ids = [job_id for job_id, _ in page]
        found += ids
        await Cancellation(store.queue).cancel(ids[::every])
    assert found == list(jobs)


async def test_entries_of_a_stream(store: Store) -> None:
    """All of them in either order, whether or not the last page is full."""
    for total in (0, PAGE, 2 * PAGE + 1):
        ids = [f"{total}-{at}" for at in range(total)]
        await store.call("DEL", "q")
        for one in ids:
            await store.call("XADD", "q", f"1-{ids.index(one) + 1}", "id", one)
        oldest = [entry async for page in Walk(store.queue).entries("q") for entry in page]
        newest = [
            entry async for page in Walk(store.queue).newest_first("q", "0") for entry in page
        ]
        assert [fields[1].decode() for _, fields in oldest] == ids
        assert newest == oldest[::-1]


async def test_jobs_off_lane_by_state(store: Store) -> None:
    """Each kind is read only if it is asked for; entries of other programs are left out."""
    await delay(store, FAR)
    await store.parking.park([(await store.deliver("parked"), "t")])
    await store.call("XADD", store.keys.parked_for("t"), "*", "any", "thing")

    async def found(*states: str) -> list[str]:
        pages = Walk(store.queue).jobs_off_lane(states, ["t"])
        return [one.job_id async for page in pages for one in page]

    assert await found("delayed") == ["j00"]
    assert await found("parked") == ["parked"]
    assert await found("parked", "delayed") == ["j00", "parked"]


async def test_range_by_state(store: Store) -> None:
    """A lane is read where jobs in the states may be."""
    await store.enqueue("waits", "too")
    stream = store.keys.stream("default")
    (running,) = await store.read(count=1)
    entry = running.entry.decode()
    walked = Walk(store.queue)
    assert await walked.range_of(stream, ["running"]) == ("-", entry)
    assert await walked.range_of(stream, ["queued"]) == (f"({entry}", "+")
    assert await walked.range_of(stream, ["queued", "running"]) == ("-", "+")
