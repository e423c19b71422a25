"""One worker under one name: from joining the others to leaving, or being found dead."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from aiostreamq.aio.supervision import keep_running
from aiostreamq.aio.tasks import OwnTask, spawn
from aiostreamq.errors import AioStreamQError
from aiostreamq.logs import get_logger
from aiostreamq.model.grammar import counted
from aiostreamq.model.worker_state import WorkerState
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.control_stream import ControlStream
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.store.lane_reader import LaneReader
from aiostreamq.store.workers import WorkerRegistry
from aiostreamq.worker.control.canceller import Canceller
from aiostreamq.worker.control.listener import ControlListener
from aiostreamq.worker.due.promoter import Promoter
from aiostreamq.worker.due.ticker import Ticker
from aiostreamq.worker.events import EventSender
from aiostreamq.worker.fetch.reader import Reader
from aiostreamq.worker.leases.heartbeat import Heartbeat
from aiostreamq.worker.leases.poison_guard import PoisonGuard
from aiostreamq.worker.leases.reaper import Reaper
from aiostreamq.worker.leases.status_report import StatusReport
from aiostreamq.worker.reroute.overflow import Overflow
from aiostreamq.worker.reroute.parking import Parking
from aiostreamq.worker.reroute.pauses import Pauses
from aiostreamq.worker.reroute.rerouter import Rerouter
from aiostreamq.worker.run.executor import Executor
from aiostreamq.worker.run.invoker import Invoker
from aiostreamq.worker.run.pool import Pool
from aiostreamq.worker.run.processes import ProcessPool
from aiostreamq.worker.run.threads import ThreadRunner
from aiostreamq.worker.settle.settler import Settler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.delivery import Delivery
    from aiostreamq.model.executor_kind import Place
    from aiostreamq.store.control_stream import Word

logger = get_logger("aiostreamq.worker")

# Seconds that each of the last words to Redis may take when a worker ends.
LAST_WORDS = 5.0


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How a worker works."""

    concurrency: int  #: how many jobs run at once
    lanes: "Mapping[str, int]"  #: the weights of those that are served
    threads: int  #: how many `def` tasks run at once in threads
    processes: int  #: how many run at once in processes
    lease: float  #: seconds of silence after which others take its jobs
    max_worker_deaths: int  #: a job that has cost so many workers their life is given up
    loop_block_warning: float  #: seconds the loop may be blocked before that is reported
    shutdown_timeout: float  #: seconds that running jobs get to end in
    log_jobs: bool = False  #: whether the start of each job and its end are logged


