"""What becomes of a job whose run gave no value."""

import random
from typing import TYPE_CHECKING, NamedTuple

from aiostreamq.logs import get_logger
from aiostreamq.model.delivery import Retrial
from aiostreamq.model.outcome import Failure, JobState, encode_ended
from aiostreamq.model.spec import LONGEST
from aiostreamq.model.verdict import EndDead, EndDropped, EndFailed, RunAgain, judge
from aiostreamq.signals import is_ctrl_c
from aiostreamq.worker.failures import clean, describe
from aiostreamq.worker.runs import Stop, has_time_left, told

if TYPE_CHECKING:
    from aiostreamq.worker.runs import Run

logger = get_logger("aiostreamq.worker")


class Ended(NamedTuple):
    """The job has ended."""

    outcome: bytes  #: JSON
    state: JobState


def ended(run: "Run", state: JobState, failure: Failure | None = None) -> Ended:
    """Return the end of a run's job in *state*."""
    return Ended(encode_ended(run.spec.name, run.delivery.number, state, failure), state)


def failed(run: "Run", error: BaseException) -> Ended:
    """Return the end of a run's job that failed with *error*. Does not raise."""
    return ended(run, JobState.FAILED, describe(error))


def judged(run: "Run", error: BaseException, now_ms: float) -> Ended | Retrial:
    """Say, and log, what becomes of the job of a run that raised *error*.

    *now_ms* is Redis's time, by which the job may be to run again, or have to have ended.
    """
    try:
        return _judged(run, error, now_ms)
    except BaseException as fault:
        if is_ctrl_c(fault):
            raise
        # Its class raises when it is asked what it is, or a pause of the user's is no number.
        about = told(run)
        logger.exception("what a job raised could not be judged: it has failed", extra=about)
        return failed(run, error)


def _judged(run: "Run", error: BaseException, now_ms: float) -> Ended | Retrial:
    delivery, about = run.delivery, told(run)
    rules = run.envelope.retry or run.spec.options.retry
    match judge(error, rules, delivery.attempt, random.random(), now_ms):
        case RunAgain(after) if has_time_left(run, now_ms + after * 1000):
            logger.info("job runs again in %.1f s", after, extra=about)
            return Retrial(delivery, int(min(after, LONGEST) * 1000))
        case EndDropped(reason):
            return ended(run, JobState.DROPPED, Failure("Drop", clean(reason), ""))
        case EndDead(reason):
            logger.warning("job was given up by its task: %s", reason, extra=about)
            return ended(run, JobState.DEAD, Failure("Dead", clean(reason), ""))
        case EndFailed() | RunAgain() if run.stop is Stop.TIMEOUT:
            return ended(run, JobState.TIMED_OUT)
        case EndFailed() | RunAgain():
            failure = describe(error)
            logger.info("job failed with %s", failure.type, extra=about)
            return ended(run, JobState.FAILED, failure)
