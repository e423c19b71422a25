"""The side of a measurement that runs inside a contestant's own environment.

Every adapter is a script with the same commands, so the questions need not know
which library they measure::

    python -m benchmarks.peers.arq_adapter worker --url redis://... --jobs 20000
    python -m benchmarks.floor roundtrip --url redis://... --jobs 2000

An adapter brings two things: ``connect``, which opens a :class:`Client`, and
``work``, which runs one worker process until SIGTERM. Loops, clocks and output
are here, once, so no contestant is timed differently from another.

Rules of this file: only the standard library and uvloop, because nothing else
is in every environment; and one JSON object per line on standard output.
"""

import argparse
import asyncio
import json
import logging
import resource
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import uvloop

#: How many jobs a worker may run at once, the same for every contestant.
CONCURRENCY = 100

#: Round trips made before the clock starts: they connect both sides, load the
#: scripts, and prove that the worker is up.
WARM_UP = 200

#: A contestant with round trips of 100 ms makes fewer than it is asked for.
ROUND_TRIP_SECONDS = 15.0
FEWEST_ROUND_TRIPS = 100


class Client(ABC):
    """What a measurement asks of a library's client side."""

    #: Whether the library has a call that enqueues many jobs.
    has_bulk = False

    @abstractmethod
    async def enqueue(self, number: int) -> object:
        """Enqueue ``noop(number)`` and return when Redis has it."""

    @abstractmethod
    async def enqueue_text(self, text: str) -> object:
        """Enqueue ``keep(text)``, a job whose size is known."""

    @abstractmethod
    async def round_trip(self, number: int) -> object:
        """Enqueue ``noop(number)`` and return when its result is here."""

    async def round_trip_in_flight(self, number: int) -> object:
        """Make a round trip while hundreds of others are under way.

        Only a library with a better way for that case overrides this.
        """
        return await self.round_trip(number)

    async def enqueue_many(self, count: int) -> object:
        """Enqueue *count* no-op jobs through the library's bulk call."""
        raise NotImplementedError

    async def start_waiting(self, count: int) -> list[Awaitable[object]]:
        """Enqueue *count* jobs and return one awaitable result for each."""
        raise NotImplementedError


Connect = Callable[[str], AbstractAsyncContextManager[Client]]
Work = Callable[[str], None]


class Bodies:
    """Counts the task bodies this process has run, and notes first and last.

    The drain is timed from the first body to the last one, inside the worker:
    neither the start of the process nor that of a poller is in the figure.
    """

    def __init__(self) -> None:
        self.count = 0
        self.expected = 0  #: bodies after which to report; 0 means never
        self._first = 0.0
        self._first_cpu = 0.0

    def note(self) -> None:
        """Count one body. Every ``noop`` calls this and nothing else."""
        self.count += 1
        if self.count == 1:
            self._first_cpu = time.process_time()
            self._first = time.perf_counter()
        elif self.count == self.expected:
            self._report(time.perf_counter())

    def _report(self, last: float) -> None:
        emit(
            first=self._first,
            last=last,
            count=self.count,
            cpu_seconds=time.process_time() - self._first_cpu,
            peak_rss_bytes=peak_rss_bytes(),
        )


bodies = Bodies()


def main(connect: Connect, work: Work) -> None:
    """Run the command on the command line against this adapter."""
    arguments = _parse(sys.argv[1:])
    # A library that logs every job would be measured by its log lines.
    logging.disable(logging.INFO)
    if arguments.command == "worker":
        bodies.expected = arguments.jobs
        work(arguments.url)
    else:
        uvloop.run(_run_client(connect, arguments))


def emit(**fields: object) -> None:
    """Print one JSON object and make sure the reader sees it now."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def peak_rss_bytes() -> int:
    """Return the most memory this process ever held.

    ``ru_maxrss`` alone will not do on Linux: a child starts with its parent's.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


async def _run_client(connect: Connect, arguments: argparse.Namespace) -> None:
    measure = _MEASUREMENTS[arguments.command]
    async with connect(arguments.url) as client:
        await measure(client, arguments)


