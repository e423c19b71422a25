"""Log records about a job that has raised, with the description of the exception."""

from typing import TYPE_CHECKING

from aiostreamq.logs import get_logger
from aiostreamq.model.outcome import RemoteException

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiostreamq.model.outcome import Failure

# A logger of its own, so that error reports, which get the exception itself, can ignore it.
logger = get_logger("aiostreamq.worker.failures")

# Characters of an exception's message in a line. The traceback below has all of it.
LONGEST_REASON = 500


def log_failure(fields: "Mapping[str, object]", failure: "Failure", error: BaseException) -> None:
    """Log as an error that a job has failed, with its traceback.

    Args:
        fields: The fields of the record.
        failure: The exception as it was described, which is what handlers print.
        error: The exception itself, for handlers that want more than to print it.
    """
    logger.error(
        "job failed with %s",
        reason_of(failure),
        extra=fields,
        exc_info=None if isinstance(error, RemoteException) else error,
        exc_text=failure.traceback or None,
    )


def reason_of(failure: "Failure") -> str:
    """Return type and message of an exception, for one line."""
    if not failure.message:
        return failure.type
    cut = "..." if len(failure.message) > LONGEST_REASON else ""
    return f"{failure.type}: {failure.message[:LONGEST_REASON]}{cut}"
