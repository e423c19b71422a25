"""Jobs that a worker has and has not started, when what they came from is gone from Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aiostreamq import Job, Queue, Task, Worker
from aiostreamq.client.core import core_of
from aiostreamq.client.results import inbox, missing_streams
from aiostreamq.model.keys import GROUP
from aiostreamq.store.queue import QueueStore
from aiostreamq.worker.fetch.gauge import ReadGauge
from aiostreamq.worker.run import pool
from tests.support import held_jobs as tasks
from tests.support.waiting import wait_until

#: Looks of the awaiting client after which a job would have been taken for lost.
LOOKS = 5

#: Jobs in one test: one runs, and the others wait.
JOBS = 3


class Way(NamedTuple):
    """A kind of job, and what makes it wait in its worker."""

    task: Task[..., int]
    options: dict[str, Any]
    payload: int = 0


WAYS = {
    "slot": Way(tasks.in_loop, {"concurrency": 1}),
    "thread": Way(tasks.in_thread, {"threads": 1}),
    "process": Way(tasks.in_process, {"processes": 1}),
    "bytes": Way(tasks.in_loop, {"max_held_bytes": 1_000_000}, payload=800_000),
}


async def delete_stream(store: QueueStore) -> None:
    """Lose all that is in it."""
    await store.call("DEL", store.keys.stream("default"))


async def destroy_group(store: QueueStore) -> None:
    """Have Redis forget who has what: the worker's next read creates the group again."""
    await store.call("XGROUP", "DESTROY", store.keys.stream("default"), GROUP)


async def replace_group(store: QueueStore) -> None:
    """The same, and another client creates the group: no read finds it missing."""
    script = """
        redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
        return redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0')
    """
    await store.call("EVAL", script, 1, store.keys.stream("default"), GROUP)


def all_jobs(_: object) -> int:
    """Return how many jobs may be sent to a worker, and may wait for a thread or a process."""
    return JOBS


@pytest.fixture
async def held_queue(
    store_url: str, no_second_looks: None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Queue]:
    """The queue of the tasks, with a worker that is sent more than it can start."""
    monkeypatch.setattr(inbox, "BLOCK", 0.2)
    monkeypatch.setattr(inbox, "SWEEP", 0.1)
    monkeypatch.setattr(missing_streams, "LONG_ENOUGH", 0.1)
    monkeypatch.setattr(pool, "PATIENCE", 3600.0)
    # As if jobs were quick until now: their number is that of a test.
    monkeypatch.setattr(pool.Pool, "_allowed", all_jobs)
    monkeypatch.setattr(ReadGauge, "room", all_jobs)
    tasks.queue.use_url(store_url)
    async with tasks.queue as queue:
        yield queue


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The ids of the jobs without a stream, for each look at them."""
    seen = list[set[str]]()
    note = missing_streams.Strays.note

    async def noted(self: Any, strays: Iterable[Any], others: Iterable[Any]) -> list[Any]:
        given = list(strays)
        found = await note(self, given, others)
        seen.append({ticket.job_id for ticket in given})
        return found

    monkeypatch.setattr(missing_streams.Strays, "note", noted)
    return seen


def runs(place: Path) -> list[str]:
    """The numbers of the jobs, as often as they were run."""
    file = place / "runs"
    return file.read_text().split() if file.exists() else []


async def held(queue: Queue) -> bool:
    """Whether a worker has reported all jobs."""
    [worker] = await queue.workers()
    return worker.running + worker.held == JOBS and worker.running == 1


@pytest.mark.parametrize("harm", [delete_stream, destroy_group, replace_group])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_neither_lost_nor_run_twice(
    held_queue: Queue,
    looks: list[set[str]],
    tmp_path: Path,
    way: Way,
    harm: Callable[[QueueStore], Awaitable[None]],
) -> None:
    """They are awaited until they have run, once each."""
    store, place = core_of(held_queue).session().store, str(tmp_path)
    jobs: list[Job[int]] = await held_queue.enqueue_many(
        way.task.bind(place, number, "x" * way.payload) for number in range(JOBS)
    )
    waits = [asyncio.ensure_future(job.result()) for job in jobs]
    async with Worker(held_queue, lease=1, **way.options):
        try:
            await wait_until(lambda: held(held_queue), "the jobs to be with the worker")
            [worker] = await held_queue.workers()
            listed = {*worker.held_jobs, *(job.id for job in worker.jobs)}
            assert listed == {job.id for job in jobs}
            await harm(store)
            begun = len(looks)
            await wait_until(lambda: len(looks) >= begun + LOOKS, "the looks")
            assert [wait for wait in waits if wait.done()] == []
            if harm is delete_stream:
                assert looks[-1] == {job.id for job in jobs}
        finally:
            (tmp_path / "go").touch()
        assert await asyncio.gather(*waits) == list(range(JOBS))
    assert sorted(runs(tmp_path)) == [str(number) for number in range(JOBS)]
