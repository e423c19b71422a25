"""The deadline that a running job hands on to the jobs that it enqueues.

In a module of its own, because the session reads it and knows nothing of contexts.
"""

from contextvars import ContextVar

#: The time by which the current job, and every job that it enqueues, must have ended: ms since
#: 1970 by Redis's clock.
DEADLINE: ContextVar[float | None] = ContextVar("aiostreamq_deadline", default=None)
