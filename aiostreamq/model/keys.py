"""Every key of a queue, built here and nowhere else.

All of them share the hash tag `{name}`, so one queue lives in one cluster slot
and every script may touch all of its keys.
"""

import re

from aiostreamq.errors import UsageError
from aiostreamq.model.executor_kind import Spillway

# The consumer group of every stream. Public: autoscalers read its lag.
GROUP = "aiostreamq"

# Not a lane: work that was handed back or recovered waits here and is read first.
RETURNED = "returned"

# Not lanes either: jobs of `def` tasks that a worker was sent while its threads, or its
# processes, were taken, and jobs that would await others while only lent slots were free. Only
# workers with free ones read them.
OVERFLOW: dict[Spillway, str] = {
    "thread": "overflow:thread",
    "process": "overflow:process",
    "slot": "overflow:slot",
}

#: What no lane may be called.
RESERVED = (RETURNED, *OVERFLOW.values())

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


def checked_name(kind: str, name: str) -> str:
    """Return *name*, or raise UsageError where it could not be part of a key."""
    is_text = isinstance(name, str)  # pyright: ignore[reportUnnecessaryIsInstance]  # not all check types
    if not is_text or not _NAME.fullmatch(name):
        raise UsageError(
            f"{kind} name {name!r} is not usable: "
            f"use a string of 1 to 128 letters, digits, '_', '.', ':' or '-'"
        )
    return name


class Keys:
    """The keys of one queue."""

    __slots__ = (
        "cancelled",
        "confirm",
        "control",
        "dead",
        "delayed",
        "parked",
        "paused",
        "prefix",
        "queue",
        "recent",
        "schedule_due",
        "schedule_due_code",
        "schedules",
        "workers",
    )

    def __init__(self, queue: str) -> None:
        self.queue = checked_name("queue", queue)
        self.prefix = f"aiostreamq:{{{queue}}}:"
        self.delayed = self.prefix + "delayed"
        self.cancelled = self.prefix + "cancelled"
        self.confirm = self.prefix + "confirm"
        self.paused = self.prefix + "paused"
        self.control = self.prefix + "control"
        self.dead = self.prefix + "dead"
        self.parked = self.prefix + "parked"
        self.recent = self.prefix + "recent"
        self.workers = self.prefix + "workers"
        self.schedules = self.prefix + "schedules"
        self.schedule_due = self.prefix + "schedule_due"
        self.schedule_due_code = self.prefix + "schedule_due_code"

    def stream(self, lane: str) -> str:
        """The stream of *lane*, or of one of RESERVED."""
        return f"{self.prefix}stream:{lane}"

    def job(self, job_id: str) -> str:
        """The hash of a job that has not ended."""
        return f"{self.prefix}job:{job_id}"

    def result(self, job_id: str) -> str:
        """The outcome of a job that has ended."""
        return f"{self.prefix}result:{job_id}"

    def events(self, job_id: str) -> str:
        """The stream of what a job says while it runs."""
        return f"{self.prefix}events:{job_id}"

    def inbox(self, client: str) -> str:
        """The list that wakes one client process."""
        return f"{self.prefix}inbox:{client}"

    def schedule(self, name: str) -> str:
        """The hash of what changes about a schedule."""
        return f"{self.prefix}schedule:{name}"

    def worker(self, name: str) -> str:
        """What a worker has told of itself."""
        return f"{self.prefix}worker:{name}"

    def counted(self, worker: str) -> str:
        """The number of a worker's last word on how jobs ended."""
        return f"{self.prefix}counted:{worker}"

    def parked_for(self, task: str) -> str:
        """The stream of jobs that wait for a worker that knows *task*."""
        return f"{self.parked}:{task}"

    def stats(self, minute: int) -> str:
        """The counters of a minute since 1970."""
        return f"{self.prefix}stats:{minute}"