class WorkerRuntime:
    """The services of a worker while it works under one name."""

    def __init__(self, queue: "QueueClient", name: str, settings: WorkerSettings) -> None:
        self.name = name
        self._is_draining = False
        self._lost = asyncio.Event()  # others have taken this worker for dead, and its jobs
        self._reading: OwnTask[None]  # ends by itself on an error, or after a burst
        self._settings = settings
        self._broker = queue.session().broker
        self._roster = WorkerRegistry(self._broker)
        schedule = DelayedJobs(self._broker)
        self._settler = Settler(self._broker, schedule, name, self._nudge)
        self._promoter = Promoter(schedule)
        self._ticker = _ticker_for(queue)
        steering = Cancellation(self._broker)
        self._pauses = Pauses(steering, self._heed_pauses)
        self._parking = Parking(schedule, queue.tasks, self._pauses.has_task, self._nudge)
        self._exits = Rerouter(self._broker, name, settings.lanes, self._pauses, self._parking)
        pools = self._pools = self._new_pools()
        self._threads = ThreadRunner(pools["thread"].most)
        self._processes = ProcessPool(pools["process"].most)
        self._overflow = Overflow(
            pools,
            queue.tasks,
            lambda: self._executor.deferred.room,
            self._read_overflow,
        )
        voice = EventSender(self._broker).voice
        calls = Invoker(queue, name, self._threads, self._processes, voice)
        suspects = PoisonGuard(self._roster, settings.max_worker_deaths, self._reopen)
        self._executor = Executor(
            queue,
            settings.concurrency,
            pools,
            calls,
            self._broker.clock,
            self._settler,
            self._exits,
            suspects,
            self._overflow.look,
            lambda: self._reading.cancelling() > 0,
            logs_jobs=settings.log_jobs,
        )
        self._canceller = Canceller(steering, self._executor)
        stream = ControlStream(self._broker)
        self._control = ControlListener(self._broker, stream, self._listeners(), self._look_again)
        self._intake = LaneReader(self._broker, settings.lanes, strict=queue.strict_priority)
        self._reader = self._new_reader()
        lease_ms = int(settings.lease * 1000)
        self._reaper = Reaper(self._roster, name, lease_ms, settings.max_worker_deaths)
        self._heartbeat = self._new_heartbeat(queue)
        self._services: list[OwnTask[None]] = []

    def _new_pools(self) -> "dict[Place, Pool]":
        limits: dict[Place, int]
        limits = {"thread": self._settings.threads, "process": self._settings.processes}
        return {
            place: Pool(
                place,
                limit,
                self._exits.overflow,
                freed=lambda: self._executor.refill(),  # noqa: PLW0108  # it is made later
                moved=lambda: self._overflow.look(),  # noqa: PLW0108  # the same
            )
            for place, limit in limits.items()
        }

    def _new_reader(self) -> Reader:
        return Reader(
            self._broker,
            self._intake,
            self.name,
            self._executor,
            self._held,
            lambda: self._settler.refused + self._parking.refused,
            self._join,
            self._settings.lease,
            self._pauses.notice,
            self._overflow,
        )

    def _new_heartbeat(self, queue: "QueueClient") -> Heartbeat:
        return Heartbeat(
            self._broker,
            self.name,
            self._settings.lease,
            self._settings.loop_block_warning,
            self._lost.set,
            self._about(queue).tell,
        )

    def _listeners(self) -> "Mapping[str, Callable[[Word], None]]":
        """Who hears which word of the control stream."""
        return {
            "wake": lambda _: self._promoter.wake(),
            "schedule": lambda _: self._ticker.wake(),
            "cancel": self._canceller.hear,
            "pause": lambda _: self._pauses.look(),
            **self._overflow.listeners(),
        }

    def _about(self, queue: "QueueClient") -> StatusReport:
        settings, running = self._settings, self._executor.running
        return StatusReport(
            settings.concurrency,
            settings.lanes,
            queue.tasks,
            running,
            self._broker.clock,
            lambda: self.state,
            lambda: self._pools["thread"].stuck,
        )

    async def start(self, *, burst: bool) -> None:
        """Join the workers and begin to read.

        Where that fails, or is cancelled, nothing is left behind.
        """
        settings = self._settings
        await self._roster.join(self.name, int(settings.lease * 1000), settings.lanes)
        try:
            await self._pauses.load()
            self._heartbeat.start()
            await self._ticker.start()
        except BaseException:
            self._heartbeat.end()
            with anyio.CancelScope(shield=True):
                await self._within_reason(self._broker.leave(self.name), "leave")
            raise
        self._services = [
            self._serve("reaper", self._reaper.run),
            self._serve("control", self._control.run),
            self._serve("promoter", self._promoter.run),
            self._serve("canceller", self._canceller.run),
            self._serve("pauses", self._pauses.run),
            self._serve("parking", self._parking.run),
            self._serve("ticker", self._ticker.run),
        ]
        self._reading = spawn(self._reader.run(burst=burst), "aiostreamq:reader")
        self._reading.add_done_callback(_log_failure)

    def _serve(self, name: str, run: "Callable[[], Awaitable[None]]") -> OwnTask[None]:
        running = keep_running(name, run, self._look_again)
        return spawn(running, f"aiostreamq:{name}")

    @property
    def is_lost(self) -> bool:
        """Whether others have taken this worker for dead, and its jobs."""
        return self._lost.is_set()

    @property
    def state(self) -> WorkerState:
        """What the worker is doing; may be asked from any thread."""
        if self.is_lost:
            return WorkerState.STARTING  # under another name, once this one has ended
        if self._is_draining:
            return WorkerState.DRAINING
        if time.monotonic() - self._heartbeat.heard > self._settings.lease:
            return WorkerState.CUT_OFF
        return WorkerState.STUCK if self._pools["thread"].is_stuck else WorkerState.READY

    @property
    def finished(self) -> int:
        """How many runs have ended."""
        return self._executor.finished

    async def wait_over(self) -> None:
        """Wait until this shift can not go on: lost, burst through, or failed."""
        lost = spawn(self._lost.wait())
        try:
            await asyncio.wait({self._reading, lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()

    async def drain(self, hurry: asyncio.Event) -> None:
        """Stop reading, let running jobs end, hand back the rest, leave.

        From *hurry* on they have the shutdown timeout.

        Raises:
            BrokerError: What had made the reader end.
        """
        self._is_draining = True
        time_up = spawn(self._wait_time_up(hurry))
        try:
            await self._reader.stop(self._reading)
            lost = await self._unheld()
            await self._hand_back(lost + self._executor.close())
            await self._wait_idle_or(time_up)
        finally:
            time_up.cancel()
        await self._hand_back(await self._executor.cancel_all())
        self._threads.close()
        await self._processes.close()
        await self._within_reason(self._settler.join(), "settle the last outcomes")
        await self._within_reason(self._exits.join(), "move jobs away")
        await self._end_services()
        await self._within_reason(self._broker.leave(self.name), "leave")
        if not self._reading.cancelled() and (error := self._reading.exception()) is not None:
            raise error

    async def _wait_idle_or(self, time_up: asyncio.Task[None]) -> None:
        idle = spawn(self._executor.join())
        try:
            await asyncio.wait({idle, time_up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()

    async def _wait_time_up(self, hurry: asyncio.Event) -> None:
        await hurry.wait()
        await asyncio.sleep(self._settings.shutdown_timeout)

    async def abandon(self) -> None:
        """Give all up: the jobs belong to others by now."""
        await self._reader.stop(self._reading)
        self._executor.close()
        cut_short = await self._executor.cancel_all()
        self._threads.close()
        await self._processes.close()
        await self._within_reason(self._settler.join(), "settle the last outcomes")
        await self._end_services()
        # What a read on its way brought after the others had looked.
        await self._hand_back(await self._unheld())
        # Reading under the old name has made it known to Redis again.
        await self._within_reason(self._broker.leave(self.name), "leave")
        logger.error(
            "worker %s was taken for dead: %d running jobs were cancelled and run elsewhere",
            self.name,
            len(cut_short),
        )

    def drop(self) -> None:
        """End at once and tell nobody: all that is here runs again when the lease is over.

        Waits for nothing, and does nothing where the shift has ended.
        """
        self._heartbeat.end()
        self._reader.drop(self._reading)
        self._executor.abort()
        self._threads.close()
        self._processes.drop()
        self._cancel_services()

    async def _end_services(self) -> None:
        self._cancel_services()
        await asyncio.wait(self._services)
        await self._heartbeat.stop()

    def _cancel_services(self) -> None:
        self._settler.close()
        self._parking.close()
        for service in self._services:
            service.end()

    def _look_again(self) -> None:
        """Words to all workers may have been missed."""
        self._promoter.wake()
        self._canceller.look()
        self._ticker.wake()
        self._pauses.look()
        self._overflow.look_again()

    def _read_overflow(self) -> None:
        self._reader.interrupt()
        self._executor.progress.wake()

    def _heed_pauses(self) -> None:
        """Something else is paused than before."""
        lanes = [lane for lane in self._settings.lanes if not self._pauses.has_lane(lane)]
        self._intake.read_only(lanes)
        self._reader.interrupt()
        self._parking.look()

    def _reopen(self) -> None:
        self._executor.refill()

    def _nudge(self) -> None:
        self._executor.progress.wake()

    def _held(self) -> set[tuple[int, bytes]]:
        """All deliveries that are known here, as (place of the stream, entry)."""
        held = set(self._executor.running)
        held.update((delivery.stream, delivery.entry) for delivery in self._executor.backlog)
        return held | self._settler.unsettled | self._exits.entries

    async def _join(self) -> None:
        """Wait until Redis knows of all that has ended here, or been moved away."""
        await self._settler.join()
        await self._exits.join()

    async def _unheld(self) -> "list[Delivery]":
        """What Redis has sent that never arrived here."""
        held = self._held()  # before Redis is asked: see Reader._read_unheld
        try:
            own = await self._broker.read_all_own(self.name)
        except AioStreamQError as error:
            logger.warning("could not look for deliveries that never arrived: %s", error)
            return []
        return [delivery for delivery in own if (delivery.stream, delivery.entry) not in held]

    async def _hand_back(self, deliveries: "list[Delivery]") -> None:
        if deliveries:
            logger.info("handing %s back", counted(len(deliveries), "job"))
            await self._within_reason(self._broker.hand_back(deliveries), "hand jobs back")

    async def _within_reason(self, step: "Awaitable[object]", what: str) -> None:
        """Take a step of the end; a Redis that is away does not keep the process alive."""
        try:
            async with asyncio.timeout(LAST_WORDS):
                await step
        except (TimeoutError, AioStreamQError) as error:
            logger.error(  # noqa: TRY400  # the traceback would say nothing more
                "could not %s (%s): other workers will take over after the lease", what, error
            )


def _ticker_for(queue: "QueueClient") -> Ticker:
    declared = queue.schedules.declared if queue.has_schedules else {}
    session = queue.session()
    cancel = Cancellation(session.broker).cancel
    return Ticker(session.schedules, session.broker.clock, declared, cancel)


def _log_failure(reading: "asyncio.Task[Any]") -> None:
    if not reading.cancelled() and (error := reading.exception()) is not None:
        logger.critical("the reader has failed, and the worker ends: %s", error, exc_info=error)
