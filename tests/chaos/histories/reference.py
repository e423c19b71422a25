"""What a queue does to its jobs, said in plain Python: no streams, no scripts, no clock.

A job is in one place at a time. Whoever holds it holds one delivery of it, known by the
job's id and the number of the delivery; a delivery that is not the latest can do nothing.
A job that was cancelled stays so, whatever is done with its delivery.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from aiostreamq.model.job_transitions import Stage, Transition
from aiostreamq.model.keys import ADMITTED
from tests.chaos.histories.job import RATE, ROOM, Job
from tests.chaos.histories.pauses import RETURNED, Pauses, lane_of

MAX_WORKER_DEATHS = 2

#: Where a job can be that has not ended.
OPEN = ("delayed", "held", "parked", "queued", "running")

#: Those of them in which a job has an entry in a lane.
IN_LANE = {"queued", "running"}

#: The id of a job, and the number and the attempt of one delivery of it.
Held = tuple[str, int, int]


@dataclass
class Reference:
    """All jobs of a queue and all its workers."""

    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    beats: dict[str, str] = field(default_factory=dict[str, str])
    pauses: Pauses = field(default_factory=Pauses)
    is_afternoon: bool = False
    told: list[str] = field(default_factory=list[str])  #: ends that the inbox was told: id, state
    dead: list[str] = field(default_factory=list[str])  #: ids among the dead letters
    holders: dict[str, str] = field(default_factory=dict[str, str])  #: of each key, the last job
    charged: int = 0  #: to the rate, since it was paid off
    is_quiet: bool = False  #: whether the rate lets nothing pass, as a job asked
    last_turn: int = 0  #: place in line of the job that was enqueued last as one of a limited task
    seen: set[Transition] = field(default_factory=set[Transition])  #: changes of any job's stage
    _orders: count[int] = field(default_factory=count)

    @contextmanager
    def _step(self, script: str) -> Generator[None]:
        """Note how the stages of jobs change by one call of a script."""
        before = {job_id: job.stage for job_id, job in self.jobs.items()}
        yield
        for job_id, job in self.jobs.items():
            was = before.get(job_id, Stage.UNKNOWN)
            if job.stage is not was:
                self.seen.add(Transition(was, script, job.stage))

    # Producers

    def add(self, job: Job, place: str) -> bool:
        """Enqueue, delay or hold one job; False where its id is taken."""
        if job.id in self.jobs:
            return False
        if place == "held":
            job.backlog = job.call.backlog(job.line)
        with self._step("enqueue" if place == "queued" else f"enqueue_{place}"):
            self.jobs[job.id] = self._put(job, place)
        return True

    def add_unique(self, job: Job, place: str, key: str, conflict: str) -> str | None:
        """Enqueue one job with a key; returns the holder of the key, "" if its id is taken."""
        if job.id in self.jobs:
            return ""
        holder = self.holders.get(key)
        is_held = holder is not None and not self.jobs[holder].state
        with self._step("enqueue_unique"):
            if not is_held or conflict == "replace":
                self.jobs[job.id], self.holders[key] = self._put(job, place), job.id
                if holder is not None and is_held:
                    self._cancel(self.jobs[holder])
            elif conflict == "return":
                return holder
            else:
                self.jobs[job.id] = job
                self._end(job, "dropped", 0, is_kept=job.wants_result)
        return None

    def status(self, job_id: str) -> str | None:
        """What asking for a job finds; None where it never was."""
        return self.jobs[job_id].status if job_id in self.jobs else None

    def cancel(
        self, job_id: str, states: Collection[str] = OPEN, *, is_by_lane: bool = False
    ) -> str | None:
        """End a job if it is in one of *states*; returns the one that it was caught in."""
        status, job = self.status(job_id), self.jobs.get(job_id)
        if job is None or job.state or job.place not in states:
            return status
        with self._step("cancel_lane" if is_by_lane and job.place in IN_LANE else "cancel"):
            self._cancel(job)
        return status

    def _cancel(self, job: Job) -> None:
        job.is_cancelled = True
        if job.place in {"delayed", "held", "parked"}:
            self._stays_cancelled(job)
        elif job.place == "queued":
            self._conclude(job, "cancelled", 0, is_kept=job.wants_result)

    def cancel_many(self, task: str | None, states: Collection[str]) -> dict[str, int]:
        """Cancel all jobs in some *states*, of one task or all; returns how many were caught."""
        meant = [job.id for job in self.jobs.values() if task in {None, job.call.task}]
        caught = [self.cancel(job_id, states, is_by_lane=True) for job_id in meant]
        return {state: caught.count(state) for state in states}

    # Workers

    def waiting(self, line: str) -> int:
        """How many entries wait in a line."""
        return len(self._in("queued", line))

    def read(self, worker: str, shares: Mapping[str, int], script: str = "XREADGROUP") -> list[Job]:
        """Deliver what waits, at most so many from each line."""
        taken = [job for line, most in shares.items() for job in self._in("queued", line)[:most]]
        with self._step(script):
            for job in taken:
                job.place, job.owner = "running", worker
        return taken

    def fate(self, job_id: str) -> str:
        """What becomes of a job that has just been delivered: it is run, or it is not."""
        job = self.jobs[job_id]
        if self.pauses.has_task(job):
            return "parked"
        if self.pauses.has_lane(job):
            return "put back"
        if job.is_cancelled:
            return "cancelled"
        if job.is_too_late or (job.is_limited and self.is_afternoon):
            return "expired"
        return "held" if job.call.tokens and job.line != ADMITTED else "run"

    def held_by(self, worker: str) -> list[Job]:
        """What *worker* was sent and has not ended."""
        return [job for job in self._in("running") if job.owner == worker]

    def has(self, held: Held) -> Job | None:
        """The job, where this is its latest delivery; anything else is refused."""
        job = self.jobs[held[0]]
        return job if job.place == "running" and job.number == held[1] else None

    def settle(self, held: Held, state: str, *, is_kept: bool) -> bool:
        """End a job; True again for the delivery that has ended it before.

        Nor is anybody refused who comes with what has ended as cancelled.
        """
        if job := self.has(held):
            with self._step("settle"):
                self._end(job, state, job.number, is_kept=is_kept)
        job = self.jobs[held[0]]
        return job.ended_by == held[1] or self._was_thrown_away(job)

    @staticmethod
    def _was_thrown_away(job: Job) -> bool:
        return job.state == "cancelled" and not job.ended_by

    def retry(self, held: Held, place: str) -> bool:
        """Have a job run once more, ahead of what waits; True again as long as it is to run so."""
        if job := self.has(held):
            with self._step("retry"):
                if self._stays_cancelled(job):
                    return True
                job.number, job.attempt, job.deaths = job.number + 1, job.attempt + 1, 0
                self._put(job, place, RETURNED)
        job_id, number, attempt = held
        job = self.jobs[job_id]
        is_next = (job.number, job.attempt) == (number + 1, attempt + 1)
        is_to_run_so = is_next and job.place in {"delayed", "queued", "running"}
        return is_to_run_so or self._was_thrown_away(job)

    def hand_back(self, held: Held, line: str = RETURNED) -> bool:
        """Let another worker have a job."""
        with self._step("requeue"):
            if (job := self.has(held)) and not self._stays_cancelled(job):
                job.number += 1
                self._put(job, "queued", line)
        return job is not None

    def mark(self, held: Held) -> bool:
        """Note that a delivery is run: only that counts once its job has cost a worker."""
        if job := self.has(held):
            job.marked = job.number
        return job is not None

    def park(self, held: Held) -> bool:
        """Set a job aside."""
        with self._step("park"):
            if (job := self.has(held)) and not self._stays_cancelled(job):
                self._put(job, "parked")
        return job is not None

    def hold(self, held: Held, turn: int) -> bool:
        """Have a job wait for its limits; one that has waited before keeps its place in line."""
        with self._step("hold"):
            if (job := self.has(held)) and not self._stays_cancelled(job):
                job.backlog = job.backlog or job.call.backlog(lane_of(job))
                job.turn, job.number = job.turn or self._turn(job, turn), job.number + 1
                self._put(job, "held")
        return job is not None

    def bury(self, held: Held) -> bool:
        """Give up a job that cannot be read; there is a letter even of a cancelled one."""
        if job := self.has(held):
            self.dead.append(job.id)
            with self._step("dead_letter_unreadable"):
                if not self._stays_cancelled(job):
                    self._end(job, "dead", 0, is_kept=True)
        return job is not None

    def release(self, tasks: Iterable[str]) -> int:
        """Let what is parked for *tasks* run."""
        parked = [job for task in tasks for job in self._in("parked") if job.call.task == task]
        with self._step("unpark"):
            return len([self._put(job, "queued", RETURNED) for job in parked])

    # Limits

    def backlogs(self) -> dict[str, list[Job]]:
        """The held jobs of each backlog, first come first."""
        found = defaultdict[str, list[Job]](list)
        for job in sorted(self._in("held"), key=lambda job: (job.turn, job.id)):
            found[job.backlog].append(job)
        return found

    def orders(self) -> dict[str, list[Job]]:
        """The jobs of each order: those that have come to a place in line, and have not ended."""
        found = defaultdict[str, list[Job]](list)
        for job in sorted(self.jobs.values(), key=lambda job: (job.turn, job.id)):
            if job.turn and job.call.account and not job.state:
                found[job.call.tokens[0]].append(job)
        return found

    def _turn(self, job: Job, turn: int) -> int:
        """The place in line of a job that has none; in an order no job comes before the first."""
        line = self.orders().get(job.call.tokens[0], [])
        return turn if not line or turn > line[0].turn else line[-1].turn + 1

    def permits(self) -> dict[str, set[str]]:
        """Who has room under each limit of concurrency, as id and number of a delivery."""
        found = defaultdict[str, set[str]](set)
        for job in self._in("running"):
            for token in job.permits:
                found[token].add(f"{job.id} {job.number}")
        return found

    def room(self, token: str) -> int:
        """How much room a limit has."""
        if token == RATE and self.is_quiet:
            return 0
        taken = self.charged if token == RATE else len(self.permits()[token])
        return ROOM[token[0]] - taken

    def refuses(self, token: str, job: Job) -> bool:
        """Whether a limit has no room for a job, or it is not the job's turn in an order."""
        if token.startswith("o="):
            return self.orders()[token][0] is not job
        return self.room(token) < (job.call.cost if token == RATE else 1)

    def admit(self, worker: str, job_ids: Iterable[str]) -> list[Job]:
        """Deliver held jobs: each is the next of its backlog, and all its limits have room."""
        with self._step("admit"):
            return [self._admit(worker, self.jobs[job_id]) for job_id in job_ids]

    def _admit(self, worker: str, job: Job) -> Job:
        assert self.backlogs()[job.backlog][0] is job, "another was before it"
        permits: tuple[str, ...] = ()
        if not job.is_too_late:
            assert not [token for token in job.call.tokens if self.refuses(token, job)]
            permits = tuple(token for token in job.call.tokens if token.startswith("c="))
            job.charge = job.call.cost if RATE in job.call.tokens else 0
            self.charged += job.charge
        self._put(job, "running", ADMITTED)
        job.owner, job.permits = worker, permits
        return job

    def charge(self, held: Held, cost: int) -> bool:
        """Set what a job takes of the rate; no more is owed than it ever has."""
        if job := self.has(held):
            owed = self.charged + cost - job.charge
            self.charged, job.charge = min(2 * ROOM["r"], max(0, owed)), cost
        return job is not None

    # Time, and crashes

    def promote(self) -> int:
        """Let what is due run."""
        due = sorted((job for job in self._in("delayed") if job.is_due), key=lambda job: job.id)
        with self._step("promote"):
            return len([self._put(job, "queued") for job in due])

    def reap(self, worker: str, beat: str, most: int, lines: Iterable[str]) -> tuple[int, int, int]:
        """Recover a dead worker's jobs: how many returned, were given up, and whether all did."""
        if self.beats.get(worker) not in {beat, "dead"}:
            return 0, 0, -1
        returned = given_up = 0
        finished = 1
        for line in lines:
            lost = [job for job in self.held_by(worker) if job.line == line][:most]
            finished = 0 if len(lost) == most else finished
            for job in lost:
                with self._step("recover_worker"):
                    is_back = self._recover(job)
                returned += is_back
                given_up += job.state == "dead"
        self.beats[worker] = "dead"
        if finished:
            del self.beats[worker]
        return returned, given_up, finished

    def _recover(self, job: Job) -> bool:
        """Take a job from a dead worker; returns whether it waits for another."""
        if self._stays_cancelled(job):
            return False
        is_guilty = job.deaths == 0 or job.marked == job.number
        job.deaths += is_guilty
        if is_guilty and job.deaths >= MAX_WORKER_DEATHS:
            self.dead.append(job.id)
            self._end(job, "dead", 0, is_kept=True)
            return False
        job.number += 1
        self._put(job, "queued", RETURNED)
        return True

    # Places and ends

    def has_any(self, *places: str) -> bool:
        """Whether there is a job in one of some *places*."""
        return any(job.place in places for job in self.jobs.values())

    def _in(self, place: str, line: str | None = None) -> list[Job]:
        found = [j for j in self.jobs.values() if j.place == place and line in {None, j.line}]
        return sorted(found, key=lambda job: job.order)

    def _put(self, job: Job, place: str, line: str | None = None) -> Job:
        job.place, job.line, job.order = place, line or job.line, next(self._orders)
        job.owner, job.is_due, job.permits = "", job.is_due and place == "delayed", ()
        return job

    def _stays_cancelled(self, job: Job) -> bool:
        """Whether a job was cancelled: then it ends here, instead of what was to become of it."""
        if job.is_cancelled:
            self._end(job, "cancelled", 0, is_kept=job.wants_result)
        return job.is_cancelled

    def _end(self, job: Job, state: str, ended_by: int, *, is_kept: bool) -> None:
        if not job.state:
            self._conclude(job, state, ended_by, is_kept=is_kept)
        self._put(job, "ended")

    def _conclude(self, job: Job, state: str, ended_by: int, *, is_kept: bool) -> None:
        job.state, job.ended_by, job.is_kept = state, ended_by, is_kept
        if is_kept and job.is_awaited:
            self.told.append(f"{job.id} {state}")
