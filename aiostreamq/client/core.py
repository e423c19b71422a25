"""`QueueCore`: what a queue holds, for the package itself.

Users see it through `Queue` and `QueueClient`, whose `_core` it is. Workers and the command line
get it with `core_of(queue)`.
"""

from typing import TYPE_CHECKING, Protocol

from aiostreamq.client.call import Using
from aiostreamq.client.sessions.session_manager import SessionManager
from aiostreamq.client.sessions.shared_connector import SharedConnector
from aiostreamq.client.task import Enqueuer
from aiostreamq.errors import UsageError
from aiostreamq.model.keys import Keys, checked_name
from aiostreamq.model.options import Options
from aiostreamq.model.task import TaskSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiostreamq.aio.listeners import Listeners
    from aiostreamq.client.hooks import Hooks
    from aiostreamq.client.resources.resources import Resources
    from aiostreamq.client.schedules.declared import DeclaredSchedules
    from aiostreamq.client.schedules.schedules import Schedules
    from aiostreamq.client.sessions.lifetime import SessionLifetime
    from aiostreamq.client.sessions.session import Session
    from aiostreamq.client.task import Task
    from aiostreamq.model.functions.lifespan import Lifespan
    from aiostreamq.model.lanes import Lanes
    from aiostreamq.model.listener_events import TelemetryEvent
    from aiostreamq.model.options import QueuePolicy
    from aiostreamq.model.schedules.definition import Definition
    from aiostreamq.store.connection.connector import Connector


class QueueCore:
    """The name, lanes, limits, tasks, schedules and sessions of one queue.

    It has an attribute for each of these and for each thing that is made at its first use.
    """

    def __init__(
        self,
        connect: "Callable[[], Connector]",
        name: str,
        lanes: "Lanes",
        policy: "QueuePolicy",
        connector: SharedConnector | None = None,
    ) -> None:
        self.name = name
        self.lanes = lanes
        self.policy = policy
        self.max_payload = policy.max_payload  #: bytes
        self.tasks: dict[str, Task[..., object]] = {}  #: the registered tasks, by name
        # Specs of included tasks, each with the spec of the task here, by the id of the first.
        self._included: dict[int, tuple[TaskSpec, TaskSpec]] = {}
        self._connect = connect
        connector = connector or SharedConnector(connect)
        self.sessions = SessionManager(name, connector, self._new_lifetime)
        #: returns the session of the running event loop, and creates it if there is none; raises
        #: UsageError if the queue is open in another event loop that is running
        self.session: Callable[[], Session] = self.sessions.current
        self.hooks: Hooks | None = None  #: None until the application has any
        self._besides: list[QueueCore] = []  # the same queue in other event loops
        self._schedules: Schedules | None = None
        self._declared: DeclaredSchedules | None = None
        self._listeners: Listeners[TelemetryEvent] | None = None
        self._resources: Resources | None = None

    def beside(self) -> "QueueCore":
        """Return a core of the same queue with a session of its own, for another event loop."""
        core = QueueCore(self._connect, self.name, self.lanes, self.policy, self.sessions.connector)
        core.tasks, core._listeners, core.hooks = self.tasks, self.listeners, self.hooks
        core._included = self._included
        self._besides.append(core)
        return core

    def session_for_job(self) -> "Session":
        """Return the same for the handle of a job, which does not reopen a closed queue.

        Raises:
            UsageError: As `session`.
            QueueUnavailable: The queue was closed and not opened again.
        """
        return self.sessions.current_for_job()

    def spec_of(self, name: str) -> TaskSpec | None:
        """Return the spec of the task *name*, or None if it is not registered here."""
        task = self.tasks.get(name)
        return None if task is None else task.spec

    def own_spec(self, spec: TaskSpec) -> TaskSpec:
        """Return the spec of the same task in this queue.

        It is *spec* itself if the task is registered here, or known only by name.

        Raises:
            UsageError: The task belongs to another queue.
        """
        if spec.function is None or self.spec_of(spec.name) is spec:
            return spec
        _, own = self._included.get(id(spec), (spec, None))
        if own is None or self.spec_of(own.name) is not own:
            raise UsageError(
                f"task {spec.name!r} belongs to another queue than {self.name!r}: use its own "
                f"queue, or give its name if the workers of this queue know the task"
            )
        return own

    def note_included(self, spec: TaskSpec, own: TaskSpec) -> None:
        """Note that a task declared without a queue, with *spec*, is here the task *own*."""
        self._included[id(spec)] = (spec, own)

    def name_of(self, spec: TaskSpec) -> str:
        """Return the name of a task in its queue."""
        return spec.name

    def named(self, name: str) -> Enqueuer[..., object]:
        """Return an enqueuer for the task *name*, which need not be registered here.

        Raises:
            UsageError: *name* is not a valid task name.
        """
        task = self.tasks.get(checked_name("task", name))
        if task is not None:
            return task
        return Enqueuer(TaskSpec(name), self, Using(Options()))

    @property
    def schedules(self) -> "Schedules":
        """The queue's schedules."""
        if self._schedules is None:
            # Imported at the first use: it imports cronsim and the time zones.
            from aiostreamq.client.schedules.schedules import Schedules

            self._schedules = Schedules(self)
        return self._schedules

    @property
    def declared(self) -> "DeclaredSchedules":
        """The schedules that code declares."""
        if self._declared is None:
            from aiostreamq.client.schedules.declared import DeclaredSchedules

            self._declared = DeclaredSchedules(self)
        return self._declared

    def declared_definitions(self) -> "dict[str, Definition]":
        """Return the schedules that code declares, by name. Imports nothing if it declares none.

        Raises:
            PayloadError: A call is too long.
        """
        return {} if self._declared is None else self._declared.definitions()

    def with_hooks(self) -> "Hooks":
        """Return the hooks, for the application to add one."""
        if self.hooks is None:
            from aiostreamq.client.hooks import Hooks

            self.hooks = Hooks()
            for core in self._besides:
                core.hooks = self.hooks
        return self.hooks

    @property
    def listeners(self) -> "Listeners[TelemetryEvent]":
        """The functions that get the events of this queue."""
        if self._listeners is None:
            from aiostreamq.aio.listeners import Listeners

            self._listeners = Listeners()
        return self._listeners

    @property
    def resources(self) -> "Resources":
        """The lifespans of the queue, and what they hold open in this process."""
        if self._resources is None:
            from aiostreamq.client.resources.resources import Resources

            self._resources = Resources(self.name)
        return self._resources

    @property
    def lifespans(self) -> "Sequence[Lifespan[object]]":
        """The lifespans of the queue. Imports nothing if it has none."""
        return () if self._resources is None else self._resources.lifespans

    def _new_lifetime(self, connector: "Connector") -> "SessionLifetime":
        # Imported at the first use, when the connections are made.
        from aiostreamq.client.listener_events import QueueTelemetry
        from aiostreamq.client.sessions.lifetime import SessionLifetime
        from aiostreamq.client.sessions.session import Session
        from aiostreamq.store.queue import QueueStore

        store = QueueStore(connector, Keys(self.name), tuple(self.lanes.weights))
        telemetry = QueueTelemetry(self.listeners, self.name, connector)
        return SessionLifetime(Session([store], self, self.policy, telemetry))


class HasCore(Protocol):
    """A `QueueClient`, which this module does not import."""

    _core: QueueCore


def core_of(queue: HasCore) -> QueueCore:
    """Return what *queue* holds. For the package itself: users need nothing of it."""
    return queue._core  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the one place
