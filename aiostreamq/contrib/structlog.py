"""structlog: the job in each event that is logged while it runs."""

from typing import TYPE_CHECKING, Any

from aiostreamq.client.current_job import LOG_FIELDS, TRACE_ID, job_values, trace_id_of
from aiostreamq.client.inherited import current_headers

if TYPE_CHECKING:
    from collections.abc import MutableMapping


def add_job(
    logger: object, method: str, event_dict: "MutableMapping[str, Any]"
) -> "MutableMapping[str, Any]":
    """Add `task`, `job_id`, `attempt`, `worker` and `trace_id` of the current job to an event.

    A processor for `structlog.configure(processors=[..., add_job, ...])`. It works in coroutines,
    threads and processes, and adds nothing outside of jobs. Values that the event has are kept.

    Args:
        logger: Ignored.
        method: Ignored.
        event_dict: The event.

    Returns:
        The event.
    """
    del logger, method
    found = job_values()
    if found is not None:
        for name, value in zip(LOG_FIELDS, found, strict=True):
            event_dict.setdefault(name, value)
        if (trace_id := trace_id_of(current_headers())) is not None:
            event_dict.setdefault(TRACE_ID, trace_id)
    return event_dict
