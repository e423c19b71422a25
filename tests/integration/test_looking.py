"""`queue.info`, `queue.jobs`, `queue.workers` and `job.info`, with workers at work."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from aiostreamq import (
    GiveUp,
    Job,
    JobNotFound,
    JobState,
    Pause,
    Queue,
    UsageError,
    WaitReason,
    Worker,
    WorkerInfo,
    WorkerState,
    __version__,
)
from aiostreamq.client.bulk_cancellation import OPEN
from aiostreamq.client.core import core_of
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.worker.settle import settler
from tests.support.waiting import wait_until


class Scene:
    """A queue with some tasks."""

    def __init__(self, url: str) -> None:
        self.queue = queue = Queue(url, name="looking", lanes=["default", "slow"])
        self.go = asyncio.Event()

        @queue.task
        async def add(a: int, b: int = 0) -> int:
            return a + b

        @queue.task(lane="slow")
        async def fail(text: str) -> None:
            raise ValueError(text)

        @queue.task
        async def give_up() -> None:
            raise GiveUp("enough")

        @queue.task
        async def hold(number: int) -> None:
            await self.go.wait()

        self.add, self.fail, self.give_up, self.hold = add, fail, give_up, hold

    async def burst(self) -> None:
        """Run all that there is."""
        await Worker(self.queue, concurrency=10).run(burst=True)

    async def ids(self, state: "JobState | str | list[str] | None" = None) -> list[str]:
        """Return the ids of jobs in the order they are given."""
        return [job.id async for job in self.queue.jobs(state=state)]


@pytest.fixture
async def scene(store_url: str) -> AsyncIterator[Scene]:
    """An empty queue, on a real Redis and in memory."""
    scene = Scene(store_url)
    async with scene.queue:
        yield scene


async def test_info(scene: Scene) -> None:
    """It says what there is before, and what has ended after."""
    for number in range(5):
        await scene.add.enqueue(number)
    await scene.fail.enqueue("no")
    await scene.add.using(delay=60).enqueue(1)
    await scene.queue.enqueue("stranger")
    seen = await scene.queue.info()
    assert (seen.name, seen.waiting, seen.running, seen.delayed) == ("looking", 7, 0, 1)
    assert {lane.name: lane.waiting for lane in seen.lanes} == {
        "returned": 0,
        "default": 6,
        "slow": 1,
    }
    assert seen.oldest_age is not None
    assert seen.next_due is not None
    assert timedelta(0) < seen.next_due - seen.at <= timedelta(seconds=60)
    assert {task.name: task.waiting for task in seen.tasks} == {"add": 5, "fail": 1, "stranger": 1}
    assert not any(task.is_estimate for task in seen.tasks)
    await scene.burst()
    seen = await scene.queue.info(window="10m")
    assert (seen.waiting, seen.parked, seen.dead, seen.oldest_age) == (0, 1, 1, None)
    add, fail, stranger = seen.tasks
    assert (add.ended, add.delayed) == ({JobState.DONE: 5}, 1)
    assert (fail.ended, fail.dead) == ({JobState.FAILED: 1}, 1)
    assert (stranger.parked, stranger.ended, stranger.run_latency) == (1, {}, None)
    assert 600 <= seen.window <= 660
    assert seen.rate == pytest.approx(6 / seen.window)
    assert add.rate == pytest.approx(5 / seen.window)
    assert add.run_latency is not None
    assert add.wait_latency is not None
    assert add.run_latency.count == add.wait_latency.count == 5
    assert 0 < add.run_latency.p50 <= add.run_latency.p95 <= add.run_latency.p99 < 10


@pytest.mark.heavy_in_memory
async def test_waited(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a job had waited does not depend on when it is counted."""
    monkeypatch.setattr(settler, "COUNT_EVERY", 2.0)
    async with Worker(scene.queue):
        assert await (await scene.add.enqueue(1))

        async def waited() -> float | None:
            of_tasks = [task.wait_latency for task in (await scene.queue.info()).tasks]
            return next((told.p50 for told in of_tasks if told is not None), None)

        await wait_until(waited, "it to be counted")
        seen = await waited()
    assert seen is not None
    assert seen < 1


