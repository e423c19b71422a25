"""Connections are cut at every place of a reply."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from aiostreamq import Queue
from aiostreamq.aio.own_tasks import spawn
from aiostreamq.model.delivery import Delivery, EntryRef, RetryRequest, Settlement, WaiterMode
from aiostreamq.model.job_state import JobState
from aiostreamq.model.stats import kind_of
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.store.lane_reader import LaneReader
from aiostreamq.store.pauses import PauseStore
from aiostreamq.store.results import Subscription
from aiostreamq.worker.fetch.burst_end import BurstWait
from aiostreamq.worker.fetch.held_source import HeldSource
from aiostreamq.worker.fetch.reader import Reader
from aiostreamq.worker.held_bytes import HeldBytes
from aiostreamq.worker.reroute.overflow_source import Overflow
from aiostreamq.worker.reroute.pauses import Pauses
from aiostreamq.worker.run.backlog import Progress
from aiostreamq.worker.settings import LEASE, MAX_HELD_BYTES
from tests.chaos import detours
from tests.chaos.bench import Bench, Call, Step
from tests.chaos.report import Line, Report
from tests.chaos.scale import IS_LONG
from tests.support.ends import recent, states
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import DEADLINE, HOUR_MS, outcome_of
from tests.support.waiting import wait_until

#: In the short form, replies are cut at each of the first so many places...
ALL_UP_TO = 24
#: ...and at each so-many-th from there on.
STRIDE = 9


async def enqueue(bench: Bench) -> Call:
    """A job is put in once."""
    job, before = bench.new_id(), await bench.waiting()

    async def call() -> int:
        await bench.spoiled.enqueue(job)
        return await bench.waiting() - before

    return call


async def delay(bench: Bench) -> Call:
    """A job for later is kept once."""
    job, delayed = bench.new_id(), bench.direct.keys.delayed

    async def call() -> int:
        entry = (job, "default", WaiterMode.NOBODY, "+3600000", b"{}")
        await DelayedJobs(bench.spoiled.queue).delay([entry], "me", DEADLINE)
        found = await bench.direct.call("ZCARD", delayed)
        await bench.direct.call("DEL", delayed)
        return cast("int", found)

    return call


async def promote(bench: Bench) -> Call:
    """What is due is in its stream once."""
    job, before = bench.new_id(), await bench.waiting()
    entry = (job, "default", WaiterMode.NOBODY, "1", b"{}")
    await DelayedJobs(bench.direct.queue).delay([entry], "me", DEADLINE)

    async def call() -> int:
        await DelayedJobs(bench.spoiled.queue).promote()
        return await bench.waiting() - before

    return call


async def subscribe_before(bench: Bench) -> Call:
    """Whoever asks in time is told."""
    delivery = await bench.delivered()

    async def call() -> int:
        told = await bench.spoiled.results.subscribe("me", [delivery.job_id])
        return int(told == [Subscription.WILL_TELL])

    return call


async def subscribe_after(bench: Bench) -> Call:
    """Whoever asks late gets the outcome, whole."""
    delivery = await bench.delivered()
    await bench.direct.settle(delivery)

    async def call() -> int:
        told = await bench.spoiled.results.subscribe("me", [delivery.job_id])
        return int(told == [outcome_of(delivery)])

    return call


async def settle(bench: Bench) -> Call:
    """An end is told once, and is not refused when it is told again."""
    delivery = await bench.delivered(WaiterMode.CALLER)
    inbox = bench.direct.keys.inbox("me")
    await bench.direct.call("DEL", inbox)

    async def call() -> int:
        assert await bench.spoiled.settle(delivery) == []
        result = bench.direct.keys.result(delivery.job_id)
        assert await bench.direct.call("GET", result) == outcome_of(delivery)
        return cast("int", await bench.direct.call("LLEN", inbox))

    return call


async def count(bench: Bench) -> Call:
    """How a job ended is counted once."""
    delivery, store = await bench.delivered(), bench.direct
    task = f"t{delivery.job_id}"
    batch = [Settlement(delivery, HOUR_MS, b"", kind=kind_of(task, JobState.DONE, None))]

    async def call() -> int:
        await bench.spoiled.deliveries.record_stats(batch, f"w{delivery.job_id}", 1)
        assert [one.task for one in await recent(store)].count(task) == 1
        return (await states(store))[task, JobState.DONE]

    return call


async def cancel(bench: Bench) -> Call:
    """A job that is cancelled before it runs is told of, and counted, once."""
    job, store = bench.new_id(), bench.direct
    envelope = b'{"task":"t%b"}' % job.encode()
    await store.enqueue(job, mark=WaiterMode.CALLER, envelope=envelope)
    inbox = store.keys.inbox("me")
    await store.call("DEL", inbox)

    async def call() -> int:
        await Cancellation(bench.spoiled.queue).cancel([job])
        assert (await states(store))[f"t{job}", JobState.CANCELLED] == 1
        return cast("int", await store.call("LLEN", inbox))

    return call


async def retry(bench: Bench) -> Call:
    """A job that is to run again is there once."""
    delivery = await bench.delivered()
    before = await bench.waiting()

    async def call() -> int:
        # Said again, it is refused as not ours any more: nothing is done twice.
        await DelayedJobs(bench.spoiled.queue).retry([RetryRequest(delivery, 0)])
        return await bench.waiting() - before + 1

    return call


async def hand_back(bench: Bench) -> Call:
    """A job that was given up unfinished is there once."""
    delivery = await bench.delivered()
    before = await bench.waiting()

    async def call() -> int:
        await bench.spoiled.deliveries.requeue([delivery])
        return await bench.waiting() - before + 1

    return call


async def renew(bench: Bench) -> Call:
    """A beat that is shown twice still is a sign of life."""
    await bench.direct.workers.join("w", 1_000)

    async def call() -> int:
        return int(await bench.spoiled.workers.renew("w", 1_000))

    return call


@dataclass
class Taken:
    """Stands for the executor and all that holds deliveries, and runs nothing."""

    concurrency: int = 1
    finished: int = 0
    is_closed: bool = False
    running: list[Delivery] = field(default_factory=list[Delivery])
    fetched: int = 0
    is_idle: bool = False
    progress: Progress = field(default_factory=Progress)  # nothing ever ends

    def accept(self, deliveries: list[Delivery], cancelled: Sequence[Delivery] = ()) -> None:
        """Take deliveries over."""
        assert not cancelled
        self.running += deliveries

    @property
    def refused(self) -> int:
        """How many ends Redis refuses."""
        return 0

    def keys(self) -> set[EntryRef]:
        """Return what is known here."""
        return {(delivery.stream, delivery.entry) for delivery in self.running}

    async def join(self) -> None:
        """Wait for nothing."""


async def read(bench: Bench) -> Call:
    """A job that was sent over a connection that broke is taken up once."""
    taken, worker = Taken(), f"reader{bench.new_id()}"
    broker = bench.spoiled.queue
    intake = LaneReader(broker, {"default": 1, "slow": 1}, strict=False)
    reader = Reader(
        broker,
        intake,
        worker,
        taken,
        taken,
        LEASE,
        lambda _: None,
        Overflow({}, {}, lambda: 0, lambda: None, lambda _: False),
        BurstWait(bench.spoiled.workers, worker, [], LEASE),
        HeldBytes(MAX_HELD_BYTES, taken.concurrency, lambda _: None),
        HeldSource(
            broker, worker, {}, [], Pauses(PauseStore(broker), lambda: None), lambda: None, None
        ),
    )
    reading = spawn(reader.run())

    bench.at_end(lambda: reader.aclose(reading))
    await wait_until(lambda: bench.is_blocked("xreadgroup"), "the reader to wait")

    async def call() -> int:
        job = bench.new_id()
        await bench.direct.enqueue(job)
        await wait_until(lambda: taken.running, "the job to arrive")
        return [delivery.job_id for delivery in taken.running].count(job)

    return call


async def wait(bench: Bench) -> Call:
    """Who awaits a job gets its outcome, although the notice is lost."""
    delivery = await bench.delivered()
    queue = Queue(bench.proxy.url, name=bench.name)
    bench.at_end(queue.aclose)
    result = asyncio.ensure_future(queue.job(delivery.job_id).result())

    async def is_waiting() -> bool:
        job = bench.direct.keys.job(delivery.job_id)
        return await bench.is_blocked("blpop") and bool(await bench.direct.call("HGET", job, "w"))

    await wait_until(is_waiting, "the client to wait")

    async def call() -> int:
        await bench.direct.settle(delivery)
        return int(await result == delivery.job_id)

    return call


STEPS: tuple[Step, ...] = (
    enqueue, delay, promote, subscribe_before, subscribe_after, settle, count, cancel, retry,
    hand_back, renew, read, wait, *detours.STEPS,
)  # fmt: skip


class Tally:
    """What came of all cuts."""

    def __init__(self) -> None:
        self.cuts = 0
        self.lost: list[str] = []
        self.twice: list[str] = []
        self.slowest = 0.0  # seconds

    def add(self, what: str, count: int, took: float) -> None:
        """Note that *what* has come about *count* times."""
        self.cuts += 1
        self.slowest = max(self.slowest, took)
        if count < 1:
            self.lost.append(what)
        if count > 1:
            self.twice.append(what)


async def measure(bench: Bench, step: Step) -> int:
    """Return the length of the reply, when nothing is cut."""
    async with bench.case():
        call = await step(bench)
        before = bench.proxy.reply_bytes
        assert await call() == 1
        return bench.proxy.reply_bytes - before


async def cut_everywhere(server: RedisServer, step: Step, tally: Tally) -> None:
    """Take a step with its reply cut at each place."""
    async with Proxy(server.port) as proxy, Bench(server, proxy, step.__name__) as bench:
        await measure(bench, step)  # loads the script
        length = await measure(bench, step)
        assert length
        for place in range(length + 1):
            if not IS_LONG and place > ALL_UP_TO and place % STRIDE:
                continue
            async with bench.case(), asyncio.timeout(20):
                call = await step(bench)
                proxy.cut_after(place)
                started = time.monotonic()
                count = await call()
                tally.add(f"{step.__name__} at {place}", count, time.monotonic() - started)
                proxy.mend()
        await measure(bench, step)  # everything works as before


async def test_replies_are_cut_everywhere(server: RedisServer, report: Report) -> None:
    """Wherever a reply ends, nothing is lost and nothing happens twice."""
    tally = Tally()
    await asyncio.gather(*(cut_everywhere(server, step, tally) for step in STEPS))
    report.add(
        Line(
            "cuts",
            "connections cut at every byte of a reply",
            tally.cuts,
            f"{tally.cuts} cuts in the replies of {len(STEPS)} commands",
            lost=len(tally.lost),
            duplicates=len(tally.twice),
            recovery=tally.slowest,
        )
    )
    assert (tally.lost, tally.twice) == ([], [])
