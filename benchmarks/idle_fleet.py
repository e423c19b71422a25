"""What does a large fleet of idle workers cost Redis, and does it grow with their number?

python -m benchmarks.idle_fleet --workers 1000 --processes 4

Each worker is a whole `Worker` with its connections and its heartbeat; a process holds many of
them. The figures are per worker and second.
"""

import argparse
import asyncio
import logging
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import redis

PORT = 7391

#: Seconds for the beats and looks of the workers to spread out.
QUIET_SECONDS = 5.0

READY = "ready"


async def hold(url: str, count: int, lease: float) -> None:
    """Be one process of the fleet, until the standard input ends."""
    # Not at the top: the process that measures needs no aiostreamq.
    from aiostreamq import Queue, Worker

    logging.disable(logging.CRITICAL)
    async with AsyncExitStack() as stack:
        for _ in range(count):
            queue = await stack.enter_async_context(Queue(url, name="idle"))
            await stack.enter_async_context(Worker(queue, lease=lease))
        print(READY, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        stack.pop_all()  # to end 1,000 workers one by one would take minutes


def measure(options: argparse.Namespace) -> None:
    """Start Redis and the fleet, watch both, and print what was seen."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        command = ["redis-server", "--port", str(PORT), "--save", "", "--dir", folder]
        server = subprocess.Popen([*command, "--maxclients", "12000"], stdout=subprocess.DEVNULL)
        stack.callback(server.kill)
        time.sleep(0.5)
        share = options.workers // options.processes
        arguments = ["-m", "benchmarks.idle_fleet", "--hold", str(share)]
        arguments += ["--lease", str(options.lease)]
        for _ in range(options.processes):
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline().strip() == READY
        time.sleep(QUIET_SECONDS)
        client: Any = redis.Redis(port=PORT)
        client.config_resetstat()
        before, begun = client.info("all"), time.perf_counter()
        time.sleep(options.seconds)
        after, took = client.info("all"), time.perf_counter() - begun
        report(before, after, took, share * options.processes)


def report(before: dict[str, Any], after: dict[str, Any], took: float, workers: int) -> None:
    """Print what happened between two moments."""
    calls = {
        name.removeprefix("cmdstat_"): stats["calls"]
        for name, stats in after.items()
        if name.startswith("cmdstat_")
    }
    outside = sum(calls.get(name, 0) for name in ("evalsha", "xreadgroup", "xread", "exists"))
    net = sum(
        after[name] - before[name] for name in ("total_net_input_bytes", "total_net_output_bytes")
    )
    cpu = sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys"))
    print(f"{workers} workers, {took:.0f} s, per worker and second:")
    print(f"  {outside / took / workers:.2f} commands by clients")
    print(f"  {sum(calls.values()) / took / workers:.2f} with those that scripts call")
    print(f"  {net / took / workers / 1024:.2f} KiB to and from Redis")
    print(f"  Redis: {100 * cpu / took:.1f} % of a core in all")


def main() -> None:
    """Read the options, and measure or be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--lease", type=float, default=15.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--hold", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if options.hold:
        asyncio.run(hold(f"redis://127.0.0.1:{PORT}", options.hold, options.lease))
    else:
        measure(options)


if __name__ == "__main__":
    main()
