"""What is said about jobs that are on their way: cancel, pause, resume."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from aiostreamq.client import bulk_cancellation
from aiostreamq.client.bulk_cancellation import OpenJobFilter, cancel_many
from aiostreamq.model.job_state import JobState
from aiostreamq.store.control_stream import ControlStream
from tests.chaos.histories.job import TASKS
from tests.chaos.histories.machine import (
    FAR_OFF,
    LONG_AGO,
    Machine,
    held_ids,
    some_ids,
    told,
    workers,
)
from tests.chaos.histories.reference import OPEN
from tests.chaos.histories.whereabouts import entries_of

#: What can be paused.
WORDS = [f"task:{task}" for task in TASKS] + [f"lane:{lane}" for lane in ("default", "slow")]

words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=2, unique=True)
untils = st.sampled_from(["0", "0", FAR_OFF, LONG_AGO])
tasks = st.sampled_from([None, *TASKS])
#: Empty is all of them.
states = st.lists(st.sampled_from([JobState(state) for state in OPEN]), max_size=2, unique=True)
bulk_states = st.lists(st.sampled_from(bulk_cancellation.OPEN), max_size=2, unique=True)


class Steering(Machine):
    """Cancel one or many, pause and resume, and learn of it."""

    @rule(job_ids=some_ids | held_ids, states=states)
    def cancel(self, job_ids: list[str], states: list[JobState]) -> None:
        """Wherever a job is, it is told where it was caught, and whoever runs it is told."""
        self.cancel_each(job_ids, states)
        self.again = lambda: self.cancel_each(job_ids, states)

    @rule(task=tasks, states=bulk_states)
    def cancel_many(self, task: str | None, states: list[JobState]) -> None:
        """All that are meant are found, and nothing else."""
        wanted = OpenJobFilter.of(task, None, states or None, everything=not (task or states))

        def cancel() -> None:
            expected = self.model.cancel_many(task, wanted.states)
            assert self.run(cancel_many(self.store.queue, TASKS, wanted)) == expected

        cancel()
        self.again = cancel

    @rule(words=words, until=untils)
    def pause(self, words: list[str], until: str) -> None:
        """What is said last holds."""
        fresh = self.model.pauses.pause(words, int(until))
        self.check(lambda: self.pauses.pause(words, until), fresh)
        self.repeatable(lambda: self.pauses.pause(words, until), 0)

    @precondition(lambda self: self.model.pauses.told)
    @rule(words=words)
    def resume(self, words: list[str]) -> None:
        """It holds no more."""
        self.check(lambda: self.pauses.resume(words), self.model.pauses.resume(words))
        self.repeatable(lambda: self.pauses.resume(words), 0)

    @precondition(lambda self: self.model.pauses.holding)
    @rule(word=st.sampled_from(WORDS))
    def end_pause(self, word: str) -> None:
        """The time comes until which something was paused."""
        if word in self.model.pauses.told:
            self.model.pauses.pause([word], int(LONG_AGO))
            self.run(self.store.call("HSET", self.store.keys.paused, word, LONG_AGO))
        self.again = None

    @precondition(lambda self: self.model.pauses.told or self.takes_for_paused())
    @rule(worker=workers)
    def ask_pauses(self, worker: str) -> None:
        """A worker asks what is paused, as it does when it hears that something is."""
        assert self.run(self.hear(self.workers[worker])) == self.model.pauses.look()
        self.again = None

    def takes_for_paused(self) -> bool:
        """Whether some worker still takes something for paused."""
        return any(worker.pauses.paused for worker in self.workers.values())

    def cancel_each(self, job_ids: list[str], states: list[JobState]) -> None:
        """Cancel, and see what was answered, and what the workers were told."""
        wanted = states or OPEN
        # An id that is given twice is one job.
        before = {one: self.model.cancel(one, wanted) for one in dict.fromkeys(job_ids)}
        expected = [before[job_id] for job_id in job_ids]
        running = [one for one, state in before.items() if state == "running" and state in wanted]
        control = ControlStream(self.store.queue)

        async def cancel() -> tuple[list[str | None], list[str]]:
            end = await control.end() if running else ""
            answers = [told(one) for one in await self.steering.cancel(job_ids, states)]
            return answers, await self.named_since(control, end) if running else []

        self.check(cancel, (expected, running))

    async def named_since(self, control: ControlStream, end: str) -> list[str]:
        """The jobs that were to be cancelled, by what was said since some *end*."""
        _, said = await control.listen(self.store.link, end, 1)
        found: list[str] = []
        for place, entry in [one for word in said for one in self.steering.entries_in(word)]:
            stream = self.store.queue.streams[place - 1]
            [(_, fields)] = entries_of(await self.store.call("XRANGE", stream, entry, entry))
            found.append(fields["id"])
        return found
