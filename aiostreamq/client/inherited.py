"""The deadline and headers that a running job hands on to the jobs that it enqueues.

In a module of its own, because the session reads it and knows nothing of contexts.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from aiostreamq.model.metadata import NO_HEADERS

if TYPE_CHECKING:
    from aiostreamq.model.envelope import Envelope


class Inherited(NamedTuple):
    """The properties of the current job that the jobs it enqueues get too."""

    #: The time by which the current job, and every job that it enqueues, must have ended: ms since
    #: 1970 by Redis's clock.
    deadline: float | None = None
    headers: Mapping[str, str] = NO_HEADERS

    @classmethod
    def of(cls, envelope: "Envelope") -> "Inherited":
        """Return what the job of *envelope* hands on."""
        return cls(envelope.deadline, envelope.headers)


#: None outside of jobs, and in jobs that have neither a deadline nor headers.
INHERITED: ContextVar[Inherited | None] = ContextVar("aiostreamq_inherited", default=None)


def hand_on(headers: Mapping[str, str]) -> None:
    """Add headers to those of the current job, for what runs in this context and what it enqueues.

    The job itself keeps its own: another run of it begins with those.
    """
    inherited = INHERITED.get() or Inherited()
    INHERITED.set(inherited._replace(headers={**inherited.headers, **headers}))


def current_headers() -> Mapping[str, str]:
    """Return the headers of the current job; empty outside of jobs."""
    inherited = INHERITED.get()
    return NO_HEADERS if inherited is None else inherited.headers
