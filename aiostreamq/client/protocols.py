"""The protocols of the queue and its session, as the parts of the client need them.

The parts are typed by these protocols, and not by `QueueCore` and `Session`, which are built
from them: no two modules import each other, not even for types.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.client.hooks import Hooks
    from aiostreamq.client.results.waiter import ResultWaiter
    from aiostreamq.model.options import Options
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
        callbacks: "Options | None" = None,
    ) -> bytes:
        """Return the envelope of a call, with further *fields* for the worker.

        *callbacks* are the options of a job that has callbacks.
        """
        ...


class OpenSession(Protocol):
    """The connections of an open queue."""

    store: "QueueStore"
    schedules: "ScheduleStore"
    waiter: "ResultWaiter"
    enqueue_timeout: float  #: seconds to retry

    @property
    def enqueuing(self) -> CallWriter:
        """The encoder of calls."""
        ...

    async def open(self) -> "Server":
        """Connect, and check that the server supports what the queue needs."""
        ...


class JobHome(Protocol):
    """The queue, as the handle of a job needs it."""

    @property
    def hooks(self) -> "Hooks | None":
        """The hooks that the application has added; None if there are none."""
        ...

    def session_for_job(self) -> OpenSession:
        """Return the session of the running event loop, but do not reopen a closed queue."""
        ...

    def spec_of(self, name: str) -> "TaskSpec | None":
        """Return the spec of the task *name*, or None if it is not registered here."""
        ...

    def own_spec(self, spec: "TaskSpec") -> "TaskSpec":
        """Return the spec of the same task in this queue, or raise UsageError."""
        ...


class QueueHandle(JobHome, Protocol):
    """The queue, as dead letters, schedules and diagnosis need it."""

    name: str
    max_payload: int  #: bytes

    def session(self) -> OpenSession:
        """Return the session of the running event loop, and create it if there is none."""
        ...
