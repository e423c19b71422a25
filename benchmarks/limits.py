"""What do limits cost: a drain, a wake, many that wait, many workers, and memory?

One question by name, or all: `python -m benchmarks.limits drain wake`. The questions need no other
queue; each starts on an empty server.
"""

import argparse
import asyncio
import logging
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import redis

from aiostreamq import Concurrency, Queue, Rate, Task, Worker
from benchmarks.large import fill, noop_on, percentile, port_of, reset
from benchmarks.server import running_server

NAME = "limits"

Measure = Callable[[str], Awaitable[None]]


def limited_on(queue: Queue, limits: Sequence[Concurrency | Rate]) -> Task[[int], None]:
    """Return a task that does nothing, under *limits*."""

    @queue.task(name="limited", limits=limits)
    async def limited(number: int) -> None:
        pass

    return limited


async def time_drain(url: str, name: str, limits: Sequence[Concurrency | Rate], jobs: int) -> float:
    """Return how many jobs a second a burst worker runs."""
    queue = Queue(url, name=name)
    task = limited_on(queue, limits) if limits else noop_on(queue)
    async with queue:
        await fill(queue, task, jobs)
        begun = time.perf_counter()
        await Worker(queue, concurrency=100).run(burst=True)
        return jobs / (time.perf_counter() - begun)


async def drain(url: str) -> None:
    """Drain jobs that no limit stops, beside as many plain ones, in turn."""
    many_keys: list[float] = []
    one_key: list[float] = []
    for number in range(5):
        plain = await time_drain(url, f"p{number}", [], 10_000)
        keyed = await time_drain(url, f"k{number}", [Concurrency(2, key="number")], 10_000)
        many_keys.append(keyed / plain)
        plain = await time_drain(url, f"q{number}", [], 50_000)
        single = await time_drain(url, f"s{number}", [Concurrency(1_000_000)], 50_000)
        one_key.append(single / plain)
    for what, ratios in (("10,000 keys, a job each", many_keys), ("one key, 50,000", one_key)):
        print(
            f"drain: {what}: {statistics.median(ratios):.2f} x plain jobs "
            f"({min(ratios):.2f} to {max(ratios):.2f} in 5 rounds)"
        )


async def wake(url: str) -> None:
    """Time from the end of a body to the start of the next one, which waits for its permit."""
    queue = Queue(url, name=NAME)
    ended, gaps = 0.0, list[float]()

    @queue.task(limits=[Concurrency(1)])
    async def hold() -> None:
        nonlocal ended
        if ended:
            gaps.append(time.perf_counter() - ended)
        await asyncio.sleep(0.005)
        ended = time.perf_counter()

    async with queue, AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(Worker(queue))
        await asyncio.gather(*await queue.enqueue_many(hold.bind() for _ in range(500)))
    print(
        f"wake: from the end of a body to the start of the next, 4 idle workers: "
        f"p50 {percentile(gaps, 0.5):.2f} ms, p99 {percentile(gaps, 0.99):.2f} ms"
    )


async def commands_a_second(url: str, seconds: float) -> float:
    """Return how many commands clients send, beside those of scripts."""
    client: Any = redis.Redis(port=port_of(url))
    reset(url)
    await asyncio.sleep(seconds)
    stats = client.info("commandstats")
    sent = ("evalsha", "xreadgroup", "xread", "exists", "blpop")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in sent) / seconds


async def blocked(url: str) -> None:
    """Count what a worker asks while 10,000 keys wait for room."""
    queue = Queue(url, name=NAME)
    task = limited_on(queue, [Concurrency(1, key="number")])
    async with queue:
        await queue.limits.set("limited.number:*", Concurrency(0))
        async with Worker(queue):
            await asyncio.sleep(2)
            before = await commands_a_second(url, 10)
            await fill(queue, task, 10_000)
            await asyncio.sleep(2)
            after = await commands_a_second(url, 10)
    print(
        f"blocked: an idle worker sends {before:.1f} commands/s, "
        f"with 10,000 blocked keys {after:.1f}"
    )


