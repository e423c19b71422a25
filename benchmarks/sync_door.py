"""How fast does one thread enqueue without an event loop, beside redis-py's blocking XADD?

The thread enqueues one job at a time with `queue.sync.enqueue`, and adds one entry at a time with
`Redis.xadd`, in turns of a short while each, so that a busy machine slows both. Below are four
threads that enqueue at once, and one `asyncio.run` for each job.

    python -m benchmarks.sync_door [--rounds 20] [--json]
"""

import argparse
import asyncio
import json
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redis

from aiostreamq import Queue
from benchmarks.machine import describe
from benchmarks.server import running_server

AT_A_TIME = 300
BY_RUN = 20
THREADS = 4

PAYLOAD = (
    b'{"v":1,"task":"noop","args":[123456],"kwargs":{"note":"as long as a small job usually is"}}'
)


def per_second(way: Callable[[int], object], times: int) -> float:
    """Return how often *way* can be called in a second."""
    started = time.perf_counter()
    for n in range(times):
        way(n)
    return times / (time.perf_counter() - started)


def measure(url: str, rounds: int) -> dict[str, float]:
    """Return the median rates, and that of the ratio in each round."""
    queue = Queue(url)

    @queue.task
    async def noop(n: int, note: str) -> None:
        del n, note

    sync, client = queue.sync, redis.Redis.from_url(url)
    by_run = Queue(url)
    found: dict[str, list[float]] = {}

    def enqueue(n: int) -> object:
        return sync.enqueue(noop, n, note="as long as a small job usually is")

    def enqueue_by_run(n: int) -> object:
        return asyncio.run(by_run.enqueue("noop", n))

    def enqueue_in_threads() -> float:
        with ThreadPoolExecutor(THREADS) as pool:
            started = time.perf_counter()
            list(pool.map(enqueue, range(THREADS * AT_A_TIME)))
            return THREADS * AT_A_TIME / (time.perf_counter() - started)

    per_second(enqueue, AT_A_TIME)
    for _ in range(rounds):
        xadd = per_second(lambda _: client.xadd("s", {"job": PAYLOAD}), AT_A_TIME)
        door = per_second(enqueue, AT_A_TIME)
        figures = {
            "queue.sync.enqueue": door,
            "redis-py XADD": xadd,
            "ratio": door / xadd,
            f"{THREADS} threads": enqueue_in_threads(),
            "asyncio.run each": per_second(enqueue_by_run, BY_RUN),
        }
        for name, figure in figures.items():
            found.setdefault(name, []).append(figure)
    sync.close()
    return {name: statistics.median(figures) for name, figures in found.items()}


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with running_server() as server:
        found = measure(server.url, args.rounds)
        machine = describe(platform.python_version(), server.version)
    if args.json:
        print(json.dumps({"machine": machine, "medians": found}, indent=2))
        return
    print("  ".join(f"{what} {value}" for what, value in machine.items()))
    for name, figure in found.items():
        print(f"{name:20} {figure:10,.2f}" if name == "ratio" else f"{name:20} {figure:10,.0f} /s")


if __name__ == "__main__":
    main()
