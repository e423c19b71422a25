"""aiostreamq: the asyncio-native task queue on Redis Streams."""

from typing import TYPE_CHECKING

from aiostreamq.client.context import Context
from aiostreamq.client.job import Job, StreamJob
from aiostreamq.client.task import Call, StreamCall, StreamTask, Task
from aiostreamq.errors import (
    AioStreamQError,
    BrokerError,
    EventsLost,
    JobCancelled,
    JobDead,
    JobDropped,
    JobError,
    JobExpired,
    JobFailed,
    JobNotFound,
    JobRestarted,
    JobTimeout,
    NoResult,
    NotConfirmed,
    PayloadError,
    ProcessDied,
    QueueFull,
    QueueUnavailable,
    StreamBroken,
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
    from aiostreamq.client.schedule import Schedule
    from aiostreamq.client.schedules import Schedules
    from aiostreamq.model.event import Chunk, Event, Lost, Progress, Restarted
    from aiostreamq.model.letter import DeadLetter, PastFailure
    from aiostreamq.model.pause import Pause
    from aiostreamq.model.sight import (
        JobInfo,
        LaneInfo,
        Latency,
        QueueInfo,
        RunningJob,
        TaskInfo,
        WorkerInfo,
    )
    from aiostreamq.worker.worker import Worker

__all__ = [
    "AioStreamQError",
    "BrokerError",
    "Call",
    "Chunk",
    "Context",
    "Dead",
    "DeadLetter",
    "DeadLetters",
    "Drop",
    "Event",
    "EventsLost",
    "Job",
    "JobCancelled",
    "JobDead",
    "JobDropped",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobInfo",
    "JobNotFound",
    "JobRestarted",
    "JobState",
    "JobTimeout",
    "LaneInfo",
    "Latency",
    "Lost",
    "NoResult",
    "NotConfirmed",
    "PastFailure",
    "Pause",
    "PayloadError",
    "ProcessDied",
    "Progress",
    "Queue",
    "QueueFull",
    "QueueInfo",
    "QueueUnavailable",
    "Restarted",
    "Retry",
    "RetryLater",
    "RunningJob",
    "Schedule",
    "Schedules",
    "StreamBroken",
    "StreamCall",
    "StreamJob",
    "StreamTask",
    "Task",
    "TaskInfo",
    "UnsupportedServer",
    "UsageError",
    "WaitTimeout",
    "Worker",
    "WorkerInfo",
    "WorkerState",
    "__version__",
]

__version__: str

_SIGHTS = {
    "JobInfo",
    "LaneInfo",
    "Latency",
    "QueueInfo",
    "RunningJob",
    "TaskInfo",
    "WorkerInfo",
}


def __getattr__(name: str) -> object:
    # Read when asked for: producers need no worker, few programs follow jobs, and
    # importlib.metadata would be a third of the import of aiostreamq.
    if name == "Worker":
        from aiostreamq.worker.worker import Worker

        return Worker
    if name in {"DeadLetter", "PastFailure"}:
        from aiostreamq.model import letter

        return getattr(letter, name)
    if name == "Pause":
        from aiostreamq.model.pause import Pause

        return Pause
    if name in _SIGHTS:
        from aiostreamq.model import sight

        return getattr(sight, name)
    if name == "DeadLetters":
        from aiostreamq.client.dead import DeadLetters

        return DeadLetters
    if name == "Schedule":
        from aiostreamq.client.schedule import Schedule

        return Schedule
    if name == "Schedules":
        from aiostreamq.client.schedules import Schedules

        return Schedules
    if name in {"Chunk", "Event", "Lost", "Progress", "Restarted"}:
        from aiostreamq.model import event

        return getattr(event, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("aiostreamq")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
