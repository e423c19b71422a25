"""Pausing and resuming in any order: what runs is what is not paused."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aiostreamq import Job, Queue, Worker
from tests.support.random_examples import scaled
from tests.support.waiting import PATIENCE

TASKS = {"one": "default", "other": "slow"}

#: What can be paused: a task or a lane, and its name.
Target = tuple[str, str]
TARGETS: list[Target] = [
    *(("task", name) for name in TASKS),
    *(("lane", lane) for lane in TASKS.values()),
]

#: Pause until when, resume, or enqueue so many.
Step = tuple[str, Target, str] | tuple[str, Target] | tuple[str, str, int]

targets = st.sampled_from(TARGETS)
steps = st.one_of(
    st.tuples(st.just("pause"), targets, st.sampled_from(["", "1h", "past"])),
    st.tuples(st.just("resume"), targets),
    st.tuples(st.just("enqueue"), st.sampled_from(list(TASKS)), st.integers(1, 3)),
)
#: Not made smaller where they fail: that would take minutes, and a race may not come again.
at_random = settings(
    max_examples=scaled(20),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
may_block = pytest.mark.may_block("a worker that ends before its thread has begun waits for that")


class Shop:
    """A queue that may be paused, and what is known of its jobs."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.ran: list[int] = []
        self.jobs: list[Job[object]] = []
        self.tasks: list[str] = []  #: of the jobs
        self.paused: set[Target] = set()
        #: those that were enqueued while they were paused, and have been so ever since
        self.held: dict[int, str] = {}
        self.ran_while_held: list[int] = []
        for name, lane in TASKS.items():
            queue.task(name=name, lane=lane)(self.note)

    async def note(self, n: int) -> None:
        """Run."""
        self.ran.append(n)
        if n in self.held:
            self.ran_while_held.append(n)

    def is_paused(self, task: str) -> bool:
        """Whether jobs of a task are to wait."""
        return bool(self.paused & {("task", task), ("lane", TASKS[task])})

    def go_on(self, targets: set[Target]) -> None:
        """Note what is paused no more; before it is said, as it may be heard at once."""
        self.paused -= targets
        self.held = {n: task for n, task in self.held.items() if self.is_paused(task)}

    async def take(self, step: Step) -> None:
        """Do it, and note what should follow."""
        match step:
            case ("pause", (kind, name), until):
                # What is said last holds: a pause that is over ends the one before.
                ends = datetime.now(UTC) - timedelta(hours=1) if until == "past" else until or None
                if until == "past":
                    self.go_on({(kind, name)})
                await self.queue.pause(**{kind: name}, until=ends)
                if until != "past":
                    self.paused.add((kind, name))
            case ("resume", (kind, name)):
                was_paused = (kind, name) in self.paused
                self.go_on({(kind, name)})
                assert await self.queue.resume(**{kind: name}) or not was_paused
            case (_, str(task), int(count)):
                for _ in range(count):
                    if self.is_paused(task):
                        self.held[len(self.jobs)] = task
                    self.tasks.append(task)
                    self.jobs.append(await self.queue.enqueue(task, len(self.jobs)))
            case _:
                raise AssertionError(step)

    async def resume_all(self) -> None:
        """Let everything run."""
        for target in TARGETS:
            await self.take(("resume", target))
        assert await self.queue.paused() == []


def on_shop(url: str, test: Callable[[Shop], Awaitable[None]]) -> None:
    """Run a test on an empty queue of its own."""

    async def run() -> None:
        name = uuid4().hex  # what one example leaves must not meet the next
        async with Queue(url, name=name, lanes={"default": 2, "slow": 1}) as queue:
            await test(Shop(queue))

    asyncio.run(run())


@may_block
@pytest.mark.timeout(60)
@at_random
@given(rounds=st.lists(st.lists(steps, min_size=3, max_size=10), min_size=3, max_size=6))
def test_exactly_what_is_not_paused(store_url: str, rounds: list[list[Step]]) -> None:
    """A worker runs all that is not paused and nothing else, and all in the end, each once."""

    async def test(shop: Shop) -> None:
        expected: set[int] = set()
        for of_round in rounds:
            for step in of_round:
                await shop.take(step)
            await Worker(shop.queue).run(burst=True)
            expected |= {n for n, task in enumerate(shop.tasks) if not shop.is_paused(task)}
            assert sorted(shop.ran) == sorted(expected)
        await shop.resume_all()
        await Worker(shop.queue).run(burst=True)
        assert sorted(shop.ran) == [*range(len(shop.jobs))]

    on_shop(store_url, test)


@may_block
@pytest.mark.timeout(60)
@at_random
@given(sequence=st.lists(steps, min_size=20, max_size=50))
def test_workers_that_stay(store_url: str, sequence: list[Step]) -> None:
    """Nothing that was enqueued while it was paused is begun before it is resumed."""

    async def test(shop: Shop) -> None:
        async with Worker(shop.queue, concurrency=2), Worker(shop.queue):
            for step in sequence:
                await shop.take(step)
            await shop.resume_all()
            for job in shop.jobs:
                await job.result(timeout=PATIENCE)
        assert sorted(shop.ran) == [*range(len(shop.jobs))]
        assert not shop.ran_while_held

    on_shop(store_url, test)
