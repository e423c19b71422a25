"""The names of a queue's keys in Redis.

All share the hash tag `{name}`, so that a queue lives in one cluster slot and every script may
access all of its keys. Scripts append ids and names to the prefixes that they are given.
"""

import re
from typing import Literal

from aiostreamq.errors import UsageError

# The consumer group of every stream. Public: autoscalers read its lag.
GROUP = "aiostreamq"

# Not a lane: jobs that were requeued or recovered wait here and are read first.
RETURNED = "returned"

#: A resource that a worker may have run out of when it was sent a job.
Spillway = Literal["thread", "process", "slot"]

# Not lanes either: they hold jobs that a worker was sent when it had no thread, process or slot
# of its own free for them. Only workers that have one free read them.
OVERFLOW: dict[Spillway, str] = {
    "thread": "overflow:thread",
    "process": "overflow:process",
    "slot": "overflow:slot",
}

# Nor is this: held jobs whose limits have room are delivered from here. And the lane of held jobs.
ADMITTED, HELD = "admitted", "held"

#: Names that no lane may have.
RESERVED = (RETURNED, *OVERFLOW.values(), ADMITTED, HELD)

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def checked_name(kind: str, name: str) -> str:
    """Return *name*, or raise UsageError if it cannot be part of a key."""
    is_text = isinstance(name, str)  # pyright: ignore[reportUnnecessaryIsInstance]  # not all check types
    if not is_text or not _NAME.fullmatch(name):
        raise UsageError(
            f"{kind} name {name!r} is invalid: "
            f"use a string of 1 to 128 letters, digits, '_', '.', ':' or '-'"
        )
    return name


class Keys:
    """The keys of one queue.

    It has an attribute for each key that needs neither an id nor a name: scripts get them on
    each call, and making a string takes longer than reading one.
    """

    __slots__ = (
        "alive",
        "audit",
        "bell",
        "cancelled",
        "confirm",
        "control",
        "dead",
        "delayed",
        "due",
        "held",
        "leases",
        "limit_defaults",
        "limit_rules",
        "limits",
        "lock_fence",
        "parked",
        "paused",
        "prefix",
        "queue",
        "ready",
        "recent",
        "schedule_due",
        "schedule_due_code",
        "schedules",
        "totals",
        "unique",
        "workers",
    )

    def __init__(self, queue: str) -> None:
        self.queue = checked_name("queue", queue)
        self.prefix = f"aiostreamq:{{{queue}}}:"
        self.delayed = self.prefix + "delayed"
        self.audit = self.prefix + "audit"
        self.cancelled = self.prefix + "cancelled"
        self.confirm = self.prefix + "confirm"
        self.paused = self.prefix + "paused"
        self.control = self.prefix + "control"
        self.dead = self.prefix + "dead"
        self.parked = self.prefix + "parked"
        self.unique = self.prefix + "unique"
        self.ready = self.prefix + "ready"
        self.due = self.prefix + "due"
        self.bell = self.prefix + "bell"
        self.held = self.prefix + "held"
        self.limits = self.prefix + "limits"
        self.limit_defaults = self.prefix + "limit_defaults"
        self.limit_rules = self.prefix + "limit_rules"
        self.lock_fence = self.prefix + "lock_fence"
        self.recent = self.prefix + "recent"
        self.totals = self.prefix + "totals"
        self.workers = self.prefix + "workers"
        self.alive = self.prefix + "alive"
        self.leases = self.prefix + "leases"
        self.schedules = self.prefix + "schedules"
        self.schedule_due = self.prefix + "schedule_due"
        self.schedule_due_code = self.prefix + "schedule_due_code"

    def stream(self, lane: str) -> str:
        """Return the stream of *lane*, or of one of RESERVED."""
        return f"{self.prefix}stream:{lane}"

    def job(self, job_id: str) -> str:
        """Return the hash of a job that has not ended."""
        return f"{self.prefix}job:{job_id}"

    def result(self, job_id: str) -> str:
        """Return the key of the outcome of a job that has ended."""
        return f"{self.prefix}result:{job_id}"

    def events(self, job_id: str) -> str:
        """Return the stream of a job's progress reports and chunks."""
        return f"{self.prefix}events:{job_id}"

    def inbox(self, client: str) -> str:
        """Return the list that notifies one client process."""
        return f"{self.prefix}inbox:{client}"

    def schedule(self, name: str) -> str:
        """Return the hash of a schedule's changing state."""
        return f"{self.prefix}schedule:{name}"

    def worker(self, name: str) -> str:
        """Return the key of a worker's description of itself."""
        return f"{self.prefix}worker:{name}"

    def counted(self, worker: str) -> str:
        """Return the key of the number of the last batch that a worker counted."""
        return f"{self.prefix}counted:{worker}"

    def parked_for(self, task: str) -> str:
        """Return the stream of jobs that wait for a worker that knows *task*."""
        return f"{self.parked}:{task}"

    def backlog(self, name: str) -> str:
        """Return the sorted set of the held jobs of a backlog."""
        return f"{self.prefix}backlog:{name}"

    def blocked(self, token: str) -> str:
        """Return the sorted set of the backlogs that wait for a limit."""
        return f"{self.prefix}blocked:{token}"

    def permits(self, token: str) -> str:
        """Return the sorted set of the permits that are held under a limit."""
        return f"{self.prefix}permits:{token}"

    def order(self, token: str) -> str:
        """Return the sorted set of the jobs of an order."""
        return f"{self.prefix}order:{token}"

    def lock(self, name: str) -> str:
        """Return the hash of a lock: who holds it, and until when."""
        return f"{self.prefix}lock:{name}"

    def lock_line(self, name: str) -> str:
        """Return the sorted set of those that wait for a lock."""
        return f"{self.prefix}lock_line:{name}"

    def stats(self, minute: int) -> str:
        """Return the hash of counters for one minute since 1970."""
        return f"{self.prefix}stats:{minute}"
