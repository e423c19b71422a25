"""aiostreamq: the asyncio-native task queue on Redis Streams."""

from typing import TYPE_CHECKING

from aiostreamq.client.context import Context
from aiostreamq.client.job import Job
from aiostreamq.client.task import Call, Task
from aiostreamq.errors import (
    AioStreamQError,
    BrokerError,
    JobCancelled,
    JobDead,
    JobDropped,
    JobError,
    JobExpired,
    JobFailed,
    JobNotFound,
    JobTimeout,
    NoResult,
    NotConfirmed,
    PayloadError,
    ProcessDied,
    QueueFull,
    QueueUnavailable,
    UnsupportedServer,
    UsageError,
    WaitTimeout,
)
from aiostreamq.model.outcome import JobState
from aiostreamq.model.retry import Retry
from aiostreamq.model.state import WorkerState
from aiostreamq.model.verdict import Dead, Drop, RetryLater
from aiostreamq.queue import Queue

if TYPE_CHECKING:
    from aiostreamq.client.dead import DeadLetters
    from aiostreamq.model.letter import DeadLetter, PastFailure
    from aiostreamq.model.pause import Pause
    from aiostreamq.worker.worker import Worker

__all__ = [
    "AioStreamQError",
    "BrokerError",
    "Call",
    "Context",
    "Dead",
    "DeadLetter",
    "DeadLetters",
    "Drop",
    "Job",
    "JobCancelled",
    "JobDead",
    "JobDropped",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobNotFound",
    "JobState",
    "JobTimeout",
    "NoResult",
    "NotConfirmed",
    "PastFailure",
    "Pause",
    "PayloadError",
    "ProcessDied",
    "Queue",
    "QueueFull",
    "QueueUnavailable",
    "Retry",
    "RetryLater",
    "Task",
    "UnsupportedServer",
    "UsageError",
    "WaitTimeout",
    "Worker",
    "WorkerState",
    "__version__",
]

__version__: str


def __getattr__(name: str) -> object:
    # Read when asked for: producers need no worker, and importlib.metadata would
    # be a third of the import of aiostreamq.
    if name == "Worker":
        from aiostreamq.worker.worker import Worker

        return Worker
    if name in {"DeadLetter", "PastFailure"}:
        from aiostreamq.model import letter

        return getattr(letter, name)
    if name == "Pause":
        from aiostreamq.model.pause import Pause

        return Pause
    if name == "DeadLetters":
        from aiostreamq.client.dead import DeadLetters

        return DeadLetters
    if name == "__version__":
        from importlib.metadata import version

        return version("aiostreamq")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
