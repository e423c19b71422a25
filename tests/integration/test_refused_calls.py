"""A call that is refused as the caller's mistake leaves nothing in Redis, and can be mended."""

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast
from zoneinfo import TZPATH, ZoneInfo

import pytest
from redis.asyncio import Redis

from aiostreamq import JobFailed, Queue, UsageError, Worker

Made = Callable[[Any, Any], Awaitable[object]]  #: a call of a queue, and of its task

FAR = 10**12

EAST, WEST = timezone(timedelta(hours=9)), timezone(timedelta(hours=-9))


def nameless() -> ZoneInfo:
    """Return a zone that no worker could look up, as it has no name."""
    found = next(path for folder in TZPATH if (path := Path(folder, "Europe/Madrid")).exists())
    return ZoneInfo.from_file(io.BytesIO(found.read_bytes()))


def schedule(**words: object) -> Made:
    """Return a call that makes a schedule, and one that replaces it."""
    told: Any = {"every": "1h", "args": [1], **words}
    if "cron" in told:
        del told["every"]
    return lambda queue, task: queue.schedules.create("refused", task, **told)


def using(**words: object) -> Made:
    """Return a call that makes a schedule of a task with options."""
    return lambda queue, task: queue.schedules.create(
        "refused", task.using(**words), args=[1], every="1h"
    )


REFUSED: dict[str, Made] = {
    "interval of no calendar": schedule(every="9999999d"),
    "interval of no clock": schedule(every=1e300),
    "interval too short": schedule(every=0.01),
    "no interval": schedule(every="soon"),
    "neither": schedule(every=None),
    "both": lambda queue, task: queue.schedules.create(
        "refused", task, args=[1], every="1h", cron="* * * * *"
    ),
    "no expression": schedule(cron="* * *"),
    "expression of another type": schedule(cron=5),
    "expression that never comes": schedule(cron="0 0 30 2 *"),
    "unknown zone": schedule(cron="@daily", tz="Europe/Atlantis"),
    "offset of no day": schedule(cron="@daily", tz="+25:00"),
    "offset that is not whole": schedule(
        cron="@daily", tz=timezone(timedelta(hours=1, microseconds=1))
    ),
    "zone of another type": schedule(cron="@daily", tz=2),
    "zone without a name": lambda queue, task: queue.schedules.create(
        "refused", task, args=[1], cron="@daily", tz=nameless()
    ),
    "zone of an interval": schedule(tz="UTC"),
    "jitter of no clock": schedule(jitter=1e300),
    "jitter of no calendar": schedule(jitter="9999999d"),
    "window of no clock": schedule(window=1e300),
    "window without use": schedule(window="1h", catch_up="none"),
    "start of no calendar": schedule(start=datetime.max.replace(tzinfo=WEST)),
    "end of no calendar": schedule(end=datetime.min.replace(tzinfo=EAST)),
    "end before the start": schedule(
        start=datetime(2030, 1, 1, tzinfo=UTC), end=datetime(2029, 1, 1, tzinfo=UTC)
    ),
    "runs beyond counting": schedule(max_runs=10**30),
    "no runs": schedule(max_runs=0),
    "unknown rule": schedule(overlp="skip"),
    "unknown overlap": schedule(overlap="sometimes"),
    "arguments that do not fit": schedule(args=[1, 2]),
    "expiry of no clock": using(expires=FAR),
    "deadline of no clock": using(deadline=FAR),
    "expiry that is a moment": using(expires=datetime(2030, 1, 1, tzinfo=UTC)),
    "id of many jobs": using(id="one"),
    "delay of many jobs": using(delay=5),
    "unknown lane": using(lane="elsewhere"),
    "schedule without a name": lambda queue, task: queue.schedules.create("a b", task, every="1h"),
    "schedule of no task": lambda queue, _: queue.schedules.create("a", 5, every="1h"),
    "pause of no schedule": lambda queue, _: queue.schedules.pause("refused"),
    "replacing of no schedule": lambda queue, task: queue.schedules.replace(
        "refused", task, args=[1], every="1h"
    ),
    "trigger of no schedule": lambda queue, _: queue.schedules.trigger("refused"),
    "arguments of a job": lambda __, task: task.enqueue(1, 2),
    "context of a job": lambda __, task: task.enqueue(n=1, m=2),
    "unknown lane of a job": lambda __, task: task.using(lane="elsewhere").enqueue(1),
    "task of another queue": lambda queue, task: queue.enqueue(
        Queue("memory://").task(name="other")(task), 1
    ),
    "no task": lambda queue, _: queue.enqueue(5, 1),
    "call of another queue": lambda queue, task: queue.enqueue_many(
        [Queue("memory://").task(name="other")(task).bind(1)]
    ),
    "pause of everything": lambda queue, _: queue.pause(),
    "pause until no moment": lambda queue, task: queue.pause(task=task, until=datetime(2030, 1, 1)),  # noqa: DTZ001  # that is the point
    "pause of an unknown lane": lambda queue, _: queue.pause(lane="elsewhere"),
    "cancelling of everything": lambda queue, _: queue.cancel_many(),
    "replay with arguments that do not fit": lambda queue, _: replay(queue, args=[1, 2]),
    "replay of everything": lambda queue, _: queue.dead_letters.replay(),
    "purge of everything": lambda queue, _: queue.dead_letters.purge(),
}


