"""How does a large queue cost: many lanes, many cancelled jobs, many tasks, many who wait?

One question by name, or all: `python -m benchmarks.large lanes cancel`. To compare with another
commit, copy this file into its checkout and run it there: it uses the public face alone.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis

from aiostreamq import Queue, Worker
from benchmarks.server import Server, running_server

NAME = "large"

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


QUESTIONS: dict[str, Measure] = {"lanes": lanes}


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
