"""Outcomes that Redis refuses for their size: the job has failed, and its error says why.

The worker may send results up to `max_payload`, and Redis, or a host of Redis, may take less. Such
an outcome would be refused for ever, and its job would be held until the worker ends.
"""

from typing import TYPE_CHECKING

from aiostreamq.errors import PayloadError
from aiostreamq.logs import get_logger
from aiostreamq.model.envelope import decode_envelope
from aiostreamq.model.job_state import JobState
from aiostreamq.model.outcome import Failure, encode_ended, signed
from aiostreamq.model.stats import kind_of
from aiostreamq.untrusted import name_of

if TYPE_CHECKING:
    from aiostreamq.model.delivery import Settlement
    from aiostreamq.store.connection.link import CallTooLarge

logger = get_logger("aiostreamq.worker")

# A shorter outcome is not refused for its size: no limit of Redis can be set so low.
SHORTEST_REFUSED = 64 * 1024


def replaced(settlement: "Settlement", refusal: "CallTooLarge", signature: bytes) -> "Settlement":
    """Return the failure in which a job ends instead of with an outcome that is too large.

    Args:
        settlement: The end that Redis has refused.
        refusal: The answer of Redis.
        signature: The name of the worker, for jobs that were delivered before.

    Raises:
        CallTooLarge: The outcome is short, so its size is not the reason.
    """
    size, delivery = len(settlement.outcome), settlement.delivery
    if size < SHORTEST_REFUSED:
        raise refusal
    task = settlement.kind.partition("|")[0]
    message = (
        f"task {task!r}: Redis does not take an outcome of {size:,} bytes: return a reference to "
        f"the data, or raise the limit of Redis. {refusal}"
    )
    logger.error(
        "job has failed, as its outcome is too large: %s",
        message,
        extra={"task": task, "job_id": delivery.job_id, "attempt": delivery.attempt},
    )
    failure = Failure(name_of(PayloadError), message, "")
    outcome = encode_ended(task, delivery.number, JobState.FAILED, failure)
    if delivery.number > 1:
        outcome = signed(outcome, signature)
    kind = kind_of(task, JobState.FAILED, None)
    callback = decode_envelope(delivery.envelope).callbacks.for_end(JobState.FAILED)
    return settlement._replace(outcome=outcome, is_dead=True, kind=kind, callback=callback)