async def replay(queue: Queue, **words: Any) -> object:
    """Replay the one dead letter with other arguments."""
    (letter,) = await queue.dead_letters.list()
    return await queue.dead_letters.replay(letter.id, **words)


@pytest.fixture
async def task(queue: Queue) -> Any:
    """A task that has left a dead letter, and a schedule."""

    @queue.task
    async def fail(n: int) -> int:
        raise ValueError(n)

    async with Worker(queue):
        with pytest.raises(JobFailed):
            await (await fail.enqueue(1))
    await queue.schedules.create("kept", fail, args=[1], every="1d")
    return fail


async def kept(client: Redis) -> dict[bytes, object]:
    """Return all that is in Redis."""
    keys = cast("list[bytes]", await client.keys())
    return {key: await client.dump(key) for key in keys}


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    """An open queue, on a real Redis."""
    async with Queue(redis_url) as queue:
        yield queue


@pytest.mark.may_block("a zone is read from a file")
@pytest.mark.parametrize("call", REFUSED.values(), ids=list(REFUSED))
async def test_refused(queue: Queue, redis_url: str, task: Any, call: Made) -> None:
    """Nothing has changed afterwards."""
    async with Redis.from_url(redis_url) as client:
        before = await kept(client)
        with pytest.raises(UsageError):
            await call(queue, task)
        assert await kept(client) == before


#: Only Redis knows whether there is one.
ASKED = {
    *("pause of no schedule", "replacing of no schedule", "trigger of no schedule"),
    "replay with arguments that do not fit",
}


@pytest.mark.may_block("a zone is read from a file")
@pytest.mark.parametrize("name", sorted(REFUSED.keys() - ASKED))
async def test_refused_before_it_is_open(redis_url: str, name: str) -> None:
    """Not even the streams of the queue are made."""
    queue = Queue(redis_url)

    @queue.task
    async def fail(n: int) -> int:
        return n

    async with Redis.from_url(redis_url) as client:
        with pytest.raises(UsageError):
            await REFUSED[name](queue, fail)
        assert await kept(client) == {}
    await queue.aclose()


@pytest.mark.parametrize(
    ("tz", "told", "hour"),
    [
        (UTC, "UTC", 9),
        (timezone.utc, "UTC", 9),  # noqa: UP017  # as people write it
        (timezone(timedelta(0), "Z"), "UTC", 9),
        (timezone(timedelta(hours=2), "CEST"), "+02:00", 7),
        (timezone(timedelta(hours=-9, minutes=-30)), "-09:30", 18),
        ("+05:45", "+05:45", 3),
        (ZoneInfo("Asia/Tokyo"), "Asia/Tokyo", 0),
        (None, "UTC", 9),
    ],
)
async def test_zones(queue: Queue, tz: Any, told: str, hour: int) -> None:
    """A fixed offset is a zone as well, and is told as it is kept."""

    @queue.cron("0 9 * * *", tz=tz)
    async def report() -> None: ...

    made = await queue.schedules.create("made", report, cron="0 9 * * *", tz=tz)
    assert made.tz == told
    assert made.next is not None
    assert made.next.hour == hour
    assert (await queue.schedules.get("made")) == made
    async with Worker(queue):
        found = {one.name: one for one in await queue.schedules.list()}
    assert found["report"].next == made.next
