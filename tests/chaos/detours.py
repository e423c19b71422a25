"""Steps of jobs that do not go straight through a queue, and of the workers that they meet."""

from typing import cast

from aiostreamq.model.delivery import Delivery, Settlement, WaiterMode
from aiostreamq.model.job_events import Emission
from aiostreamq.model.keys import GROUP
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.model.schedules.definition import Definition, Rules
from aiostreamq.model.schedules.timing import Every
from aiostreamq.store.dead_letters import DeadLetterStore, Replay
from aiostreamq.store.job_events import EventStreams
from aiostreamq.store.parking import ParkedJobs
from aiostreamq.store.schedules import ScheduleStore, Tick
from tests.chaos.bench import Bench, Call, Step
from tests.support.store import ENVELOPE, HOUR_MS, outcome_of

LEASE_MS = 1_000
MAX_WORKER_DEATHS = 3


async def park(bench: Bench) -> Call:
    """A job that nobody knows is set aside once."""
    delivery = await bench.delivered()
    task = f"t{delivery.job_id}"

    async def call() -> int:
        await ParkedJobs(bench.spoiled.queue).park([(delivery, task)])
        return cast("int", await bench.direct.call("XLEN", bench.direct.keys.parked_for(task)))

    return call


async def release(bench: Bench) -> Call:
    """A job that was set aside is back in a stream once."""
    delivery = await bench.delivered()
    task, before = f"t{delivery.job_id}", await bench.waiting()
    await ParkedJobs(bench.direct.queue).park([(delivery, task)])

    async def call() -> int:
        await ParkedJobs(bench.spoiled.queue).unpark([task])
        return await bench.waiting() - before + 1

    return call


async def bury(bench: Bench) -> Call:
    """What nobody can read leaves one letter."""
    delivery, before = await bench.delivered(), await letters(bench)

    async def call() -> int:
        entries, reason = [(delivery.stream, delivery.entry)], encode_unreadable("no")
        await bench.spoiled.deliveries.dead_letter_unreadable(entries, reason, "w")
        return await letters(bench) - before

    return call


async def fail(bench: Bench) -> Call:
    """What failed for good leaves one letter."""
    delivery, before = await bench.delivered(), await letters(bench)

    async def call() -> int:
        await bench.spoiled.deliveries.settle([failure(delivery)], "w")
        return await letters(bench) - before

    return call


async def replay(bench: Bench) -> Call:
    """A job that failed is there once more, and its letter is gone."""
    delivery = await bench.delivered()
    await bench.direct.deliveries.settle([failure(delivery)], "w")
    ((letter, _),) = cast(
        "list[tuple[bytes, object]]",
        await bench.direct.call("XREVRANGE", bench.direct.keys.dead, "+", "-", "COUNT", 1),
    )
    stream = bench.direct.queue.place_of("default")
    revival = Replay(letter.decode(), delivery.job_id, stream, WaiterMode.NOBODY, ENVELOPE, b"[]")
    waiting, dead = await bench.waiting(), await letters(bench)

    async def call() -> int:
        await DeadLetterStore(bench.spoiled.queue).replay([revival])
        assert await letters(bench) == dead - 1
        return await bench.waiting() - waiting

    return call


async def reap(bench: Bench) -> Call:
    """What a dead worker had is there for another, once."""
    name = f"gone{bench.new_id()}"
    await bench.direct.workers.join(name, LEASE_MS)
    job, roster = bench.new_id(), bench.spoiled.workers
    await bench.direct.enqueue(job)
    assert [one.job_id for one in await bench.direct.read(name)] == [job]
    beat = (await bench.direct.hash_at(bench.direct.keys.workers))[name]

    async def call() -> int:
        while (await roster.recover(name, beat, MAX_WORKER_DEATHS)).finished == 0:
            pass
        return [(one.job_id, one.number) for one in await bench.direct.read()].count((job, 2))

    return call


async def mark(bench: Bench) -> Call:
    """That a job is about to run is noted."""
    delivery = await bench.delivered()

    async def call() -> int:
        assert await bench.spoiled.workers.note_suspect_run(delivery)
        key = bench.direct.keys.job(delivery.job_id)
        return int(await bench.direct.call("HGET", key, "x") == b"%d" % delivery.number)

    return call


async def leave(bench: Bench) -> Call:
    """A worker that leaves is forgotten."""
    name, direct = f"last{bench.new_id()}", bench.direct
    await direct.workers.join(name, LEASE_MS)
    stream = direct.keys.stream("default")
    await direct.call("XGROUP", "CREATECONSUMER", stream, GROUP, name)

    async def call() -> int:
        await bench.spoiled.workers.deregister(name)
        is_known = await direct.call("HEXISTS", direct.keys.workers, name)
        return int(not is_known and name not in await direct.consumers())

    return call


async def emit(bench: Bench) -> Call:
    """What a running job says is there once."""
    delivery = await bench.delivered()

    async def call() -> int:
        said = Emission(delivery, 1, 0, HOUR_MS, "size", b"[[1]]")
        assert await EventStreams(bench.spoiled.queue).emit([said]) == []
        return len(await bench.direct.stream_at(bench.direct.keys.events(delivery.job_id)))

    return call


async def tick(bench: Bench) -> Call:
    """A tick of a schedule is one job."""
    job, before = bench.new_id(), await bench.waiting()
    definition = Definition("size", Every(1_000), Rules(), '{"task":"size"}', "default", "0")
    table = ScheduleStore(bench.direct.queue)
    assert await table.put(job, definition.encode(), 5_000, 5, replace=False) == 1
    state = await table.get(job)
    assert state is not None
    one = Tick(
        job, state.rev, 5_000, None, 6_000, 5_000, job, "default", WaiterMode.NOBODY, 0, "allow", 0,
        ENVELOPE,
    )  # fmt: skip

    async def call() -> int:
        await ScheduleStore(bench.spoiled.queue).fire([one])
        return await bench.waiting() - before

    return call


async def letters(bench: Bench) -> int:
    """Return how many dead letters there are."""
    return cast("int", await bench.direct.call("XLEN", bench.direct.keys.dead))


def failure(delivery: Delivery) -> Settlement:
    """Return an end that leaves a letter."""
    return Settlement(delivery, HOUR_MS, outcome_of(delivery), is_dead=True)


STEPS: tuple[Step, ...] = (
    park, release, bury, fail, replay, reap, mark, leave, emit, tick,
)  # fmt: skip
