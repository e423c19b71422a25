"""How a worker works: its settings, their defaults and their limits."""

import os
from typing import TYPE_CHECKING, Protocol

from aiostreamq.errors import UsageError
from aiostreamq.model.duration import seconds
from aiostreamq.model.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiostreamq.model.duration import Duration

# As many `def` tasks at once as the standard library would give a pool.
THREADS = min(32, (os.cpu_count() or 1) + 4)

# One process a core: more would not be faster for work that keeps a processor busy.
PROCESSES = os.cpu_count() or 1

# Seconds. Orchestrators commonly kill 30 s after they ask to stop.
SHUTDOWN_TIMEOUT = 25.0

# Seconds. Long enough for a stalled network, short enough to be waited for.
LEASE = 15.0
SHORTEST_LEASE = 1.0

MAX_WORKER_DEATHS = 3

# Seconds. Everything else in the process stands still while the loop is blocked.
LOOP_BLOCK_WARNING = 1.0

# Each byte of a payload takes several: as it came, decoded, as a result, and encoded. So this keeps
# a worker well below 500 MB.
MAX_HELD_BYTES = 64 * 1024 * 1024


class SlotSharing(Protocol):
    """The slots that the workers of several queues share: a `SlotPool`."""

    total: int  #: how many there are


@record
class WorkerSettings:
    """How a worker works."""

    concurrency: int  #: how many jobs run at once
    lanes: "Mapping[str, int]"  #: the weights of the lanes that are served
    threads: int  #: how many `def` tasks run at once in threads
    processes: int  #: how many tasks run at once in processes
    lease: float  #: seconds of silence after which other workers take its jobs
    max_worker_deaths: int  #: after how many worker deaths a job is given up
    loop_block_warning: float  #: seconds the loop may be blocked before that is reported
    shutdown_timeout: float  #: seconds that running jobs get to end in
    max_held_bytes: int = MAX_HELD_BYTES  #: bytes of payloads of the jobs that run at once
    log_jobs: bool = False  #: whether the start of each job and its end are logged
    slot_pool: "SlotSharing | None" = None  #: the slots shared with workers of other queues

    @property
    def lease_ms(self) -> int:
        """The lease in milliseconds."""
        return int(self.lease * 1000)


def check_count(option: str, count: int) -> None:
    """Raise UsageError if *count*, given as *option*, is not a number from 1 on."""
    # A number out of the environment comes as a string.
    if type(count) is not int or count < 1:
        raise UsageError(f"{option}={count!r}: use 1 or more, as a whole number")


def lease_seconds(lease: "Duration") -> float:
    """Return a lease in seconds.

    Raises:
        UsageError: It is not a duration, or too short.
    """
    found = seconds("lease", lease)
    if found < SHORTEST_LEASE:
        raise UsageError(
            f"lease={lease!r} would let a hiccup of the network cost a worker its jobs: "
            f"use {SHORTEST_LEASE:g} s or more"
        )
    return found


def check_queue(queue: object) -> None:
    """Raise UsageError if *queue* is not a queue."""
    from aiostreamq.client.queue_client import QueueClient  # the command line needs it later

    if isinstance(queue, QueueClient):
        return
    if isinstance(queue, str):  # not shown: it may hold a password
        raise UsageError("a Worker takes the Queue, and this is a string: Worker(Queue(url))")
    what = f"the class {queue.__name__}" if isinstance(queue, type) else type(queue).__name__
    raise UsageError(
        f"a Worker takes the Queue whose tasks it runs, and this is {what}: write Worker(queue)"
    )
