"""Jobs of tasks that have limits: their steps in a history."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from aiostreamq.model.delivery import HeldSubmission, WaiterMode
from aiostreamq.store.held import Hold, Quiet
from aiostreamq.store.limit_overrides import LimitOverrides
from tests.chaos.histories.job import LIMITED, RATE, Call, Job
from tests.chaos.histories.machine import FAR_OFF, LONG_AGO, held, held_ids, picks, workers
from tests.chaos.histories.producers import Producers, lanes, marks
from tests.chaos.histories.workers import Workers, has_work, turn_of
from tests.support.store import DEADLINE, HOUR_MS

limited = st.sampled_from(LIMITED)


class LimitedJobs(Producers, Workers):
    """They come, wait, are admitted, and wait again."""

    @rule(job_ids=held_ids, call=limited, lane=lanes, mark=marks)
    def enqueue_held(self, job_ids: list[str], call: Call, lane: str, mark: str) -> None:
        """Jobs wait for their limits, in the order of their arrival."""
        taken = self.add([Job(job_id, lane, call) for job_id in job_ids], mark, "held")
        backlog = call.backlog(lane)
        batch = [
            HeldSubmission(job_id, 0, mark, backlog, call.costs, call.envelope)
            for job_id in job_ids
        ]
        self.check(lambda: self.held_jobs.enqueue(batch, "me", DEADLINE), taken)
        for at, job_id in enumerate(job_ids):
            if at not in taken:
                self.run(self.learn_turn(self.model.jobs[job_id]))
        self.repeatable(
            lambda: self.held_jobs.enqueue(batch, "me", DEADLINE), set(range(len(job_ids)))
        )

    @has_work
    @rule(at=picks)
    def hold(self, at: list[int]) -> None:
        """A worker finds that jobs have not passed all limits that their task has now."""
        chosen = [one for one in self.let_go(at) if self.model.jobs[one.job_id].call.tokens]
        self.put_in_line([self.to_hold(one) for one in chosen])

    @precondition(lambda self: self.model.has_any("held"))
    @rule(worker=workers, most=st.integers(1, 4), arrives=st.sampled_from([True, True, False]))
    def admit(self, worker: str, most: int, *, arrives: bool) -> None:
        """A worker is sent what waited for its limits; sometimes the reply does not arrive."""
        taker, before = self.workers[worker], self.look().backlogs
        found = self.run(taker.admit(most))
        admitted = self.model.admit(worker, [one.job_id for one in found.deliveries])
        assert [held(one) for one in found.deliveries] == [
            (job.id, job.number, job.attempt) for job in admitted
        ]
        assert not any(self.model.pauses.holds(job.backlog) for job in admitted)
        if len(admitted) < most:
            wanted = [
                name
                for name in before.ids
                if name.split()[0] in taker.lanes
                and name.split()[1] in taker.limited
                and not self.model.pauses.holds(name)
            ]
            self.look().backlogs.check_admission(before, self.model, wanted)
        if arrives and admitted:
            self.arrive(taker, found)
        self.again = None

    @has_work
    @rule(at=picks)
    def rate_limited(self, at: list[int]) -> None:
        """An API has refused what jobs asked of it: they wait again, and others with them."""
        chosen = [self.to_hold(one) for one in self.let_go(at) if RATE in str(one.permits)]
        if not chosen:
            return
        self.model.is_quiet = True
        held_now = sum(self.model.hold(held(one.delivery), turn_of(one.delivery)) for one in chosen)
        self.check(lambda: self.be_quiet(chosen), held_now)
        self.repeatable(lambda: self.be_quiet(chosen), 0)

    async def be_quiet(self, chosen: list[Hold]) -> int:
        """Do what a worker does for such jobs."""
        await self.held_jobs.quiet(
            [Quiet(RATE, int(FAR_OFF), HOUR_MS, one.delivery.job_id) for one in chosen]
        )
        return await self.held_jobs.hold(chosen)

    @has_work
    @rule(at=picks, cost=st.integers(0, 5))
    def charge(self, at: list[int], cost: int) -> None:
        """Jobs say what they have used; to say it again changes nothing."""
        for hand in self.pick(at):
            one = hand.delivery
            if RATE in str(one.permits):
                is_charged = self.model.charge(held(one), cost)
                self.check(lambda one=one: self.held_jobs.charge(one, RATE, cost), is_charged)
                self.repeatable(lambda one=one: self.held_jobs.charge(one, RATE, cost), is_charged)

    @precondition(lambda self: self.model.is_quiet)
    @rule()
    def end_quiet(self) -> None:
        """An operator lets the rate pass jobs again."""
        self.check(self.forget_quiet, 1)
        self.repeatable(self.forget_quiet, 0)

    async def forget_quiet(self) -> int:
        """End the quiet of the rate, if there is one."""
        self.model.is_quiet = False
        return await LimitOverrides(self.store.queue).end_quiet(RATE)

    @precondition(lambda self: self.model.charged)
    @rule()
    def pay_off(self) -> None:
        """Time passes until nothing is charged to the rate any more."""
        self.run(self.forget_charges())
        self.again = None

    @rule(worker=workers, call=limited, job_ids=held_ids, others=held_ids)
    def rush(self, worker: str, call: Call, job_ids: list[str], others: list[str]) -> None:
        """More jobs come than a limit has room for, and a worker is sent what may run."""
        self.enqueue_held(job_ids, call, "default", WaiterMode.NOBODY)
        self.enqueue_held(others, call, "slow", WaiterMode.NOBODY)
        self.admit(worker, 4, arrives=True)

    async def learn_turn(self, job: Job) -> None:
        """Note which place in line a new job got: one after all that came like it before."""
        key = f"{self.store.keys.prefix}backlog:{job.backlog}"
        turn = await self.store.call("ZSCORE", key, job.id)
        assert isinstance(turn, bytes)
        job.turn = int(turn)
        assert job.turn > self.model.last_turn
        self.model.last_turn = job.turn

    async def forget_charges(self) -> None:
        """Let the rate have all its room."""
        self.model.charged = 0
        prefix = self.store.keys.prefix
        await self.store.call("DEL", f"{prefix}rate:{RATE}")
        await self.store.call("ZADD", f"{prefix}due", "XX", LONG_AGO, RATE)
