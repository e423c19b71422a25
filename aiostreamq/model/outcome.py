"""How a job can stand, and how it ended.

An outcome is stored under `result:<id>` as JSON:

    {"state": "done", "n": 1, "task": "size", "value": 42}
    {"state": "failed", "n": 1, "task": "size",
     "error": {"type": "ValueError", "message": "no", "traceback": "..."}}

`n` is the number of the delivery that ended the job: it tells a worker that
asks twice "that was you" from "somebody else was first". Where `n` is not 1 there
may be such a worker, and `worker` says who was first:

    {"state": "done", "n": 2, "task": "size", "value": 42, "worker": "web1-9f2c4e1a"}
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never, cast

import orjson

from aiostreamq.errors import (
    JobCancelled,
    JobDead,
    JobDropped,
    JobError,
    JobExpired,
    JobFailed,
    JobTimeout,
    UsageError,
)

# The words of a reason may come from what a stranger wrote.
LONGEST_REASON = 500


UNREADABLE = (
    "the job has ended, but its outcome cannot be read here: a newer version of aiostreamq "
    "may have written it, or something else has written to its key"
)


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  #: waits in a lane
    RUNNING = "running"  #: a worker has it
    PARKED = "parked"  #: waits for a worker that knows its task
    DELAYED = "delayed"  #: waits for its time, or for its next attempt
    DROPPED = "dropped"  #: ended by the task itself, without a result
    EXPIRED = "expired"  #: ended unstarted, because its time had passed
    DONE = "done"  #: ended with a value
    FAILED = "failed"  #: ended with an exception
    TIMED_OUT = "timed_out"  #: ended by its timeout
    CANCELLED = "cancelled"  #: ended by a request
    DEAD = "dead"  #: given up: it is among the dead letters


def states_of(told: object, known: Iterable[JobState] = JobState) -> tuple[JobState, ...]:
    """Read a state, or several, as users give them; an error names those that are *known*.

    Raises:
        UsageError: One of them is no state.
    """
    several: Iterable[object] = (told,)
    if isinstance(told, Iterable) and not isinstance(told, str):
        several = cast("Iterable[object]", told)
    try:
        return tuple(map(JobState, several))
    except (TypeError, ValueError) as error:
        raise UsageError(f"state={told!r}: use some of {', '.join(known)}") from error


_NO_END = {JobState.QUEUED, JobState.RUNNING, JobState.PARKED, JobState.DELAYED}


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception, as far as it can travel."""

    type: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended, as read back from Redis."""

    state: JobState
    value: object = None  #: what the task returned, as plain JSON
    failure: Failure | None = None
    task: str = ""

    def error(self, job_id: str) -> JobError | None:
        """The exception to raise to whoever awaits, or None where there is a value."""
        match self.state:
            case JobState.DONE:
                return None
            case JobState.FAILED:
                told = self.failure or Failure("Exception", "", "")
                return JobFailed(told.type, told.message, told.traceback, job_id=job_id)
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
            case JobState.QUEUED | JobState.RUNNING | JobState.DELAYED | JobState.PARKED:
                raise ValueError(f"{self.state} is not an end")
            case _:
                assert_never(self.state)


def encode_done(task: bytes, number: int, value: bytes) -> bytes:
    """The outcome of a run that returned; *task* and *value* are JSON already."""
    return b'{"state":"done","n":%d,"task":%b,"value":%b}' % (number, task, value)


def encode_ended(task: str, number: int, state: JobState, failure: Failure | None = None) -> bytes:
    """The outcome of a run that did not return."""
    told: dict[str, object] = {"state": state.value, "n": number, "task": task}
    if failure is not None:
        told["error"] = failure
    return orjson.dumps(told)


def encode_unreadable(reason: str) -> bytes:
    """The outcome of what is no job that anybody can run. No delivery ended it."""
    failure = Failure("Unreadable", reason[:LONGEST_REASON], "")
    return encode_ended("", 0, JobState.DEAD, failure)


def signature_of(worker: str) -> bytes:
    """What `signed` puts at the end of the outcomes of a worker."""
    return b',"worker":%b}' % orjson.dumps(worker)


def signed(outcome: bytes, signature: bytes) -> bytes:
    """The same outcome, saying whose it is; *signature* is what `signature_of` gave."""
    return outcome[:-1] + signature


def signer_of(raw: bytes) -> str | None:
    """The worker that an outcome says it is of, or None where it says nothing."""
    try:
        worker = orjson.loads(raw)["worker"]
    except (ValueError, KeyError, TypeError):
        return None
    return worker if type(worker) is str else None


class Unreadable(ValueError):
    """The bytes are no outcome that is known here."""


def decode_outcome(raw: bytes) -> Outcome:
    """Read an outcome; unknown fields are ignored, so newer workers may say more.

    Raises:
        Unreadable: It is not one.
    """
    try:
        told = orjson.loads(raw)
        error = told.get("error")
        failure = None
        if error is not None:
            failure = Failure(error["type"], error["message"], error["traceback"])
        state, task = JobState(told["state"]), told.get("task", "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable(f"not an outcome: {error!r}") from error
    if type(task) is not str or state in _NO_END:
        raise Unreadable("state or task of the outcome cannot be meant")
    return Outcome(state, told.get("value"), failure, task)
