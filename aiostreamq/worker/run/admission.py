"""The checks that decide which deliveries may start: an ordered list, of which the first decides.

A check takes a job out of the way (to other workers, to a place in line, to its end) and says what
became of it, or leaves it to the next check. A job that no check takes may start. A new limit is
one more check, and a condition in `admit` that rules it out for jobs that it does not concern.
"""

from enum import Enum, auto
from typing import TYPE_CHECKING

from aiostreamq.logs import get_logger
from aiostreamq.model.envelope import Malformed, decode_envelope
from aiostreamq.worker.run.backlog import CancelMarks
from aiostreamq.worker.run.run import WHY_UNRUN, Run, end_unrun, log_fields, state_unrun

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from aiostreamq.client.task import Task
    from aiostreamq.model.delivery import Delivery, EntryRef
    from aiostreamq.worker.run.deferred_parents import DeferredParents
    from aiostreamq.worker.run.run_services import RunEnvironment
    from aiostreamq.worker.run.slots import Slots

logger = get_logger("aiostreamq.worker")


class Disposition(Enum):
    """The reason why a delivery does not start."""

    DUPLICATE = auto()  #: it runs here already
    REFUSED = auto()  #: it is not a job, and goes to the dead letters
    PARKED = auto()  #: its task is unknown here
    PASSED_ON = auto()  #: its lane is not served here
    PAUSED = auto()  #: its task or lane is paused
    HELD = auto()  #: it waits in Redis until its limits have room
    ENDED = auto()  #: it was cancelled, or has expired
    WAITING = auto()  #: it waits here for a thread, a process or a slot


class Admission:
    """Decides about each delivery when it is next in line.

    It has an attribute for each service that a check asks: one look-up less for each job.
    """

    def __init__(
        self,
        around: "RunEnvironment",
        running: "Collection[EntryRef]",
        slots: "Slots",
        deferred: "DeferredParents",
    ) -> None:
        """Prepare to decide.

        Args:
            around: The services around the dispatcher.
            running: The keys of the jobs that run here.
            slots: The slots, and the tasks that may take lent ones.
            deferred: Takes jobs that may not start while only lent slots are free.
        """
        self.cancel_marks = CancelMarks()  #: jobs that were cancelled before they arrived
        self._tasks: Mapping[str, Task[..., object]] = around.queue.tasks
        self._last_lane = 1 + len(around.queue.lanes)  # the number of its stream
        self._running = running
        self._pools = around.pools
        self._slots = slots
        self._deferred = deferred
        self._rerouter = around.rerouter
        self._paused = around.rerouter.paused
        self._hold = around.rerouter.take_if_limited
        self._settle = around.settler.settle
        self._clock = around.clock
        self._listeners = around.listeners
        self._checks: tuple[Callable[[Run], Disposition | None], ...] = (
            self._check_lane,
            self._check_pauses,
            self._check_end,
            self._check_limits,
            self._check_room,
        )

    def admit(self, delivery: "Delivery", now: float) -> Run | Disposition:
        """Return the run to start, or what became of the delivery instead.

        Args:
            delivery: The delivery.
            now: The time at which the run starts, by the monotonic clock.
        """
        if (delivery.stream, delivery.entry) in self._running:
            return Disposition.DUPLICATE  # its group was deleted: Redis sends everything again
        try:
            envelope = decode_envelope(delivery.envelope)
        except Malformed as error:
            self._rerouter.refuse(delivery, str(error))
            return Disposition.REFUSED
        task = self._tasks.get(envelope.task)
        if task is None:
            self._rerouter.park(delivery, envelope.task)
            return Disposition.PARKED
        run = Run(delivery, envelope, task.spec, now)
        # Most jobs are plain: no check concerns them, and they do not pay for one.
        if (
            1 < delivery.stream <= self._last_lane
            and envelope.expires is None
            and envelope.deadline is None
            and task.spec.is_plain
            and not (self._paused or self.cancel_marks or self._slots.parents)
        ):
            return run
        for check in self._checks:
            if (disposition := check(run)) is not None:
                return disposition
        return run

    def _check_lane(self, run: Run) -> Disposition | None:
        # Jobs from the streams of requeued and overflowed jobs can be of any lane.
        is_from_lane = 1 < run.delivery.stream <= self._last_lane
        if is_from_lane or not self._rerouter.take_if_unserved(run.delivery, run.spec.options.lane):
            return None
        return Disposition.PASSED_ON

    def _check_pauses(self, run: Run) -> Disposition | None:
        if self._paused and self._rerouter.take_if_paused(run.delivery, run.spec):
            return Disposition.PAUSED
        return None

    def _check_end(self, run: Run) -> Disposition | None:
        is_cancelled = bool(self.cancel_marks) and self.cancel_marks.take(run.key)
        is_limited = run.envelope.expires is not None or run.envelope.deadline is not None
        if not (is_cancelled or is_limited):
            return None
        state = state_unrun(run, self._clock.now_ms(), is_cancelled=is_cancelled)
        if state is None:
            return None
        self._settle(end_unrun(run, state))
        logger.info("job %s", WHY_UNRUN[state], extra=log_fields(run, self._listeners.worker))
        if self._listeners.is_heard:
            from aiostreamq.worker.run.run_reports import report_end

            report_end(self._listeners, run, state, self._clock.now_ms())
        return Disposition.ENDED

    def _check_limits(self, run: Run) -> Disposition | None:
        spec = run.spec
        if spec.options.limits and self._hold(run.delivery, run.envelope, spec):
            return Disposition.HELD
        return None

    def _check_room(self, run: Run) -> Disposition | None:
        kind = run.spec.pool
        run.pool = None if kind is None else self._pools[kind]
        if self._slots.parents and self._slots.is_kept_from(run.spec.name, run.pool):
            self._deferred.put(run.delivery, kind)
            return Disposition.WAITING
        if run.pool is None or run.pool.take(run.delivery):
            return None
        return Disposition.WAITING
