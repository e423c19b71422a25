"""aiostreamq: the asyncio-native task queue on Redis Streams."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from aiostreamq.client.context import Context
from aiostreamq.client.job import Job, StreamJob
from aiostreamq.client.queue_client import QueueClient
from aiostreamq.client.task import Call, StreamCall, StreamTask, Task
from aiostreamq.errors import (
    AioStreamQError,
    BrokerError,
    EnqueueNotConfirmed,
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
    PayloadError,
    ProcessDied,
    QueueFull,
    QueueUnavailable,
    ResultNotKept,
    StreamBroken,
    UnsupportedServer,
    UsageError,
    WaitTimeout,
)
from aiostreamq.model.outcome import JobState
from aiostreamq.model.retry import Retry
from aiostreamq.model.verdict import Drop, GiveUp, RetryLater
from aiostreamq.model.worker_state import WorkerState
from aiostreamq.queue import Queue

if TYPE_CHECKING:
    from aiostreamq.client.current_job import CurrentJob, JobFilter, current_job
    from aiostreamq.client.dead_letters import DeadLetters
    from aiostreamq.client.schedules.schedule import Schedule
    from aiostreamq.client.schedules.schedules import Schedules
    from aiostreamq.model.dead_letters import DeadLetter, PastFailure
    from aiostreamq.model.events import Chunk, Event, Lost, Progress, Restarted
    from aiostreamq.model.info import (
        JobInfo,
        LaneInfo,
        Latency,
        QueueInfo,
        RunningJob,
        TaskInfo,
        WorkerInfo,
    )
    from aiostreamq.model.pauses import Pause
    from aiostreamq.worker.worker import Worker

__all__ = [
    "AioStreamQError",
    "BrokerError",
    "Call",
    "Chunk",
    "Context",
    "CurrentJob",
    "DeadLetter",
    "DeadLetters",
    "Drop",
    "EnqueueNotConfirmed",
    "Event",
    "EventsLost",
    "GiveUp",
    "Job",
    "JobCancelled",
    "JobDead",
    "JobDropped",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobFilter",
    "JobInfo",
    "JobNotFound",
    "JobRestarted",
    "JobState",
    "JobTimeout",
    "LaneInfo",
    "Latency",
    "Lost",
    "PastFailure",
    "Pause",
    "PayloadError",
    "ProcessDied",
    "Progress",
    "Queue",
    "QueueClient",
    "QueueFull",
    "QueueInfo",
    "QueueUnavailable",
    "Restarted",
    "ResultNotKept",
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
    "current_job",
]

__version__: str

# Read when asked for: producers need no worker, and few programs follow jobs.
_LATE = {
    "aiostreamq.client.current_job": {"CurrentJob", "JobFilter", "current_job"},
    "aiostreamq.client.dead_letters": {"DeadLetters"},
    "aiostreamq.client.schedules.schedule": {"Schedule"},
    "aiostreamq.client.schedules.schedules": {"Schedules"},
    "aiostreamq.model.events": {"Chunk", "Event", "Lost", "Progress", "Restarted"},
    "aiostreamq.model.dead_letters": {"DeadLetter", "PastFailure"},
    "aiostreamq.model.pauses": {"Pause"},
    "aiostreamq.model.info": {
        "JobInfo",
        "LaneInfo",
        "Latency",
        "QueueInfo",
        "RunningJob",
        "TaskInfo",
        "WorkerInfo",
    },
    "aiostreamq.worker.worker": {"Worker"},
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        # It would be a third of the import of aiostreamq.
        from importlib.metadata import version

        return version("aiostreamq")
    for module, names in _LATE.items():
        if name in names:
            return getattr(_import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
