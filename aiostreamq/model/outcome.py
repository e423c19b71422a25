"""The outcome of a job: how it ended.

An outcome is stored under `result:<id>` as JSON:

    {"state": "done", "n": 1, "task": "size", "value": 42}
    {"state": "failed", "n": 1, "task": "size",
     "error": {"type": "ValueError", "message": "no", "traceback": "..."}}

`n` is the number of the delivery that ended the job. A worker that settles a job twice learns
from it whether its own settlement or another worker's was the first. If `n` is not 1, another
worker may have had the job too, and `worker` names the one that settled it:

    {"state": "done", "n": 2, "task": "size", "value": 42, "worker": "web1-9f2c4e1a"}
"""

from typing import assert_never

import orjson

from aiostreamq.errors import (
    JobCancelled,
    JobDead,
    JobDropped,
    JobError,
    JobExpired,
    JobFailed,
    JobTimeout,
    Picklable,
)
from aiostreamq.model.exception_names import Kinds
from aiostreamq.model.job_state import OPEN_STATES, JobState
from aiostreamq.model.record import record

# Characters; the reason may quote what another program wrote.
LONGEST_REASON = 500


UNREADABLE = (
    "the job has ended, but its outcome cannot be read: a newer version of aiostreamq "
    "may have written it, or another program wrote to its key"
)


@record
class Failure:
    """The description of an exception that an outcome stores."""

    type: str
    message: str
    traceback: str


class RemoteException(Picklable):
    """A stand-in for an exception that was raised in another process.

    The exception itself is not sent: it may hold values that cannot be pickled, and the worker
    may lack its class. Retry rules are compared with its names.
    """

    def __init__(self, kinds: Kinds, failure: Failure) -> None:
        super().__init__(failure.message)
        self.kinds = kinds  #: names of its class, for `Retry`
        self.failure = failure  #: its description, for the outcome


@record
class Outcome:
    """How a job ended, as read from Redis."""

    state: JobState
    value: object = None  #: what the task returned, as plain JSON
    failure: Failure | None = None
    task: str = ""

    def error(self, job_id: str) -> JobError | None:
        """Return the exception that awaiting the job raises, or None if it has a value."""
        match self.state:
            case JobState.DONE:
                return None
            case JobState.FAILED:
                found = self.failure or Failure("Exception", "", "")
                return JobFailed(found.type, found.message, found.traceback, job_id=job_id)
            case JobState.TIMED_OUT:
                return JobTimeout(job_id=job_id)
            case JobState.CANCELLED:
                return JobCancelled(job_id=job_id)
            case JobState.DEAD:
                return JobDead(self.failure.message if self.failure else None, job_id=job_id)
            case JobState.DROPPED:
                return JobDropped(self.failure.message if self.failure else None, job_id=job_id)
            case JobState.EXPIRED:
                return JobExpired(job_id=job_id)
            case (
                JobState.QUEUED
                | JobState.RUNNING
                | JobState.DELAYED
                | JobState.PARKED
                | JobState.HELD
            ):
                raise ValueError(f"{self.state} is not an end")
            case _:
                assert_never(self.state)


def encode_done(task: bytes, number: int, value: bytes) -> bytes:
    """Return the outcome of a run that returned; *task* and *value* are JSON already."""
    return b'{"state":"done","n":%d,"task":%b,"value":%b}' % (number, task, value)


def encode_ended(task: str, number: int, state: JobState, failure: Failure | None = None) -> bytes:
    """Return the outcome of a run that did not return a value."""
    outcome: dict[str, object] = {"state": state.value, "n": number, "task": task}
    if failure is not None:
        outcome["error"] = failure
    return orjson.dumps(outcome)


def encode_unreadable(reason: str) -> bytes:
    """Return the outcome of a job that cannot be read. No delivery ended it."""
    failure = Failure("Unreadable", reason[:LONGEST_REASON], "")
    return encode_ended("", 0, JobState.DEAD, failure)


def signature_of(worker: str) -> bytes:
    """Return what `signed` appends to the outcomes of a worker."""
    return b',"worker":%b}' % orjson.dumps(worker)


def signed(outcome: bytes, signature: bytes) -> bytes:
    """Return the outcome with the worker's name added; *signature* comes from `signature_of`."""
    return outcome[:-1] + signature


def signer_of(raw: bytes) -> str | None:
    """Return the worker named in an outcome, or None."""
    try:
        worker = orjson.loads(raw)["worker"]
    except (ValueError, KeyError, TypeError):
        return None
    return worker if type(worker) is str else None


class Unreadable(ValueError):
    """The bytes are not an outcome that this version knows."""


def decode_outcome(raw: bytes) -> Outcome:
    """Parse an outcome; unknown fields are ignored, so that newer workers can add some.

    Raises:
        Unreadable: The bytes are not an outcome.
    """
    try:
        fields = orjson.loads(raw)
        error = fields.get("error")
        failure = None
        if error is not None:
            failure = Failure(error["type"], error["message"], error["traceback"])
        state, task = JobState(fields["state"]), fields.get("task", "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"not an outcome: {error!r}") from error
    if type(task) is not str or state in OPEN_STATES:
        raise Unreadable("state or task of the outcome is invalid")
    return Outcome(state, fields.get("value"), failure, task)
