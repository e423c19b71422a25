"""How does a large queue cost: many lanes, many cancelled jobs, many tasks, many who wait?

One question by name, or all: `python -m benchmarks.large lanes cancel`. To compare with another
commit, copy this file into its checkout and run it there: it uses the public face alone.
"""

import argparse
import asyncio
import multiprocessing
import os
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any

import redis

from aiostreamq import Queue, Task, Worker
from benchmarks.server import Server, running_server

NAME = "large"

# How many jobs are cancelled at once.
CANCELLED = int(os.environ.get("CANCELLED", "1_000_000"))

Measure = Callable[[str], Awaitable[None]]


def port_of(url: str) -> int:
    """Return the port of a URL of `running_server`."""
    return int(url.rpartition(":")[2])


def script_us(url: str) -> tuple[int, float]:
    """Return how many scripts have run since the last CONFIG RESETSTAT, and their microseconds."""
    client: Any = redis.Redis(port=port_of(url))
    stats = client.info("commandstats").get("cmdstat_evalsha", {"calls": 0, "usec": 0})
    return stats["calls"], stats["usec"]


def reset(url: str) -> None:
    """Begin counting anew."""
    client: Any = redis.Redis(port=port_of(url))
    client.config_resetstat()


def percentile(times: list[float], share: float) -> float:
    """Return a percentile of *times* in milliseconds."""
    return 1000 * sorted(times)[min(len(times) - 1, int(len(times) * share))]


async def lanes(url: str) -> None:
    """Time a lone job among mostly empty lanes, and full lanes that share."""
    for count in (3, 100, 400, 1000):
        queue = Queue(url, name=f"{NAME}{count}", lanes=[f"tenant{n}" for n in range(count)])

        @queue.task(lane="tenant0")
        async def work() -> int:
            return 1

        times: list[float] = []
        async with queue, Worker(queue):
            await (await work.enqueue())
            reset(url)
            for _ in range(50):
                begun = time.perf_counter()
                await (await work.enqueue())
                times.append(time.perf_counter() - begun)
        calls, usec = script_us(url)
        print(
            f"lanes: {count} lanes, a lone job: p50 {percentile(times, 0.5):.2f} ms, "
            f"p99 {percentile(times, 0.99):.2f} ms; {usec / 50000:.2f} ms of scripts a job, "
            f"{calls / 50:.1f} calls"
        )


def ping(url: str, stop: "Event", times: "Connection") -> None:
    """Ask Redis over and over, as another client, and send how long each answer took."""
    client: Any = redis.Redis(port=port_of(url))
    found: list[float] = []
    while not stop.is_set():
        begun = time.perf_counter()
        client.ping()
        found.append(time.perf_counter() - begun)
        time.sleep(0.002)
    times.send(found)


@contextmanager
def pings(url: str) -> Generator[list[float]]:
    """Let another process ask Redis meanwhile; the list has the seconds afterwards."""
    times: list[float] = []
    stop, (ours, theirs) = multiprocessing.Event(), multiprocessing.Pipe()
    process = multiprocessing.Process(target=ping, args=(url, stop, theirs))
    process.start()
    time.sleep(0.5)
    yield times
    stop.set()
    times.extend(ours.recv())
    process.join()


async def fill(queue: Queue, task: Task[[int], None], count: int) -> None:
    """Enqueue many jobs."""
    for start in range(0, count, 10_000):
        end = min(count, start + 10_000)
        await queue.enqueue_many(task.bind(number) for number in range(start, end))


def noop_on(queue: Queue) -> Task[[int], None]:
    """Return a task that does nothing."""

    @queue.task(name="noop")
    async def noop(number: int) -> None:
        pass

    return noop


async def cancel(url: str) -> None:
    """Cancel many jobs that wait, by a filter and one by one."""
    queue = Queue(url, name=NAME)
    noop = noop_on(queue)
    async with queue:
        await fill(queue, noop, CANCELLED)
        reset(url)
        with pings(url) as times:
            begun = time.perf_counter()
            counts = await queue.cancel_many(everything=True)
            elapsed = time.perf_counter() - begun
        calls, usec = script_us(url)
        print(
            f"cancel: {sum(counts.values()):,} jobs in {elapsed:.1f} s: "
            f"{sum(counts.values()) / elapsed:,.0f}/s, {usec / CANCELLED:.1f} us of scripts a job, "
            f"{usec / calls / 1000:.2f} ms a call; PING p50 {percentile(times, 0.5):.2f} ms, "
            f"p99 {percentile(times, 0.99):.2f} ms, longest {max(times) * 1000:.2f} ms"
        )


