"""What a release has left in Redis, and the release after it: each reads the other's."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from aiostreamq import JobCancelled, JobFailed, JobState, Worker
from tests.support.recording import RECORDED, dump, make, queue_of, restore, shape
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE, wait_until

#: Keys that later releases have added, a message, and a field of a worker's description.
ADDED = ("alive", "leases", "stream:admitted", "totals")
ADDED_MESSAGE = ["say", "parked", "tasks", "nowhere"]
ADDED_FIELD = r'"protocol":\d+,'


@pytest.fixture
def recorded() -> dict[str, Any]:
    """What the code from before its modules were moved left in Redis."""
    return json.loads(RECORDED.read_text())


async def test_recorded_keys_are_those_of_today(
    own_redis_server: RedisServer, recorded: dict[str, Any]
) -> None:
    """The same story leaves the same keys, fields, envelopes and outcomes."""
    await make(own_redis_server.url)
    async with Redis.from_url(own_redis_server.url) as client:
        today = await dump(client)
    for key in ADDED:
        del today[key]
    messages = cast("Any", today["control"])[1]["entries"]
    messages.remove(next(entry for entry in messages if entry[1] == ADDED_MESSAGE))
    (worker,) = (key for key in today if key.startswith("worker:"))
    kind, about = cast("tuple[str, str]", today[worker])
    assert re.search(ADDED_FIELD, about)
    today[worker] = kind, re.sub(ADDED_FIELD, "", about)
    assert shape(today) == shape(recorded)


async def test_recorded_jobs_are_looked_at(
    own_redis_server: RedisServer, recorded: dict[str, Any]
) -> None:
    """Each job is in the state that it was left in."""
    async with Redis.from_url(own_redis_server.url) as client:
        await restore(client, recorded)
    async with queue_of(own_redis_server.url, asyncio.Event()) as queue:
        ids = ("done", "failed", "cancelled", "queued", "late", "stumbled", "parked", "running")
        states = {job_id: await queue.job(job_id).status() for job_id in ids}
        assert states == {
            "done": JobState.DONE,
            "failed": JobState.FAILED,
            "cancelled": JobState.CANCELLED,
            "queued": JobState.QUEUED,
            "late": JobState.DELAYED,
            "stumbled": JobState.DELAYED,
            "parked": JobState.PARKED,
            "running": JobState.RUNNING,
        }
        assert [letter.job_id for letter in await queue.dead_letters.list()] == ["failed"]
        assert [schedule.name for schedule in await queue.schedules.list()] == ["nightly"]
        assert [pause.task for pause in await queue.paused()] == ["add"]
        assert [worker.lanes for worker in await queue.workers()] == [("default", "slow")]
        assert await queue.job("done") == 3
        with pytest.raises(JobFailed, match="no tea"):
            await queue.job("failed")
        with pytest.raises(JobCancelled):
            await queue.job("cancelled")


async def test_recorded_jobs_run(own_redis_server: RedisServer, recorded: dict[str, Any]) -> None:
    """Whatever waited runs: queued, due, retried, parked, of a dead worker, replayed."""
    async with Redis.from_url(own_redis_server.url) as client:
        await restore(client, recorded)
        delayed = "aiostreamq:{recorded}:delayed"
        await client.zadd(delayed, {"late": 1.0, "stumbled": 1.0})  # their hour has passed
    hold = asyncio.Event()
    hold.set()
    async with queue_of(own_redis_server.url, hold) as queue:

        @queue.task
        async def nowhere(number: int) -> int:
            return number

        assert nowhere.name == "nowhere"
        assert await queue.resume(task="add")
        async with Worker(queue, lease=1):
            ends = {
                job_id: await queue.job(job_id).result(timeout=PATIENCE)
                for job_id in ("queued", "late", "stumbled", "parked", "running")
            }
            expected = {"queued": 7, "late": 11, "stumbled": 2, "parked": 1, "running": "waited"}
            assert ends == expected
            assert await queue.dead_letters.replay("failed") == 1

            async def has_failed_again() -> bool:
                letters = await queue.dead_letters.list()
                return [len(letter.history) for letter in letters] == [1]

            await wait_until(has_failed_again, "the second failure of the replayed job")