async def test_estimate(scene: Scene) -> None:
    """Of many jobs the tasks are reckoned from some, and it says so."""
    await scene.queue.enqueue_many(scene.add.bind(number) for number in range(300))
    (add,) = (await scene.queue.info()).tasks
    assert add.is_estimate
    assert add.waiting == 300


async def test_paused(scene: Scene) -> None:
    """What is paused is part of how a queue stands."""
    assert (await scene.queue.info()).paused == ()
    await scene.queue.pause(task="add")
    (pause,) = (await scene.queue.info()).paused
    assert (pause.task, pause.until) == ("add", None)
    await scene.queue.resume(task="add")


async def test_window_that_cannot_be_meant(scene: Scene) -> None:
    """Counters are kept for three hours."""
    for window in (0, "1d"):
        with pytest.raises(UsageError, match="window"):
            await scene.queue.info(window=window)


async def test_jobs_that_have_not_ended(scene: Scene) -> None:
    """Each is found where it is, with what is known of it."""
    delayed = await scene.add.using(delay=60).enqueue(1, b=2)
    held = await scene.hold.enqueue(7)
    await scene.queue.enqueue("stranger", 1)
    async with Worker(scene.queue, concurrency=2) as worker:
        await wait_until(lambda: is_at(held, JobState.RUNNING), "a run")
        await wait_until(lambda: has(scene, "parked"), "a parked job")
        (running,) = [job async for job in scene.queue.jobs(state="running")]
        assert (running.id, running.task, running.worker) == (held.id, "hold", worker.name)
        assert (running.args, running.kwargs, running.lane) == ([7], {}, "default")
        # When that was is reckoned each time, from how long ago it is.
        assert replace(await held.info(), state_since=None) == replace(running, state_since=None)
        (parked,) = [job async for job in scene.queue.jobs(state=JobState.PARKED)]
        assert (parked.task, parked.args) == ("stranger", [1])
        found = await scene.queue.job(parked.id).info()
        assert found.wait is not None
        assert found.wait.reason == WaitReason.NO_WORKER
        assert replace(found, wait=None) == parked
        (later,) = [job async for job in scene.queue.jobs(state="delayed")]
        assert (later.id, later.args, later.kwargs) == (delayed.id, [1], {"b": 2})
        assert later.due is not None
        assert later.due > datetime.now(UTC)
        assert later == await delayed.info()
        scene.go.set()
        await held
    queued = await scene.add.enqueue(3)
    (waiting,) = [job async for job in scene.queue.jobs(state="queued")]
    assert (waiting.id, waiting.state, waiting.args) == (queued.id, JobState.QUEUED, [3])
    assert waiting == replace(await queued.info(), wait=None)


async def is_at(job: Job[object], state: JobState) -> bool:
    """Say whether a job stands there."""
    return await job.status() is state


async def has(scene: Scene, state: str) -> bool:
    """Say whether there is a job of that state."""
    return bool(await scene.ids(state))


async def test_jobs_that_have_ended(scene: Scene) -> None:
    """They are found by state, newest first, whether their results are kept or not."""
    first = await scene.add.enqueue(1)
    await scene.burst()
    second = await scene.add.using(result_ttl=0).enqueue(2)
    await scene.burst()
    failed, given_up = await scene.fail.enqueue("no"), await scene.give_up.enqueue()
    await scene.burst()
    assert await scene.ids("done") == [second.id, first.id]
    (job,) = [job async for job in scene.queue.jobs(state="failed")]
    assert (job.id, job.task, job.state) == (failed.id, "fail", JobState.FAILED)
    assert job.run_seconds is not None
    (job,) = [job async for job in scene.queue.jobs(state="dead")]
    assert (job.id, job.error) == (given_up.id, "GiveUp: enough")
    assert await scene.ids() == [failed.id, second.id, first.id, given_up.id]
    assert await scene.ids(["failed", "dead"]) == [failed.id, given_up.id]
    assert (await failed.info()).error == "ValueError: no"


async def paused_ids(scene: Scene) -> list[str]:
    """Return the ids of jobs that say they are paused, and that each says so when asked alone."""
    found = [job async for job in scene.queue.jobs()]
    for job in found:
        assert (await scene.queue.job(job.id).info()).is_paused == job.is_paused
    return [job.id for job in found if job.is_paused]


