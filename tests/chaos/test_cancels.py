"""Jobs are cancelled wherever they are, while workers and those who cancel are hit."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial
from typing import NamedTuple

from redis.asyncio import Redis

from aiostreamq import JobCancelled, JobState, Queue
from tests.chaos import invariants
from tests.chaos.app import NAME, Run, queue, work, work_aside, work_in_bulk
from tests.chaos.ending import Ending
from tests.chaos.fleet import Fault, Fleet
from tests.chaos.killing import STUBBORN, kill_at_random
from tests.chaos.lags import watched_lags
from tests.chaos.ledger import Book, Ledger
from tests.chaos.load import Load
from tests.chaos.rhythm import now_and_then, pause_about
from tests.chaos.scale import sized
from tests.support.processes import Program
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

KILLS = sized(short=3, long=30)
WORKERS = 4
SLOTS = 10  # of each worker

#: How many of each kind: those that run as they come, that take long, that are for later, that are
#: set aside because their task is paused, and that are cancelled by the name of their task.
JOBS = 250 * KILLS
LONG_JOBS = 12 * KILLS
LATER = 40 * KILLS
ASIDE = 20 * KILLS
BULK = 30 * KILLS

#: Seconds that a job takes, and that a long one does.
EACH = 0.1
LONG = 2.5

#: How many are cancelled at once, and seconds until a connection that cancels is hit again.
CALLERS = 5
CUT_EVERY = 0.3

#: Seconds in which a worker must have stopped what it runs. The short form runs beside other tests.
#: It is told at once; what is measured is in the report.
PROMPT = sized(short=5.0, long=1.0)

#: Seconds in which every await must have ended.
PATIENCE = 60.0

#: Caught in one of these, a job has ended when its cancel returns.
WAITING = (JobState.QUEUED, JobState.DELAYED, JobState.PARKED)


class Answer(NamedTuple):
    """What a cancel has returned."""

    state: JobState
    at: float  #: when, on the monotonic clock


Answers = Mapping[str, Answer]


async def give(load: Load) -> tuple[set[str], set[str]]:
    """Enqueue all; returns those that are cancelled one by one, if at all, and those in bulk."""
    aside = await load.give(work_aside.bind(EACH) for _ in range(ASIDE))
    calls = [work.bind(EACH) for _ in range(JOBS)] + [work.bind(LONG) for _ in range(LONG_JOBS)]
    calls += [work.using(delay=random.uniform(1, KILLS + 3)).bind(EACH) for _ in range(LATER)]
    calls += [work_in_bulk.using(delay=later).bind(EACH) for later in (None, KILLS) * (BULK // 2)]
    random.shuffle(calls)
    ids = await load.give(calls)
    bulk = {job for job, call in zip(ids, calls, strict=True) if call.spec is work_in_bulk.spec}
    return {*aside, *ids} - bulk, bulk


async def cancel_all(url: str, proxy: Proxy, ids: Collection[str]) -> dict[str, Answer]:
    """Cancel jobs from a process that is killed, and over a connection that is cut.

    Of what that process has had no answer to, nobody knows whether it was cancelled. It is
    cancelled once more.
    """
    some = set(random.sample(list(ids), len(ids) // 3))
    drop_one = partial(proxy.drop_replies, 1, to=b"EVALSHA")
    async with Queue(proxy.url, name=NAME) as through, now_and_then(CUT_EVERY, proxy.cut, drop_one):
        of_killed, answers = await asyncio.gather(
            cancel_and_be_killed(url, some),
            cancel_one_by_one(through, set(ids) - some, KILLS * 0.7),
        )
        rest = await cancel_one_by_one(through, some - of_killed.keys(), KILLS * 0.3)
    return of_killed | answers | rest


async def cancel_and_be_killed(url: str, ids: Collection[str]) -> dict[str, Answer]:
    """Cancel from a process of its own until it is killed; returns what it was told."""
    async with Program("-m", "tests.support.canceller", url, NAME, send="\n".join(ids)) as killed:
        await wait_until(lambda: len(killed.lines) > len(ids) // 4, "many answers", timeout=20)
    told = [line.split() for line in killed.lines]
    return {job: Answer(JobState(state), float(at)) for job, state, at in told}


async def cancel_one_by_one(
    through: Queue, ids: Collection[str], length: float
) -> dict[str, Answer]:
    """Cancel jobs in any order within about *length* seconds; returns what was told."""
    answers: dict[str, Answer] = {}
    left = iter(random.sample(list(ids), len(ids)))

    async def call() -> None:
        for job_id in left:
            state = await through.job(job_id).cancel()
            answers[job_id] = Answer(state, time.monotonic())
            await pause_about(length * CALLERS / len(ids))

    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return answers


async def kill_and_cancel(
    fleet: Fleet, ledger: Ledger, doomed: Collection[str]
) -> tuple[list[Fault], dict[str, Answer]]:
    """Kill workers, and cancel at once what they ran: nobody is there to be told."""
    answers: dict[str, Answer] = {}

    async def cancel_what_ran(fault: Fault) -> None:
        for run in ledger.book().in_flight(fault):
            if run.job in doomed:
                answers[run.job] = Answer(await queue.job(run.job).cancel(), time.monotonic())

    return await kill_at_random(fleet, KILLS, then=cancel_what_ran), answers


async def cancel_in_bulk() -> Counter[JobState]:
    """Cancel what there is of a task, in one state after the other; returns what was caught."""
    caught: Counter[JobState] = Counter()
    for state in (JobState.RUNNING, JobState.DELAYED, JobState.QUEUED):
        await pause_about(KILLS / 5)
        caught.update(await queue.cancel_many(task=work_in_bulk, state=state))
    return caught


async def ends_of(
    awaits: Mapping[str, asyncio.Future[Run]],
) -> tuple[dict[str, Run], set[str], int]:
    """Return what awaited jobs gave, which were cancelled, and how many awaits hang."""
    _, hung = await asyncio.wait(awaits.values(), timeout=PATIENCE)
    values: dict[str, Run] = {}
    cancelled: set[str] = set()
    for job_id, one in awaits.items():
        if one in hung:
            one.cancel()
        elif isinstance(one.exception(), JobCancelled):
            cancelled.add(job_id)
        else:
            values[job_id] = one.result()
    return values, cancelled, len(hung)


def of_states(answers: Answers, *states: JobState) -> dict[str, Answer]:
    """Return those of *answers* that are one of *states*."""
    return {job: answer for job, answer in answers.items() if answer.state in states}


def times_after(book: Book, answers: Answers, *kinds: str) -> list[float]:
    """Return the seconds from each answer to what happened to its job afterwards."""
    return [
        event.at - answers[event.job].at
        for event in book.events
        if event.kind in kinds and event.job in answers and event.at > answers[event.job].at
    ]


async def test_cancels_while_workers_die(
    client: Redis, server: RedisServer, fleet: Fleet, load: Load, ledger: Ledger, ending: Ending
) -> None:
    """What has not begun never does, what runs is stopped at once, and all others are done."""
    fleet.options += ["--concurrency", str(SLOTS), *STUBBORN]
    await fleet.start(WORKERS)
    await queue.pause(task=work_aside)
    singles, bulk = await give(load)
    doomed = set(random.sample(sorted(singles), len(singles) // 3))
    awaits = {job.id: asyncio.ensure_future(job.result()) for job in load.accepted.values()}
    async with Proxy(server.port) as proxy, watched_lags(client) as wrong_lags:
        (faults, of_dead), answers, of_bulk = await asyncio.gather(
            kill_and_cancel(fleet, ledger, doomed),
            cancel_all(server.url, proxy, doomed),
            cancel_in_bulk(),
        )
        answers |= of_dead
        await queue.resume(task=work_aside)
        told, cancelled, hung = await ends_of(awaits)
        await invariants.wait_quiet(client, WORKERS)
    book = await ending.wind_up(WORKERS)

    caught = Counter(answer.state for answer in answers.values())
    over, asked = of_states(answers, *WAITING), of_states(answers, JobState.RUNNING)
    again, late = of_states(answers, JobState.CANCELLED), of_states(answers, JobState.DONE)
    stopped = times_after(book, {job: asked[job] for job in asked.keys() & cancelled}, "cut")
    stored = await invariants.stored_outcomes(client, load.accepted)
    line = ending.report(
        "cancels",
        f"a third of the jobs cancelled, {WORKERS} workers killed at random",
        load.accepted,
        f"{KILLS} kill -9, 1 of who cancels, whose connection is cut every {CUT_EVERY:g} s",
        given_up=cancelled,
        recovery=max(book.recoveries(faults)),
        figures={
            "caught": ", ".join(f"{caught[one]} {one}" for one in (*WAITING, JobState.RUNNING)),
            "by the name of their task": str(of_bulk.total()),
            "with dead workers": str(len(of_states(of_dead, JobState.RUNNING))),
            "started after they had ended so": str(len(times_after(book, over, "start"))),
            "running ones stopped within": f"{max(stopped, default=0) * 1000:.0f} ms",
            "hung awaits": str(hung),
        },
    )
    assert line.lost == 0
    assert hung == 0
    assert all(caught[state] for state in (*WAITING, JobState.RUNNING)), caught
    # What runs in a worker that others take for dead may be cancelled while it waits for them.
    assert len(times_after(book, over, "start")) <= ending.may_run_again((), SLOTS)
    assert max(times_after(book, asked | again, "start", "end"), default=0) <= PROMPT
    # One caught running may have come to its end in that moment. Nothing else may.
    assert over.keys() | again.keys() <= cancelled
    assert late.keys() <= told.keys()
    assert singles - doomed <= told.keys()
    waited = of_bulk.total() - of_bulk[JobState.RUNNING]
    assert waited <= len(bulk & cancelled) <= of_bulk.total()
    assert line.duplicates <= book.started_again <= ending.may_run_again(faults, SLOTS)
    assert not fleet.errors("was taken for dead", "gave up ")
    assert not wrong_lags
    assert {
        job for job, kept in stored.items() if kept and kept["state"] == "cancelled"
    } == cancelled
    await ending.check(load.accepted, told)
