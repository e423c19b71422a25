"""The services of one worker incarnation, built and connected."""

from typing import TYPE_CHECKING, cast

from aiostreamq.client.core import core_of
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.control_stream import ControlStream
from aiostreamq.store.dead_letters import DeadLetterStore
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.store.lane_reader import LaneReader
from aiostreamq.store.parking import ParkedJobs
from aiostreamq.store.pauses import PauseStore
from aiostreamq.store.workers import WorkerRegistry
from aiostreamq.worker.control.canceller import Canceller
from aiostreamq.worker.control.listener import ControlListener
from aiostreamq.worker.declared_limits import DeclaredLimits
from aiostreamq.worker.due.promoter import Promoter
from aiostreamq.worker.due.ticker import Ticker
from aiostreamq.worker.fetch.burst_end import BurstWait
from aiostreamq.worker.fetch.held_source import HeldSource
from aiostreamq.worker.fetch.reader import Reader
from aiostreamq.worker.held_bytes import HeldBytes
from aiostreamq.worker.holdings import Holdings
from aiostreamq.worker.late_services import charges_of, process_pool, sinks_of_events
from aiostreamq.worker.leases.heartbeat import BlockReporter, Heartbeat
from aiostreamq.worker.leases.poison_guard import PoisonGuard
from aiostreamq.worker.leases.reaper import Reaper
from aiostreamq.worker.leases.status_report import StatusReport
from aiostreamq.worker.listener_events import WorkerListeners
from aiostreamq.worker.reroute.backlogs import Backlogs
from aiostreamq.worker.reroute.overflow_source import Overflow
from aiostreamq.worker.reroute.parking import Parking
from aiostreamq.worker.reroute.pauses import Pauses
from aiostreamq.worker.reroute.rerouter import Rerouter
from aiostreamq.worker.run.dispatcher import Dispatcher
from aiostreamq.worker.run.invoker import Invoker
from aiostreamq.worker.run.key_release import KeyRelease
from aiostreamq.worker.run.pool import Pool
from aiostreamq.worker.run.run_services import RunEnvironment
from aiostreamq.worker.run.threads import ThreadRunner
from aiostreamq.worker.settle.settler import Settler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiostreamq.aio.listeners import Listeners
    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.listener_events import TelemetryEvent
    from aiostreamq.model.task import Place
    from aiostreamq.model.worker_state import WorkerState
    from aiostreamq.store.control_stream import ControlMessage
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.worker.run.processes import ProcessPool
    from aiostreamq.worker.run.shared_slots import SlotPool
    from aiostreamq.worker.settings import WorkerSettings