async def test_jobs_of_a_paused_task(scene: Scene) -> None:
    """Those that wait say so, wherever they are, until it is resumed."""
    waiting, delayed = await scene.add.enqueue(1), await scene.add.using(delay=60).enqueue(2)
    await scene.fail.enqueue("no")
    await scene.hold.using(delay=60).enqueue(1)
    assert await paused_ids(scene) == []
    await scene.queue.pause(task=scene.add)
    assert await paused_ids(scene) == [waiting.id, delayed.id]
    async with Worker(scene.queue):
        await wait_until(lambda: is_at(waiting, JobState.PARKED), "a worker to set it aside")
        assert await paused_ids(scene) == [delayed.id, waiting.id]
    await scene.queue.resume(task=scene.add)
    assert await paused_ids(scene) == []


async def test_jobs_of_a_paused_lane(scene: Scene) -> None:
    """So do those of a paused lane, but for what runs; and those that go back to it."""
    broker = core_of(scene.queue).session().store
    await scene.add.enqueue(1)
    returned = [await scene.fail.enqueue("no"), await scene.queue.enqueue("stranger")]
    link = await broker.connector.open_link("test")
    read = await Deliveries(broker).read(link, "w", 10, None)
    link.close()
    await scene.queue.pause(lane="slow", until="1h")
    assert await paused_ids(scene) == []
    await Deliveries(broker).requeue(read.deliveries)
    waiting = await scene.fail.enqueue("no")
    delayed = await scene.fail.using(delay=60).enqueue("no")
    elsewhere = await scene.fail.using(lane="default").enqueue("no")
    assert await paused_ids(scene) == [returned[0].id, waiting.id, delayed.id]
    assert not (await elsewhere.info()).is_paused


async def test_workers_with_pauses(scene: Scene) -> None:
    """A worker tells which of its tasks and lanes are paused."""
    await scene.queue.pause(task=scene.add)
    await scene.queue.pause(task="stranger")
    await scene.queue.pause(lane="slow")
    async with Worker(scene.queue, lanes=["default"]), Worker(scene.queue, lanes=["slow"]):

        async def have_told() -> bool:
            workers = await scene.queue.workers()
            return len([one for one in workers if one.host]) == 2

        await wait_until(have_told, "both to tell of themselves")
        found = {one.lanes[0]: one.paused for one in await scene.queue.workers()}
    paused = Pause(task="add")
    assert found == {"default": (paused,), "slow": (paused, Pause(lane="slow"))}
    assert (await scene.queue.info()).paused == (
        *(paused, Pause(task="stranger")),
        Pause(lane="slow"),
    )


async def test_schedules_with_pauses(scene: Scene) -> None:
    """A schedule tells whether the jobs that it makes are paused, apart from itself."""
    schedules = scene.queue.schedules
    await schedules.create("a", scene.add.bind(1), every=3600)
    await schedules.create("b", scene.fail.bind("no"), every=3600)
    await schedules.pause("b")

    async def told() -> list[tuple[bool, bool]]:
        return [(one.is_paused, one.are_jobs_paused) for one in await schedules.list()]

    assert await told() == [(False, False), (True, False)]
    await scene.queue.pause(task=scene.add)
    assert await told() == [(False, True), (True, False)]
    await scene.queue.pause(lane="slow")
    await scene.queue.resume(task=scene.add)
    assert await told() == [(False, False), (True, True)]
    assert (await schedules.get("b")).are_jobs_paused


async def test_jobs_that_were_cancelled(scene: Scene) -> None:
    """They are found as cancelled and nowhere else, and counted, before any worker has run."""
    first, waiting = await scene.add.enqueue(1), await scene.add.enqueue(2)
    delayed = await scene.fail.using(delay=60).enqueue("no")
    for job in (first, delayed):
        await job.cancel()
    assert await scene.ids() == [waiting.id, delayed.id, first.id]
    (job, _) = [job async for job in scene.queue.jobs(state="cancelled", since="1h")]
    assert (job.id, job.task, job.run_seconds) == (delayed.id, "fail", None)
    assert await scene.queue.cancel_many(task=scene.add) == dict.fromkeys(OPEN, 0) | {"queued": 1}
    await scene.burst()
    assert await scene.ids() == [waiting.id, delayed.id, first.id]
    assert (await first.info()).state is JobState.CANCELLED
    add, fail = (await scene.queue.info()).tasks
    assert (add.ended, fail.ended) == ({JobState.CANCELLED: 2}, {JobState.CANCELLED: 1})
    assert (add.run_latency, add.wait_latency) == (None, None)


