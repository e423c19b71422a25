"""What the parts of the client need of the queue, and of its session.

They are typed by these protocols, and not by `QueueCore` and `Session`, which are built from
them: no two modules import each other, not even for types.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.client.results import ResultWaiter
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.connection.server import Server
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.store.schedules import ScheduleStore


class CallWriter(Protocol):
    """Encodes calls."""

    def write(
        self,
        spec: "TaskSpec",
        args: "Sequence[object]",
        kwargs: dict[str, object],
        fields: dict[str, object],
    ) -> bytes:
        """Return the envelope of a call, with further *fields* for the worker."""
        ...


class OpenSession(Protocol):
    """The connections of an open queue."""

    broker: "QueueStore"
    schedules: "ScheduleStore"
    waiter: "ResultWaiter"
    enqueue_timeout: float  #: seconds to retry

    @property
    def enqueuing(self) -> CallWriter:
        """What encodes calls."""
        ...

    async def open(self) -> "Server":
        """Connect, and check that the server supports what the queue needs."""
        ...


class JobHome(Protocol):
    """What the handle of a job needs of its queue."""

    def session_for_job(self) -> OpenSession:
        """Return the session of the running event loop, but do not reopen a closed queue."""
        ...

    def spec_of(self, name: str) -> "TaskSpec | None":
        """Return the spec of the task *name*, or None if it is not registered here."""
        ...


class QueueHandle(JobHome, Protocol):
    """What dead letters, schedules and diagnosis need of their queue."""

    name: str
    max_payload: int  #: bytes

    def session(self) -> OpenSession:
        """Return the session of the running event loop, and create it if there is none."""
        ...