async def behind(url: str) -> None:
    """Time a new job behind many that were cancelled."""
    queue = Queue(url, name=NAME)
    noop = noop_on(queue)
    async with queue:
        await fill(queue, noop, 50_000)
        await queue.cancel_many(everything=True)
        job = await noop.enqueue(0)
        begun = time.perf_counter()
        async with Worker(queue):
            await job
            elapsed = time.perf_counter() - begun
        print(f"behind: a job behind 50,000 cancelled entries: {elapsed:.2f} s")


async def info(url: str) -> None:
    """Look at a queue in which jobs of many tasks have ended within the window."""
    queue = Queue(url, name=NAME)

    async def noop(number: int) -> None:
        pass

    tasks = [queue.task(name=f"app.tasks.task{number}")(copy_of(noop)) for number in range(10_000)]
    async with queue:
        for start in range(0, len(tasks), 1000):
            await queue.enqueue_many(
                task.bind(0) for _ in range(3) for task in tasks[start : start + 1000]
            )
        await Worker(queue).run(burst=True)
        count, times = 0, list[float]()
        for _ in range(5):
            begun = time.perf_counter()
            count = len((await queue.info()).tasks)
            times.append(time.perf_counter() - begun)
        print(f"info: {count:,} tasks: {percentile(times, 0.5):.0f} ms")


async def parked(url: str) -> None:
    """Time jobs of two tasks in a fleet of which each worker knows one."""
    queues = [Queue(url, name=NAME) for _ in range(2)]

    @queues[0].task(name="one")
    async def one() -> None:
        pass

    @queues[1].task(name="other")
    async def other() -> None:
        pass

    async with queues[0], queues[1], Worker(queues[0]), Worker(queues[1]):
        await asyncio.gather(await one.enqueue(), await other.enqueue())
        await asyncio.sleep(1)  # so that no worker looks for parked jobs by itself just now
        times: list[float] = []

        async def time_one(number: int) -> None:
            begun = time.perf_counter()
            await (await (one, other)[number % 2].enqueue())
            times.append(time.perf_counter() - begun)

        with suppress(TimeoutError):
            async with asyncio.timeout(12):
                for _ in range(20):
                    await asyncio.gather(*(time_one(number) for number in range(10)))
        print(
            f"parked: {len(times)} of 200 jobs done in 12 s: p50 {percentile(times, 0.5):.1f} ms, "
            f"p99 {percentile(times, 0.99):.1f} ms, longest {max(times) * 1000:.1f} ms"
        )


async def wait(url: str) -> None:
    """Let 1,000 calls of ten clients wait for room, beside a queue that has room for all."""
    seconds: dict[int, float] = {}
    late: list[float] = []
    for length in (10_000, 20):
        queues = [
            Queue(url, name=f"{NAME}{length}", max_length=length, when_full="wait")
            for _ in range(10)
        ]
        naps = [nap_on(queue) for queue in queues]
        entered: list[int] = []

        async def enqueue(number: int, naps: Sequence[Task[[], None]], entered: list[int]) -> None:
            # One after the other, each of another client than the one before.
            await asyncio.sleep(number / 2000)
            await (await naps[number % 10].enqueue())
            entered.append(number)

        async with AsyncExitStack() as stack:
            for queue in queues:
                await stack.enter_async_context(queue)
            await stack.enter_async_context(Worker(queues[0], concurrency=10))
            begun = time.perf_counter()
            await asyncio.gather(*(enqueue(number, naps, entered) for number in range(1000)))
            seconds[length] = time.perf_counter() - begun
            late = [abs(place - number) for place, number in enumerate(entered)]
    print(
        f"wait: 1,000 waiters of 10 clients, room for 20: {seconds[20]:.2f} s, room for all: "
        f"{seconds[10_000]:.2f} s; places away from the order of the calls: "
        f"p50 {sorted(late)[500]:.0f}, longest {max(late):.0f}"
    )


def nap_on(queue: Queue) -> Task[[], None]:
    """Return a task that takes a few milliseconds."""

    @queue.task(name="nap")
    async def nap() -> None:
        await asyncio.sleep(0.01)

    return nap


def copy_of(function: Callable[[int], Awaitable[None]]) -> Callable[[int], Awaitable[None]]:
    """Return another function that does the same, as a task is registered once."""

    async def copy(number: int) -> None:
        await function(number)

    return copy


QUESTIONS: dict[str, Measure] = {
    "lanes": lanes,
    "cancel": cancel,
    "behind": behind,
    "info": info,
    "parked": parked,
    "wait": wait,
}


def main() -> None:
    """Ask the questions that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("questions", nargs="*", default=list(QUESTIONS))
    for name in parser.parse_args().questions:
        with running_server() as server:
            asyncio.run(ask(server, name))


async def ask(server: Server, name: str) -> None:
    """Ask one question on an empty server."""
    await QUESTIONS[name](server.url)


if __name__ == "__main__":
    main()