async def herd(url: str) -> None:
    """Count the calls of 200 workers that wait for one rate."""
    workers, seconds, starts = 200, 10.0, list[float]()
    queue = Queue(url, name=NAME)

    @queue.task(limits=[Rate("100/s", burst=1)])
    async def start() -> None:
        starts.append(time.perf_counter())

    async with queue, AsyncExitStack() as stack:
        for _ in range(workers):
            await stack.enter_async_context(Worker(queue, concurrency=4))
        await asyncio.sleep(5)
        idle = await commands_a_second(url, seconds)
        await queue.enqueue_many(start.bind() for _ in range(3000))
        await asyncio.sleep(2)
        del starts[:]
        busy = await commands_a_second(url, seconds)
        rate = len(starts) / seconds
        gaps = [1000 * (late - early) for early, late in pairwise(starts)]
        await queue.cancel_many(everything=True)
    print(
        f"herd: {workers} workers: {idle:.0f} commands/s idle, {busy:.0f} at {rate:.1f} starts/s "
        f"of 100; between starts p50 {statistics.median(gaps):.1f} ms"
    )


async def memory(url: str) -> None:
    """Compare the memory of held jobs with that of delayed ones."""
    client: Any = redis.Redis(port=port_of(url))

    async def weigh(name: str, keys: int, *, is_held: bool) -> float:
        jobs = 10_000
        queue = Queue(url, name=name)

        @queue.task(name="weigh", limits=[Concurrency(1, key="key")] if is_held else [])
        async def weigh(key: int, text: str) -> None:
            pass

        async with queue:
            await weigh.using(delay=3600).enqueue(0, "")
            before = client.info("memory")["used_memory"]
            call = weigh if is_held else weigh.using(delay=3600)
            await queue.enqueue_many(call.bind(number % keys, "x" * 50) for number in range(jobs))
        return (client.info("memory")["used_memory"] - before) / jobs

    delayed = await weigh("delayed", 1, is_held=False)
    for keys in (10_000, 1_000, 1):
        held = await weigh(f"held{keys}", keys, is_held=True)
        print(
            f"memory: {10_000 // keys:,} jobs a key: {held:.0f} B a held job, "
            f"{held - delayed:+.0f} beside a delayed one ({delayed:.0f})"
        )


async def info(url: str) -> None:
    """Look at a queue with 100,000 backlogs, of 20 limits each."""
    queue = Queue(url, name=NAME)
    async with queue:
        for start in range(10):
            names = [f"l{start}.{number}" for number in range(20)]
            rules = [Concurrency(1, name=name, key="number") for name in names]
            task = queue.task(name=f"limited{start}", limits=rules)(_noop_of())
            await queue.enqueue_many(task.bind(number) for number in range(10_000))
        times: list[float] = []
        for _ in range(5):
            begun = time.perf_counter()
            await queue.info()
            times.append(time.perf_counter() - begun)
    print(f"info: 100,000 backlogs: {percentile(times, 0.5):.0f} ms")


def _noop_of() -> Callable[[int], Awaitable[None]]:
    async def noop(number: int) -> None:
        pass

    return noop


QUESTIONS: dict[str, Measure] = {
    "drain": drain,
    "wake": wake,
    "blocked": blocked,
    "herd": herd,
    "memory": memory,
    "info": info,
}


def main() -> None:
    """Ask the questions that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("questions", nargs="*", default=list(QUESTIONS))
    logging.disable(logging.WARNING)  # Redis keeps nothing on disk here
    for name in parser.parse_args().questions:
        with running_server() as server:
            asyncio.run(_ask(server.url, name))


async def _ask(url: str, name: str) -> None:
    await QUESTIONS[name](url)


if __name__ == "__main__":
    main()