async def _fill(client: Client, arguments: argparse.Namespace) -> None:
    """Put jobs into the queue by the quickest way there is; not a measurement."""
    jobs, text = arguments.jobs, "x" * arguments.text
    if text:
        await _gather_each(lambda _: client.enqueue_text(text), range(jobs), arguments.batch)
    elif client.has_bulk:
        await client.enqueue_many(jobs)
    else:
        await _gather_each(client.enqueue, range(jobs), arguments.batch)
    emit(jobs=jobs)


async def _gathered(client: Client, arguments: argparse.Namespace) -> None:
    """Time ``await enqueue`` from many places at once."""
    # The first batch opens the connections of the clients that open one each.
    await _gather_each(client.enqueue, range(arguments.batch), arguments.batch)
    started = time.perf_counter()
    await _gather_each(client.enqueue, range(arguments.jobs), arguments.batch)
    emit(jobs_per_second=arguments.jobs / (time.perf_counter() - started))


async def _many(client: Client, arguments: argparse.Namespace) -> None:
    """Time the bulk call, where there is one."""
    if not client.has_bulk:
        emit()
        return
    await client.enqueue_many(arguments.batch)
    started = time.perf_counter()
    await client.enqueue_many(arguments.jobs)
    emit(jobs_per_second=arguments.jobs / (time.perf_counter() - started))


async def _round_trip(client: Client, arguments: argparse.Namespace) -> None:
    """Time one round trip after the other."""
    await _time_round_trips(client, WARM_UP, ROUND_TRIP_SECONDS / 10)
    elapsed = sorted(await _time_round_trips(client, arguments.jobs, ROUND_TRIP_SECONDS))
    emit(
        p50_ms=1000 * elapsed[len(elapsed) // 2],
        p99_ms=1000 * elapsed[len(elapsed) * 99 // 100],
        round_trips=len(elapsed),
    )


async def _time_round_trips(client: Client, jobs: int, budget: float) -> list[float]:
    elapsed: list[float] = []
    deadline = time.perf_counter() + budget
    for number in range(jobs):
        started = time.perf_counter()
        await client.round_trip(number)
        ended = time.perf_counter()
        elapsed.append(ended - started)
        if ended > deadline and len(elapsed) >= FEWEST_ROUND_TRIPS:
            break
    return elapsed


async def _in_flight(client: Client, arguments: argparse.Namespace) -> None:
    """Time round trips with a full window of them always under way."""
    await _keep_in_flight(client, iter(range(arguments.window)), arguments.window)
    started = time.perf_counter()
    await _keep_in_flight(client, iter(range(arguments.jobs)), arguments.window)
    emit(jobs_per_second=arguments.jobs / (time.perf_counter() - started))


async def _keep_in_flight(client: Client, numbers: Iterator[int], window: int) -> None:
    async def lane() -> None:
        for number in numbers:
            await client.round_trip_in_flight(number)

    await asyncio.gather(*(lane() for _ in range(window)))


async def _await_all(client: Client, arguments: argparse.Namespace) -> None:
    """Wait for all results at once; say when everything is waiting."""
    results = await client.start_waiting(arguments.jobs)
    waiting = asyncio.gather(*results, return_exceptions=True)
    # No worker runs yet, so after this moment every one of them really waits.
    await asyncio.sleep(1)
    emit(waiting=len(results))
    answers = await waiting
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    emit(arrived=len(answers) - len(failures), failures=[repr(f) for f in failures[:3]])


async def _gather_each(
    call: Callable[[int], Awaitable[object]], numbers: range, batch: int
) -> None:
    for start in range(0, len(numbers), batch):
        await asyncio.gather(*map(call, numbers[start : start + batch]))


_MEASUREMENTS: dict[str, Callable[[Client, argparse.Namespace], Awaitable[None]]] = {
    "fill": _fill,
    "gathered": _gathered,
    "many": _many,
    "roundtrip": _round_trip,
    "inflight": _in_flight,
    "awaits": _await_all,
}


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("worker", *_MEASUREMENTS))
    parser.add_argument("--url", required=True)
    parser.add_argument("--jobs", type=int, default=0, help="a worker reports after this many")
    parser.add_argument("--batch", type=int, default=1000, help="enqueues awaited at once")
    parser.add_argument("--window", type=int, default=500, help="round trips under way at once")
    parser.add_argument("--text", type=int, default=0, help="fill with texts of this length")
    return parser.parse_args(arguments)
