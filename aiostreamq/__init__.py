"""aiostreamq: the asyncio-native task queue on Redis Streams."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from aiostreamq.client.call import Call, StreamCall
from aiostreamq.client.context import Context
from aiostreamq.client.job import Job, StreamJob
from aiostreamq.client.queue_client import QueueClient
from aiostreamq.client.task import StreamTask, Task
from aiostreamq.errors import (
    AioStreamQError,
    AlreadyEnqueued,
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
    LifespanFailed,
    LockLost,
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
from aiostreamq.model.job_state import JobState
from aiostreamq.model.retry import Retry
from aiostreamq.queue import Queue
from aiostreamq.version import __version__

if TYPE_CHECKING:
    from aiostreamq.client.blocking.blocking_job import BlockingJob
    from aiostreamq.client.blocking.blocking_queue import BlockingQueue
    from aiostreamq.client.current_job import CurrentJob, JobFilter, current_job
    from aiostreamq.client.dead_letters.dead_letters import DeadLetters
    from aiostreamq.client.limit_settings import Limits
    from aiostreamq.client.lock import Fence, Lock
    from aiostreamq.client.middleware import CallNext, EnqueueCall, RunCall
    from aiostreamq.client.results.gathering import as_completed, gather
    from aiostreamq.client.schedules.schedule import Schedule
    from aiostreamq.client.schedules.schedules import Schedules
    from aiostreamq.client.tasks import Tasks
    from aiostreamq.model.dead_letters import DeadLetter, PastFailure
    from aiostreamq.model.functions.dependency import Depends
    from aiostreamq.model.functions.lifespan import Lifespan
    from aiostreamq.model.info import (
        JobInfo,
        JobPage,
        LaneInfo,
        Latency,
        MinuteInfo,
        QueueInfo,
        RunningJob,
        TaskInfo,
        WorkerInfo,
    )
    from aiostreamq.model.job_events import Chunk, Event, Lost, Progress, Restarted
    from aiostreamq.model.limit_reports import JobWait, LimitInfo, LimitRule, LimitState, WaitReason
    from aiostreamq.model.limits import Concurrency, Ordered, Rate
    from aiostreamq.model.lock_reports import LockInfo
    from aiostreamq.model.pauses import Pause
    from aiostreamq.model.totals import TaskTotals, TimeHistogram
    from aiostreamq.model.unique import Debounce, KeepLatest, Throttle, Unique
    from aiostreamq.model.verdict import Drop, GiveUp, RateLimited, RetryLater
    from aiostreamq.model.worker_state import WorkerState
    from aiostreamq.worker.group import WorkerGroup
    from aiostreamq.worker.worker import Worker

__all__ = [
    "AioStreamQError",
    "AlreadyEnqueued",
    "BlockingJob",
    "BlockingQueue",
    "BrokerError",
    "Call",
    "CallNext",
    "Chunk",
    "Concurrency",
    "Context",
    "CurrentJob",
    "DeadLetter",
    "DeadLetters",
    "Debounce",
    "Depends",
    "Drop",
    "EnqueueCall",
    "EnqueueNotConfirmed",
    "Event",
    "EventsLost",
    "Fence",
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
    "JobPage",
    "JobRestarted",
    "JobState",
    "JobTimeout",
    "JobWait",
    "KeepLatest",
    "LaneInfo",
    "Latency",
    "Lifespan",
    "LifespanFailed",
    "LimitInfo",
    "LimitRule",
    "LimitState",
    "Limits",
    "Lock",
    "LockInfo",
    "LockLost",
    "Lost",
    "MinuteInfo",
    "Ordered",
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
    "Rate",
    "RateLimited",
    "Restarted",
    "ResultNotKept",
    "Retry",
    "RetryLater",
    "RunCall",
    "RunningJob",
    "Schedule",
    "Schedules",
    "StreamBroken",
    "StreamCall",
    "StreamJob",
    "StreamTask",
    "Task",
    "TaskInfo",
    "TaskTotals",
    "Tasks",
    "Throttle",
    "TimeHistogram",
    "Unique",
    "UnsupportedServer",
    "UsageError",
    "WaitReason",
    "WaitTimeout",
    "Worker",
    "WorkerGroup",
    "WorkerInfo",
    "WorkerState",
    "__version__",
    "as_completed",
    "current_job",
    "gather",
]


# Imported at the first use: producers need no worker, and few programs follow jobs.
_MODULE_OF = {
    "BlockingJob": "aiostreamq.client.blocking.blocking_job",
    "BlockingQueue": "aiostreamq.client.blocking.blocking_queue",
    "CallNext": "aiostreamq.client.middleware",
    "Chunk": "aiostreamq.model.job_events",
    "Concurrency": "aiostreamq.model.limits",
    "CurrentJob": "aiostreamq.client.current_job",
    "DeadLetter": "aiostreamq.model.dead_letters",
    "DeadLetters": "aiostreamq.client.dead_letters.dead_letters",
    "Debounce": "aiostreamq.model.unique",
    "Depends": "aiostreamq.model.functions.dependency",
    "Drop": "aiostreamq.model.verdict",
    "EnqueueCall": "aiostreamq.client.middleware",
    "Event": "aiostreamq.model.job_events",
    "Fence": "aiostreamq.client.lock",
    "GiveUp": "aiostreamq.model.verdict",
    "JobFilter": "aiostreamq.client.current_job",
    "JobInfo": "aiostreamq.model.info",
    "JobPage": "aiostreamq.model.info",
    "JobWait": "aiostreamq.model.limit_reports",
    "KeepLatest": "aiostreamq.model.unique",
    "LaneInfo": "aiostreamq.model.info",
    "Latency": "aiostreamq.model.info",
    "MinuteInfo": "aiostreamq.model.info",
    "Lifespan": "aiostreamq.model.functions.lifespan",
    "LimitInfo": "aiostreamq.model.limit_reports",
    "LimitRule": "aiostreamq.model.limit_reports",
    "LimitState": "aiostreamq.model.limit_reports",
    "Limits": "aiostreamq.client.limit_settings",
    "Lock": "aiostreamq.client.lock",
    "LockInfo": "aiostreamq.model.lock_reports",
    "Lost": "aiostreamq.model.job_events",
    "Ordered": "aiostreamq.model.limits",
    "PastFailure": "aiostreamq.model.dead_letters",
    "Pause": "aiostreamq.model.pauses",
    "Progress": "aiostreamq.model.job_events",
    "QueueInfo": "aiostreamq.model.info",
    "Rate": "aiostreamq.model.limits",
    "RateLimited": "aiostreamq.model.verdict",
    "Restarted": "aiostreamq.model.job_events",
    "RetryLater": "aiostreamq.model.verdict",
    "RunCall": "aiostreamq.client.middleware",
    "RunningJob": "aiostreamq.model.info",
    "Schedule": "aiostreamq.client.schedules.schedule",
    "Schedules": "aiostreamq.client.schedules.schedules",
    "TaskInfo": "aiostreamq.model.info",
    "TaskTotals": "aiostreamq.model.totals",
    "Tasks": "aiostreamq.client.tasks",
    "Throttle": "aiostreamq.model.unique",
    "TimeHistogram": "aiostreamq.model.totals",
    "Unique": "aiostreamq.model.unique",
    "WaitReason": "aiostreamq.model.limit_reports",
    "Worker": "aiostreamq.worker.worker",
    "WorkerGroup": "aiostreamq.worker.group",
    "WorkerInfo": "aiostreamq.model.info",
    "WorkerState": "aiostreamq.model.worker_state",
    "as_completed": "aiostreamq.client.results.gathering",
    "current_job": "aiostreamq.client.current_job",
    "gather": "aiostreamq.client.results.gathering",
}


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)
