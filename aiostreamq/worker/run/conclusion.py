"""The end of a job whose run has raised, or was cut short."""

import random
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from aiostreamq.errors import UsageError
from aiostreamq.logs import get_logger
from aiostreamq.model.delivery import HoldRequest, RetryRequest
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import Failure, encode_ended
from aiostreamq.model.task import LONGEST
from aiostreamq.model.verdict import (
    LONGEST_QUIET,
    SHORTEST_QUIET,
    EndDead,
    EndDropped,
    EndFailed,
    RateLimited,
    RetryLater,
    RunAgain,
    judge,
)
from aiostreamq.signals_and_forks import is_ctrl_c
from aiostreamq.worker.run.exception_text import LONGEST_MESSAGE, clean, describe
from aiostreamq.worker.run.failure_log import log_failure, reason_of
from aiostreamq.worker.run.run import has_time_left, log_fields
from aiostreamq.worker.run.run_state import TIMED_OUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiostreamq.model.retry import Retries
    from aiostreamq.worker.run.run import Run

logger = get_logger("aiostreamq.worker")


class Conclusion(NamedTuple):
    """The job has ended."""

    outcome: bytes  #: JSON
    state: JobState


def ended(run: "Run", state: JobState, failure: Failure | None = None) -> Conclusion:
    """Return the end of a run's job in *state*."""
    return Conclusion(encode_ended(run.spec.name, run.delivery.number, state, failure), state)


def failed(run: "Run", error: BaseException) -> Conclusion:
    """Return the end of a run's job that failed with *error*. Does not raise."""
    return ended(run, JobState.FAILED, describe(error))


def judged(
    run: "Run", error: BaseException, now_ms: float, worker: str
) -> Conclusion | RetryRequest | HoldRequest:
    """Decide, and log, what becomes of the job of a run that raised *error*.

    Args:
        run: The run.
        error: The exception that it raised.
        now_ms: The present, by Redis's clock: a retry must fit before the deadline.
        worker: The name of the worker, for log lines.
    """
    fields = log_fields(run, worker)
    try:
        return _judged(run, error, now_ms, fields)
    except BaseException as fault:
        if is_ctrl_c(fault):
            raise
        # Its class raises when it is inspected, or a pause that the user gave is not a number.
        logger.exception("an exception could not be judged: the job has failed", extra=fields)
        return failed(run, error)


def _judged(
    run: "Run", error: BaseException, now_ms: float, fields: "Mapping[str, object]"
) -> Conclusion | RetryRequest | HoldRequest:
    if isinstance(error, RateLimited):
        found = _held_again(run, error, now_ms, fields)
        if isinstance(found, HoldRequest):
            return found
        error = found
    delivery = run.delivery
    rules = run.envelope.retry or run.spec.options.retry
    match judge(error, rules, delivery.attempt, random.random(), now_ms):
        case RunAgain(after) if has_time_left(run, now_ms + after * 1000):
            _log_retry(run, error, rules, after, fields)
            return RetryRequest(delivery, int(min(after, LONGEST) * 1000))
        case EndDropped(reason):
            text = _text_of(reason)
            logger.info("job was dropped by its task: %s", text, extra=fields)
            return ended(run, JobState.DROPPED, Failure("Drop", text, ""))
        case EndDead(reason):
            text = _text_of(reason)
            logger.error("job was given up by its task: %s", text, extra=fields)
            return ended(run, JobState.DEAD, Failure("GiveUp", text, ""))
        case EndFailed() | RunAgain() if run.state is TIMED_OUT:
            logger.error("job %s", _overrun(run, now_ms), extra=fields)
            return ended(run, JobState.TIMED_OUT)
        case EndFailed() | RunAgain():
            failure = describe(error)
            log_failure(fields, failure, error)
            return ended(run, JobState.FAILED, failure)


def _held_again(
    run: "Run", error: RateLimited, now_ms: float, fields: "Mapping[str, object]"
) -> HoldRequest | UsageError:
    """Return how the job waits for a limit, or the error if its task does not have this limit."""
    # Imported at the first use: most workers have no such jobs.
    from aiostreamq.model.functions.limit_keys import rate_named

    rate = rate_named(run.spec, error.limit)
    if rate is not None:
        quiet = error.limit, max(SHORTEST_QUIET, min(error.after, LONGEST_QUIET))
        logger.info("job is held again: limit %s is quiet for %.1f s", *quiet, extra=fields)
        return HoldRequest(run.delivery, rate, quiet[1], ceil(now_ms + quiet[1] * 1000))
    refusal = UsageError(
        f"RateLimited({error.limit!r}): task {run.spec.name!r} has no Rate of this name: "
        f"give limits=[Rate(..., name={error.limit!r})]"
    )
    refusal.__cause__ = error
    return refusal.with_traceback(error.__traceback__)


def _log_retry(
    run: "Run",
    error: BaseException,
    rules: "Retries",
    after: float,
    fields: "Mapping[str, object]",
) -> None:
    attempt = run.delivery.attempt
    if isinstance(error, RetryLater):
        logger.info("job asked to run again, in %.1f s", after, extra=fields)
        return
    most = next((rule.attempts for rule in rules if rule.covers(error)), attempt)
    if run.state is TIMED_OUT:
        why = f"job {_overrun(run, 0)}"
    else:
        why = f"job failed with {reason_of(describe(error))}"
    logger.warning(
        "%s; attempt %d of %d, runs again in %.1f s", why, attempt, most, after, extra=fields
    )


def _overrun(run: "Run", now_ms: float) -> str:
    if not has_time_left(run, now_ms):
        return "did not end by its deadline"
    timeout = run.envelope.timeout or run.spec.options.timeout
    return f"ran past its timeout of {timeout:g} s" if timeout else "ran past its timeout"


def _text_of(reason: object) -> str:
    # Annotated as text, but not checked.
    return clean(reason)[:LONGEST_MESSAGE]