async def test_job_that_expired(scene: Scene) -> None:
    """It is found and counted as what it is, and has not run."""
    job = await scene.add.using(expires=0.001).enqueue(1)
    await wait_until(lambda: has_passed(scene, job), "its time to pass")
    await scene.burst()
    (found,) = [job async for job in scene.queue.jobs()]
    assert (found.id, found.state, found.run_seconds) == (job.id, JobState.EXPIRED, None)
    (add,) = (await scene.queue.info()).tasks
    assert (add.ended, add.run_latency) == ({JobState.EXPIRED: 1}, None)


async def has_passed(scene: Scene, job: Job[int]) -> bool:
    """Say whether a job has waited for some milliseconds."""
    since = (await job.info()).state_since
    assert since is not None
    return (await scene.queue.info()).at > since + timedelta(milliseconds=2)


async def test_filters(scene: Scene) -> None:
    """By task, named or itself, and by how long ago."""
    await scene.add.enqueue(1)
    job = await scene.fail.enqueue("no")
    queue = scene.queue
    assert [found.id async for found in queue.jobs(task=scene.fail)] == [job.id]
    assert [found.id async for found in queue.jobs(task="fail", since="1h")] == [job.id]
    said = scene.fail.using(timeout=1)
    assert [found.id async for found in queue.jobs(task=said)] == [job.id]
    yet_to_come = datetime.now(UTC) + timedelta(hours=1)
    assert [found async for found in queue.jobs(since=yet_to_come)] == []
    await scene.burst()
    assert [found.id async for found in queue.jobs(task=scene.fail, since=60)] == [job.id]
    assert [found async for found in queue.jobs(since=yet_to_come)] == []


async def test_many_jobs(scene: Scene) -> None:
    """However many there are, each is given once, page by page."""
    jobs = await scene.queue.enqueue_many(scene.add.bind(number) for number in range(350))
    assert await scene.ids("queued") == [job.id for job in jobs]
    await scene.burst()
    assert sorted(await scene.ids("done")) == sorted(job.id for job in jobs)


async def test_what_cannot_be_meant(scene: Scene) -> None:
    """A state that is none, and a time without a zone."""
    with pytest.raises(UsageError, match="is unknown: use"):
        await scene.ids("finished")
    with pytest.raises(UsageError, match="time zone"):
        [job async for job in scene.queue.jobs(since=datetime(2030, 1, 1))]  # noqa: DTZ001  # on purpose


async def test_unknown_job(scene: Scene) -> None:
    """There is nothing to tell of it."""
    with pytest.raises(JobNotFound):
        await scene.queue.job("unknown").info()


async def test_workers(scene: Scene) -> None:
    """Each tells what it is and what it runs; one that has left is not among them."""
    assert await scene.queue.workers() == []
    job = await scene.hold.enqueue(1)
    async with Worker(scene.queue, concurrency=3, lease=3, name="w") as worker:

        async def is_told() -> bool:
            return any(one.jobs for one in await scene.queue.workers())

        await wait_until(is_told, "a beat that tells of the job")
        (seen,) = await scene.queue.workers()
        check(seen, worker.name)
        (running,) = seen.jobs
        assert (running.id, running.task, running.attempt) == (job.id, "hold", 1)
        assert 0 <= running.age < 30
        scene.go.set()
        await job
    assert await scene.queue.workers() == []


def check(seen: WorkerInfo, name: str) -> None:
    """Fail unless it is this process's worker."""
    assert (seen.name, seen.pid, seen.version) == (name, os.getpid(), __version__)
    assert (seen.state, seen.is_lost) == (WorkerState.READY, False)
    assert (seen.concurrency, seen.lanes) == (3, ("default", "slow"))
    assert seen.tasks == ("add", "fail", "give_up", "hold")
    assert seen.running == 1
    assert seen.last_seen_seconds is not None
    assert 0 <= seen.last_seen_seconds < 30
    assert seen.started_at is not None
