"""What does a command cost this process, by redis-py's client and by our own link?

One command (an XADD of a job of 90 bytes) is sent in pipelines of 100 and one at
a time, against a Redis of the benchmark's own. Counted is this process's own CPU
time, so that neither the server nor the network is in the figures.

    python -m benchmarks.link [--rounds 7] [--json]
"""

import argparse
import asyncio
import json
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import redis
import uvloop
from redis.asyncio import Redis

from aiostreamq.store.connection.connector import connector_for
from benchmarks.machine import describe
from benchmarks.server import running_server

PAYLOAD = (
    b'{"v":1,"task":"noop","args":[123456],"kwargs":{"note":"as long as a small job usually is"}}'
)
COMMAND = ("XADD", "s", "MAXLEN", "~", "1000", "*", "id", "0" * 28, "n", "1", "job", PAYLOAD)

IN_A_PIPELINE = 100
PIPELINES = 100
LONE = 3_000

Way = Callable[[], Awaitable[None]]


async def cpu_us(way: Way, commands: int) -> float:
    """Return the microseconds of our own CPU that each of *commands* takes."""
    started = time.process_time()
    await way()
    return (time.process_time() - started) / commands * 1e6


async def measure(url: str) -> dict[str, float]:
    """Measure every way once."""
    client = Redis.from_url(url)
    link = await connector_for(url).open_link("bench")

    async def pipelined_client() -> None:
        for _ in range(PIPELINES):
            pipeline = client.pipeline(transaction=False)
            for _ in range(IN_A_PIPELINE):
                pipeline.execute_command(*COMMAND)
            await pipeline.execute()

    async def pipelined_link() -> None:
        for _ in range(PIPELINES):
            replies = [link.call(*COMMAND) for _ in range(IN_A_PIPELINE)]
            await replies[-1]  # they come in order

    async def lone_client() -> None:
        for _ in range(LONE):
            await client.execute_command(*COMMAND)

    async def lone_link() -> None:
        for _ in range(LONE):
            await link.call(*COMMAND)

    await client.ping()
    try:
        return {
            "pipelined, redis-py": await cpu_us(pipelined_client, PIPELINES * IN_A_PIPELINE),
            "pipelined, link": await cpu_us(pipelined_link, PIPELINES * IN_A_PIPELINE),
            "alone, redis-py": await cpu_us(lone_client, LONE),
            "alone, link": await cpu_us(lone_link, LONE),
        }
    finally:
        link.close()
        await client.aclose()


def medians(url: str, rounds: int, *, use_uvloop: bool) -> dict[str, float]:
    """Measure every way in every round; the first round only warms up."""
    factory = uvloop.new_event_loop if use_uvloop else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        seen = [runner.run(measure(url)) for _ in range(rounds + 1)][1:]
    return {way: statistics.median(row[way] for row in seen) for way in seen[0]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    with running_server() as server:
        machine = describe(platform.python_version(), server.version)
        machine["redis-py"] = redis.__version__
        machine["uvloop"] = uvloop.__version__
        found = {
            name: medians(server.url, told.rounds, use_uvloop=name == "uvloop")
            for name in ("asyncio", "uvloop")
        }
    if told.json:
        json.dump({"machine": machine, "cpu_us": found}, sys.stdout, indent=2)
        print()
        return
    print("  ".join(f"{what} {value}" for what, value in machine.items()))
    print(f"CPU microseconds a command, medians of {told.rounds} rounds\n")
    print(f"{'':<22}{'asyncio':>10}{'uvloop':>10}")
    for way in found["asyncio"]:
        print(f"{way:<22}{found['asyncio'][way]:>10.1f}{found['uvloop'][way]:>10.1f}")


if __name__ == "__main__":
    main()
