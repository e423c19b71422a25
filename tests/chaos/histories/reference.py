"""What a queue does to its jobs, said in plain Python: no streams, no scripts, no clock.

A job is in one place at a time. Whoever holds it holds one delivery of it, known by the
job's id and the number of the delivery; a delivery that is not the latest can do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

RETURNED = "returned"
MAX_DELIVERIES = 2

#: The id of a job, and the number and the attempt of one delivery of it.
Held = tuple[str, int, int]


@dataclass
class Job:
    """One job, and where it is."""

    id: str
    line: str  #: the line that it waits in, was delivered from, or goes to when it is due
    wants_result: bool  #: whether it was enqueued to keep its outcome
    place: str = ""  #: "queued", "running", "delayed", "parked" or "ended"
    order: int = 0  #: of its entry among all entries
    owner: str = ""  #: who has it while it is running
    is_due: bool = False
    is_awaited: bool = False  #: whether an inbox is told of its end
    number: int = 1
    attempt: int = 1
    deaths: int = 0  #: how many workers were lost with it since its last attempt
    marked: int = 0  #: number of the delivery that was noted as run, after a worker was lost
    state: str = ""  #: how it ended
    is_kept: bool = False  #: whether its outcome can be looked up
    ended_by: int = 0  #: number of the delivery that ended it; 0 where none did


@dataclass
class Reference:
    """All jobs of a queue and all its workers."""

    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    beats: dict[str, str] = field(default_factory=dict[str, str])
    told: list[str] = field(default_factory=list[str])  #: ids whose ends the inbox was told
    dead: list[str] = field(default_factory=list[str])  #: ids among the dead letters
    _orders: count[int] = field(default_factory=count)

    def add(self, job: Job, place: str) -> bool:
        """Enqueue or delay one job; False where its id is taken."""
        if job.id in self.jobs:
            return False
        self.jobs[job.id] = self._put(job, place)
        return True

    def read(self, worker: str, most: int, lines: Iterable[str]) -> list[Held]:
        """Deliver what waits, at most *most* from each line."""
        taken: list[Job] = []
        for line in lines:
            taken += self._in("queued", line)[:most]
        for job in taken:
            job.place, job.owner = "running", worker
        return [(job.id, job.number, job.attempt) for job in taken]

    def held_by(self, worker: str) -> list[Job]:
        """What *worker* was sent and has not ended."""
        return [job for job in self._in("running") if job.owner == worker]

    def has(self, held: Held) -> Job | None:
        """The job, where this is its latest delivery; anything else is refused."""
        job = self.jobs[held[0]]
        return job if job.place == "running" and job.number == held[1] else None

    def settle(self, held: Held, state: str, *, is_kept: bool) -> bool:
        """End a job; True again for the delivery that has ended it before."""
        if job := self.has(held):
            self._end(job, state, job.number, is_kept=is_kept)
        return self.jobs[held[0]].ended_by == held[1]

    def retry(self, held: Held, place: str) -> bool:
        """Have a job run once more, ahead of what waits."""
        if job := self.has(held):
            job.number, job.attempt, job.deaths = job.number + 1, job.attempt + 1, 0
            self._put(job, place, RETURNED)
        return job is not None

    def hand_back(self, held: Held) -> bool:
        """Let another worker have a job."""
        if job := self.has(held):
            job.number += 1
            self._put(job, "queued", RETURNED)
        return job is not None

    def mark(self, held: Held) -> bool:
        """Note that a delivery is run: only that counts once its job has cost a worker."""
        if job := self.has(held):
            job.marked = job.number
        return job is not None

    def park(self, held: Held) -> bool:
        """Set a job aside."""
        if job := self.has(held):
            self._put(job, "parked")
        return job is not None

    def bury(self, held: Held) -> bool:
        """Give up a job that cannot be read."""
        if job := self.has(held):
            self._end(job, "dead", 0, is_kept=True)
        return job is not None

    def release(self) -> int:
        """Let what is parked run."""
        return len([self._put(job, "queued", RETURNED) for job in self._in("parked")])

    def promote(self) -> int:
        """Let what is due run."""
        due = sorted((job for job in self._in("delayed") if job.is_due), key=lambda job: job.id)
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
                is_guilty = job.deaths == 0 or job.marked == job.number
                job.deaths += is_guilty
                if is_guilty and job.deaths >= MAX_DELIVERIES:
                    self._end(job, "dead", 0, is_kept=True)
                    given_up += 1
                else:
                    job.number += 1
                    self._put(job, "queued", RETURNED)
                    returned += 1
        self.beats[worker] = "dead"
        if finished:
            del self.beats[worker]
        return returned, given_up, finished

    def _in(self, place: str, line: str | None = None) -> list[Job]:
        found = [j for j in self.jobs.values() if j.place == place and line in {None, j.line}]
        return sorted(found, key=lambda job: job.order)

    def _put(self, job: Job, place: str, line: str | None = None) -> Job:
        job.place, job.line, job.order = place, line or job.line, next(self._orders)
        job.owner, job.is_due = "", job.is_due and place == "delayed"
        return job

    def _end(self, job: Job, state: str, ended_by: int, *, is_kept: bool) -> None:
        self._put(job, "ended")
        job.state, job.ended_by, job.is_kept = state, ended_by, is_kept
        if state == "dead":
            self.dead.append(job.id)
        if is_kept and job.is_awaited:
            self.told.append(job.id)