class Services:
    """All that works for one incarnation of a worker.

    It has an attribute for each service, and nothing else: the services do not know each other,
    and are connected here.
    """

    def __init__(
        self,
        queue: "QueueClient",
        stores: "Sequence[QueueStore]",
        name: str,
        settings: "WorkerSettings",
        *,
        listeners: "Listeners[TelemetryEvent]",
        lost: "Callable[[], None]",
        state: "Callable[[], WorkerState]",
        is_ending: "Callable[[], bool]",
    ) -> None:
        """Build the services. Nothing is started, and Redis is not asked anything.

        Args:
            queue: The queue, connected.
            stores: The stores of the queue. A queue has one, until queues have partitions.
            name: The name of this incarnation.
            settings: How it works.
            listeners: Get the events of the worker.
            lost: Called when other workers have taken this one for dead.
            state: Returns the state to report. Called from any thread.
            is_ending: Returns whether the worker is about to end, for any reason.
        """
        self._settings = settings
        self.store = store = stores[0]
        self.listeners = WorkerListeners(listeners, queue.name, name)
        self.deliveries = Deliveries(store)
        self.registry = WorkerRegistry(store)
        delayed, cancellation = DelayedJobs(store), Cancellation(store)
        self.held = HeldBytes(
            settings.max_held_bytes,
            settings.concurrency,
            lambda width: self.dispatcher.slots.narrow(width),  # noqa: PLW0108  # it is made later
        )
        self.settler = Settler(store, delayed, name, self._wake_reader, self.listeners, self.held)
        self.pauses = Pauses(PauseStore(store), self._apply_pauses)
        self.parking = self._new_parking(queue)
        self.backlogs = Backlogs(store, self._wake_reader)
        self.rerouter = Rerouter(
            store, name, settings.lanes, self.pauses, self.parking, self.backlogs
        )
        self.pools = self._new_pools()
        self.threads = ThreadRunner(self.pools["thread"].most)
        self.processes: ProcessPool | None = None  #: made for the first job that runs in one
        self.overflow = self._new_overflow(queue)
        self.dispatcher = self._new_dispatcher(queue, name, is_ending)
        self.holdings = Holdings(
            self.dispatcher, self.settler, self.rerouter, self.parking, self.backlogs
        )
        self.canceller = Canceller(cancellation, self.dispatcher)
        specs = [task.spec for task in queue.tasks.values()]
        self.limits = DeclaredLimits(store, specs, self._begin_to_admit)
        self.held_jobs = HeldSource(
            store, name, queue.tasks, settings.lanes, self.pauses, self._wake_for_held, self.limits
        )
        self.lanes = LaneReader(store, settings.lanes, strict=core_of(queue).lanes.strict_priority)
        self.reader = self._new_reader(name)
        self.promoter = Promoter(delayed)
        self.ticker = _new_ticker(queue, cancellation)
        self.control = self._new_control()
        self.reaper = self._new_reaper(name)
        self.heartbeat = self._new_heartbeat(queue, name, lost, state)

    def loops(self) -> "Mapping[str, Callable[[], Awaitable[None]]]":
        """Return what runs in the background beside the reader and the heartbeat, by name."""
        return {
            "reaper": self.reaper.run,
            "control": self.control.run,
            "promoter": self.promoter.run,
            "canceller": self.canceller.run,
            "pauses": self.pauses.run,
            "parking": self.parking.run,
            "ticker": self.ticker.run,
            **self._slot_loops(),
        }

    def _slot_loops(self) -> "Mapping[str, Callable[[], Awaitable[None]]]":
        pool = cast("SlotPool | None", self._settings.slot_pool)
        return {} if pool is None else {"slots": lambda: pool.watch(self.dispatcher)}

    def wake(self) -> None:
        """Have all of them look now: messages to all workers may have been missed."""
        self.promoter.wake()
        self.canceller.wake()
        self.ticker.wake()
        self.pauses.wake()
        self.parking.wake()
        self.overflow.reopen()
        self.held_jobs.wake()

    def _new_parking(self, queue: "QueueClient") -> Parking:
        return Parking(
            ParkedJobs(self.store),
            queue.tasks,
            self.pauses.has_task,
            self._wake_reader,
            lambda tasks: self.overflow.expect_parked(tasks),  # noqa: PLW0108  # it is made later
            lambda: self.limits.admit_all(),  # noqa: PLW0108  # it is made later
            self.listeners,
        )

    def _new_pools(self) -> "dict[Place, Pool]":
        limits: dict[Place, int]
        limits = {"thread": self._settings.threads, "process": self._settings.processes}
        return {
            kind: Pool(
                self.listeners.worker,
                kind,
                limit,
                self.rerouter.overflow,
                freed=self._refill,
                moved=lambda: self.overflow.wake(),  # noqa: PLW0108  # it is made later
            )
            for kind, limit in limits.items()
        }

    def _process_pool(self, queue: "QueueClient") -> "ProcessPool":
        if self.processes is None:
            self.processes = process_pool(queue, self.pools["process"].most)
        return self.processes

    def _new_overflow(self, queue: "QueueClient") -> Overflow:
        return Overflow(
            self.pools,
            queue.tasks,
            lambda: self.dispatcher.deferred.room,
            self._wake_for_overflow,
            self.parking.may_run,
        )

    def _new_dispatcher(
        self, queue: "QueueClient", name: str, is_ending: "Callable[[], bool]"
    ) -> Dispatcher:
        settings, new_sink = self._settings, sinks_of_events(self.store, name)
        around = RunEnvironment(
            queue,
            self.pools,
            Invoker(
                queue,
                name,
                self.threads,
                lambda: self._process_pool(queue),
                new_sink,
                charges_of(self.store, name),
            ),
            self.store.clock,
            self.settler,
            self.rerouter,
            PoisonGuard(self.registry, settings.max_worker_deaths, self._refill),
            KeyRelease(self.store, name),
            is_ending,
            self.listeners,
            logs_jobs=settings.log_jobs,
        )
        pool = cast("SlotPool | None", settings.slot_pool)
        return Dispatcher(around, settings.concurrency, self.overflow.wake, pool)

    def _new_reader(self, name: str) -> Reader:
        lanes, lease = self._settings.lanes, self._settings.lease
        return Reader(
            self.store,
            self.lanes,
            name,
            self.dispatcher,
            self.holdings,
            lease,
            self.pauses.notice,
            self.overflow,
            BurstWait(self.registry, name, lanes, lease),
            self.held,
            self.held_jobs,
        )

    def _new_control(self) -> ControlListener:
        stream = ControlStream(self.store)
        return ControlListener(self.store, stream, self._control_handlers(), self.wake)

    def _new_reaper(self, name: str) -> Reaper:
        lease_ms, deaths = self._settings.lease_ms, self._settings.max_worker_deaths
        letters = DeadLetterStore(self.store)
        return Reaper(self.registry, letters, name, lease_ms, deaths, self.listeners)

    def _new_heartbeat(
        self,
        queue: "QueueClient",
        name: str,
        lost: "Callable[[], None]",
        state: "Callable[[], WorkerState]",
    ) -> Heartbeat:
        settings = self._settings
        report = StatusReport(
            settings.concurrency,
            settings.lanes,
            queue.tasks,
            self.dispatcher.running,
            self.store.clock,
            state,
            lambda: self.pools["thread"].stuck,
            self.holdings.not_running,
            self.limits.rules,
        )
        reporter = BlockReporter(settings.loop_block_warning, self.listeners)
        return Heartbeat(
            self.store,
            name,
            settings.lease,
            reporter,
            lost,
            report.encode,
            lambda: self.reader.client_id,
        )

    def _control_handlers(self) -> "Mapping[str, Callable[[ControlMessage], None]]":
        """Return what takes each kind of message to all workers."""
        return {
            "wake": lambda _: self.promoter.wake(),
            "schedule": lambda _: self.ticker.wake(),
            "cancel": self.canceller.cancel_named,
            "pause": lambda _: self.pauses.wake(),
            "held": lambda _: self._wake_for_held(),
            **self.overflow.handlers(),
        }

    def _apply_pauses(self) -> None:
        """Read only lanes that are not paused, and take up tasks that were resumed."""
        names = [lane for lane in self._settings.lanes if not self.pauses.has_lane(lane)]
        self.lanes.read_only(names)
        self._wake_for_held()
        self.parking.wake()

    def _begin_to_admit(self, *, is_for_all: bool) -> None:
        self.held_jobs.activate(is_for_all=is_for_all)
        self.lanes.hear_bell()
        self._wake_for_held()

    def _wake_for_held(self) -> None:
        self.held_jobs.wake()
        self.reader.wake()
        self.dispatcher.progress.wake()

    def _wake_for_overflow(self) -> None:
        self.reader.wake()
        self.dispatcher.progress.wake()

    def _wake_reader(self) -> None:
        self.dispatcher.progress.wake()

    def _refill(self) -> None:
        self.dispatcher.refill()


def _new_ticker(queue: "QueueClient", cancellation: Cancellation) -> Ticker:
    core = core_of(queue)
    session, declared = core.session(), core.declared_definitions()
    return Ticker(session.schedules, session.store.clock, declared, cancellation.cancel)
