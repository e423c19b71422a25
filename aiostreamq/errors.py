"""The exceptions of aiostreamq, grouped by the party that can act.

    AioStreamQError
    ├── UsageError             your code: a bad option, argument or call
    │   ├── PayloadError       an argument or a result cannot travel as JSON
    │   └── ResultNotKept      the job keeps no result
    ├── JobError               raised by awaiting the job
    │   ├── JobFailed          the task raised
    │   ├── JobTimeout         the task ran past its timeout or deadline
    │   ├── JobCancelled       the job was cancelled
    │   ├── JobDead            the job was given up
    │   ├── JobDropped         the task dropped the job
    │   ├── JobExpired         the job was not started in time
    │   └── JobNotFound        no such job, or its result has expired
    ├── StreamBroken           the stream of chunks was interrupted; the job was not
    │   ├── JobRestarted       the job runs again: its chunks start again from the first
    │   └── EventsLost         chunks were dropped before you read them
    ├── ProcessDied            the process of a task died; seen as the type of a JobFailed
    ├── LifespanFailed         a lifespan of the queue failed, so the worker ends
    ├── WaitTimeout            you stopped waiting; the job is unaffected
    ├── LockLost               you held a lock, and hold it no more
    ├── AlreadyEnqueued        another job holds the key of this one
    └── BrokerError            a fault of Redis or the network: trying again may help
        ├── QueueFull          the lane holds all that it may
        ├── QueueUnavailable   Redis did not answer within the deadline
        │   └── EnqueueNotConfirmed   the job is in Redis, but not yet on a replica or on disk
        └── UnsupportedServer  this Redis is too old

Each class docstring is the default message and says what to do.
"""

from inspect import cleandoc
from typing import cast


class Picklable(Exception):
    """An exception that `pickle` and `copy` can rebuild, whatever its `__init__` takes.

    By default Python calls the class with `args`, which often holds only the message. This class
    keeps what Python keeps: `args`, attributes and notes, but not the cause or the traceback.
    """

    def __reduce__(self) -> tuple[object, ...]:
        state = self.__getstate__()
        if isinstance(state, tuple):  # a subclass has slots
            in_dict, in_slots = cast("tuple[dict[str, object] | None, dict[str, object]]", state)
            state = (in_dict or {}) | in_slots
        return _rebuild, (type(self), self.args), state


def _rebuild(kind: type[BaseException], args: tuple[object, ...]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args  # a subclass may define `__new__` and set others
    return error


class AioStreamQError(Picklable):
    """Something in aiostreamq went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or cleandoc(type(self).__doc__ or type(self).__name__))


class UsageError(AioStreamQError):
    """The call is invalid; the message says which part, and what to write instead."""


class PayloadError(UsageError):
    """The value cannot travel as JSON; annotate the parameter or send something simpler."""


class ResultNotKept(UsageError):
    """This job keeps no result (`result_ttl=0`); enqueue it with a result_ttl to await it."""


class JobError(AioStreamQError):
    """The job ended without a value."""

    def __init__(self, message: str | None = None, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id  #: the job this is about


class JobFailed(JobError):
    """The task raised an exception; `type`, `message` and `traceback` are the task's own."""

    def __init__(self, type: str, message: str, traceback: str, *, job_id: str = "") -> None:  # noqa: A002
        super().__init__(f"{type}: {message}" if message else type, job_id=job_id)
        self.type = type  #: qualified name of the exception class, as in "ValueError"
        self.message = message  #: str() of the exception
        self.traceback = traceback  #: formatted traceback of the task's own frames


class JobTimeout(JobError):
    """The task ran past its timeout or deadline; set a higher one if it needs longer."""


class JobCancelled(JobError):
    """The job was cancelled before it ended."""


class JobDead(JobError):
    """The job was given up and is among the dead letters."""


class JobDropped(JobError):
    """The task ended the job without a result: it raised Drop."""


class JobExpired(JobError):
    """The job was not started before its `expires` or `deadline`."""


class StreamBroken(AioStreamQError):
    """The stream of chunks was interrupted; the job itself was not."""

    def __init__(self, message: str | None = None, *, job_id: str = "", after: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id  #: the job this is about
        self.after = after  #: pass it to `job.events(after=...)` to continue from here


class JobRestarted(StreamBroken):
    """The job runs again from the start: discard the chunks you have, and iterate over it again."""


class EventsLost(StreamBroken):
    """Chunks were dropped before you read them: only the latest are kept. Read faster."""

    def __init__(
        self, message: str | None = None, *, job_id: str = "", after: str = "", count: int = 0
    ) -> None:
        super().__init__(message, job_id=job_id, after=after)
        self.count = count  #: number of missing chunks


class JobNotFound(JobError):
    """No job has this id: it was never enqueued, or its result has expired."""


class ProcessDied(AioStreamQError):
    """The process that ran the task died; awaiting the job raises JobFailed with this type."""


class LifespanFailed(AioStreamQError):
    """A lifespan of the queue failed; its own exception is the cause."""


class WaitTimeout(AioStreamQError, TimeoutError):
    """The job did not end within the time you gave. It is unaffected; await it again."""


class LockLost(AioStreamQError):
    """The lock was lost while its body ran: another may hold it. Undo or repeat what you did."""


class AlreadyEnqueued(AioStreamQError):
    """Another job holds the key of this one, so nothing was enqueued: await that job instead."""

    def __init__(self, message: str | None = None, *, job_id: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id  #: the job that holds the key


class BrokerError(AioStreamQError):
    """Redis refused or could not be reached."""


class QueueUnavailable(BrokerError):
    """Redis did not answer within the deadline; nothing is known to be lost, try again."""

    def __init__(self, message: str | None = None, *, enqueued: int = 0) -> None:
        super().__init__(message)
        self.enqueued = enqueued  #: for `enqueue_many`: how many calls, from the first, succeeded


class EnqueueNotConfirmed(QueueUnavailable):
    """The job is in Redis, but was not confirmed in time: enqueue it again with the same id."""

    def __init__(self, message: str | None = None, *, job_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.job_ids = job_ids  #: ids of the jobs; enqueue them again with these ids


class QueueFull(BrokerError):
    """The lane holds all that it may: workers cannot keep up. Try later, or start more workers."""

    def __init__(
        self,
        message: str | None = None,
        *,
        lane: str = "",
        max_length: int = 0,
        max_bytes: int = 0,
        enqueued: int = 0,
    ) -> None:
        super().__init__(message)
        self.lane = lane  #: the lane that is full
        self.max_length = max_length  #: number of jobs it may hold; 0 is any number
        self.max_bytes = max_bytes  #: bytes of payloads it may hold; 0 is any number
        self.enqueued = enqueued  #: for `enqueue_many`: how many calls, from the first, succeeded


class UnsupportedServer(BrokerError):
    """This Redis is too old or lacks a feature: aiostreamq needs Redis 6.2 or later, or Valkey."""
