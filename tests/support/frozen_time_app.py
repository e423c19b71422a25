"""One use of freezegun or time-machine in a process of its own: `LIBRARY CASE`.

Both replace the clocks of the whole process, and each fails if the other is active.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from aiostreamq import Queue, Retry, Worker
from aiostreamq.testing import isolated

START = datetime(2026, 3, 1, tzinfo=UTC)
LATER = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

#: Seconds after which a job that should have ended has not.
PATIENCE = 30.0

LIBRARY = sys.argv[1]

queue = Queue("memory://")
attempts: list[datetime] = []


def freeze(moment: datetime, *, tick: bool = False) -> AbstractContextManager[object]:
    """Freeze the time of Python's clocks, but not that of the event loop."""
    if LIBRARY == "time-machine":
        import time_machine

        return time_machine.travel(moment, tick=tick)
    import freezegun

    frozen: Any = freezegun.freeze_time(moment, tick=tick, real_asyncio=True)
    return cast("AbstractContextManager[object]", frozen)


@queue.task
async def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


@queue.task
async def pause() -> None:
    """Take longer than the delay of another job, by the time of the event loop."""
    await asyncio.sleep(0.1)


@queue.task
async def echo(moment: datetime, day: date) -> tuple[datetime, date]:
    """Return what was sent."""
    return moment, day


@queue.task
def now_in_thread() -> list[float]:
    """Return what `datetime.now` and `time.time` show in a thread."""
    return [datetime.now(UTC).timestamp(), time.time()]


@queue.task
async def freezes() -> datetime:
    """Return the time that this job freezes."""
    with freeze(LATER):
        await asyncio.sleep(0.001)
        return datetime.now(UTC)


@queue.task
def freezes_in_thread() -> datetime:
    """Return the time that this job freezes in its thread."""
    with freeze(LATER):
        return datetime.now(UTC)


@queue.task(retry=Retry(2, base=0.01))
async def retried() -> str:
    """Succeed at the second attempt."""
    attempts.append(datetime.now(UTC))
    if len(attempts) == 1:
        raise ValueError
    return "done"


async def inside() -> None:
    """A job sees the time that it freezes; other jobs run and wait as before."""
    async with queue, Worker(queue):
        # In a thread, freezegun freezes `monotonic` some milliseconds before it spares the loop.
        in_thread = [freezes_in_thread] if LIBRARY == "time-machine" else []
        for task in (freezes, *in_thread):
            assert await (await task.enqueue()).result(PATIENCE) == LATER
            delayed = await now.using(delay=0.01).enqueue()
            assert abs(await delayed.result(PATIENCE) - datetime.now(UTC)) < HOUR


async def around() -> None:
    """Jobs run under a time that stands still, and see it."""
    with freeze(START):
        async with queue, Worker(queue):
            assert await (await now.enqueue()) == START
            sent = datetime.now(UTC), datetime.now(UTC).date()
            assert await (await echo.enqueue(*sent)) == sent == (START, START.date())
            by_datetime, by_time = await (await now_in_thread.enqueue())
            assert by_datetime == START.timestamp()
            # freezegun leaves `time.time()` alone if a function that is near in the stack belongs
            # to `threading`.
            assert (by_time == by_datetime) is (LIBRARY == "time-machine"), by_time
            delayed = await now.using(delay=0.01).enqueue()
            await (await pause.enqueue())
            assert await delayed.status() == "delayed"
            await delayed.cancel()


async def around_ticking() -> None:
    """Under a time that ticks, delays and retries pass."""
    with freeze(START, tick=True):
        async with queue, Worker(queue):
            assert START <= await (await now.enqueue()) < START + HOUR
            assert START < await (await now.using(delay=0.01).enqueue()) < START + HOUR
            assert await (await retried.enqueue()) == "done"


async def around_a_clock() -> None:
    """The clock of a test begins with the frozen time, and passes by its own."""
    with freeze(START):
        async with isolated(queue) as test:
            clock = test.stop_clock()
            assert clock.now == START
            job = await now.using(delay="2h").enqueue()
            await clock.advance("1h")
            assert not test.runs
            await clock.advance("1h")
            assert clock.now == START + 2 * HOUR
            assert await job == START


async def without_real_asyncio() -> None:
    """By itself, freezegun also freezes the loop, whose timers never fire."""
    import freezegun

    loop = asyncio.get_running_loop()
    with cast("AbstractContextManager[object]", cast("Any", freezegun).freeze_time(START)):
        before = loop.time()
        loop.call_later(0.001, attempts.append, START)
        await asyncio.to_thread(time.sleep, 0.01)
        assert (loop.time(), attempts) == (before, [])


CASES: list[Callable[[], Coroutine[Any, Any, None]]] = [
    inside,
    around,
    around_ticking,
    around_a_clock,
    without_real_asyncio,
]

if __name__ == "__main__":
    named = {case.__name__: case for case in CASES}
    asyncio.run(named[sys.argv[2]]())
