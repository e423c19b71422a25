"""The threads, or the processes, of a worker: how many are free, and which jobs wait for one.

A job of a `def` task starts when it has a place here, and not before: until then it takes no slot,
and its timeout does not run. Few jobs wait: what cannot start soon goes to the queue's overflow
stream, which workers with free places read.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.logs import get_logger
from aiostreamq.model.english import counted
from aiostreamq.model.prefetch import AHEAD, Throughput

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

    from aiostreamq.model.delivery import Delivery
    from aiostreamq.model.task import Place

logger = get_logger("aiostreamq.worker")

# Seconds that a job waits while no place becomes free. Then the jobs here are long ones, and a
# worker with a free place can run it sooner.
PATIENCE = 1.0

# More jobs than this do not wait, however quick the ones before them are.
MOST_WAITING = 500


class Pool:
    """Counts the places of one kind, and keeps the jobs that wait for one.

    Its attributes are four settings, four counts of places, the line, and what decides when the
    line is too long.
    """

    def __init__(
        self,
        worker: str,
        place: "Place",
        limit: int,
        overflow: "Callable[[Place, list[Delivery]], None]",
        freed: "Callable[[], None]",
        moved: "Callable[[], None]",
    ) -> None:
        """Describe a pool; nothing is started here.

        Args:
            worker: The name of the worker, for log lines.
            place: The kind of its places.
            limit: How many there are.
            overflow: Takes jobs that must not wait here.
            freed: Called if there is room again without the end of a run.
            moved: Called if a place becomes free in any way.
        """
        self.place: Place = place
        self._worker = worker
        self.limit = limit
        self.stuck = 0  #: threads that run on after their jobs were given up
        self.lent = 0  #: places whose runs wait for other jobs of the queue
        self.still = 0  #: all runs await others: 1 after a while, 2 after a long one
        self.waiting: deque[Delivery] = deque()  #: oldest first
        self._busy = 0
        self._overflow = overflow
        self._freed = freed
        self._moved = moved
        self._loop = asyncio.get_running_loop()
        self._moved_at = 0.0  # when a place was taken or given back last
        self._finished = 0
        self._pace = Throughput()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def most(self) -> int:
        """How many places there can be.

        Stuck ones are replaced once, and lent ones too. One more is for children: see `slots`.
        """
        return 3 * self.limit + 1

    @property
    def free(self) -> int:
        """How many places are free."""
        extra = min(self.stuck, self.limit) + min(self.lent, self.limit)
        return self.limit + extra + (self.lent >= 2 * self.limit) - self._busy

    @property
    def is_stuck(self) -> bool:
        """Whether all places are stuck, those included that replaced others."""
        return self.stuck >= 2 * self.limit

    @property
    def takes_parents(self) -> bool:
        """Whether a job may have a place that is known to await others."""
        own = self.limit + min(self.stuck, self.limit)
        if self._busy >= own + self.limit:
            return False  # the place beyond is for children
        is_last = self._busy == own + self.limit - 1
        return self._busy < own or self.still > is_last

    @property
    def do_all_wait(self) -> bool:
        """Whether all places are taken by runs that await other jobs."""
        return 0 < self.limit <= self.lent and self.lent >= self._busy - self.stuck

    @property
    def room(self) -> int:
        """How many more jobs may come: those that can start now, and more if they are quick."""
        quick = self._quick() if self._is_moving() else 0
        return max(0, self.free) + quick - len(self.waiting)

    @property
    def backlog_room(self) -> int:
        """How many more jobs may come while nothing else can be read than jobs for this pool."""
        return max(0, self.free) + self._allowed() - len(self.waiting)

    def take(self, delivery: "Delivery") -> bool:
        """Take a place for a job, or have the job wait; returns whether it has a place."""
        if self.free > 0:
            self._busy += 1
            self._moved_at = clock.monotonic()
            return True
        self.waiting.append(delivery)
        if self._timer is None:
            self._arm()
        return False

    def release(
        self, thread: "concurrent.futures.Future[object] | None", task: str, job_id: str
    ) -> None:
        """Free the place of a run that is over, or keep it taken while its *thread* runs."""
        if thread is not None and not thread.done():
            self._keep_stuck(thread, {"task": task, "job_id": job_id, "worker": self._worker})
        else:
            self._give_back()

    def _give_back(self) -> None:
        self._busy -= 1
        self._finished += 1
        self._moved_at = clock.monotonic()
        self._moved()

    def _keep_stuck(
        self, thread: "concurrent.futures.Future[object]", fields: dict[str, object]
    ) -> None:
        self.stuck += 1
        logger.warning(
            "job was given up, but its thread cannot be stopped and keeps running "
            "(%s of %d stuck); give the blocking call a timeout, or use executor='process'",
            counted(self.stuck, "thread"),
            2 * self.limit,
            extra=fields,
        )
        if self.is_stuck:
            logger.error(
                "all threads are stuck in jobs that were given up: this worker runs no `def` task "
                "until one of them returns; restart it, or run it with --workers, which does so"
            )
            self._shed()
        since = clock.monotonic()

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended: nothing is counted any more
                self._loop.call_soon_threadsafe(self._unstick, since, fields)

        thread.add_done_callback(ended)

    def _unstick(self, since: float, fields: dict[str, object]) -> None:
        self.stuck -= 1
        seconds = clock.monotonic() - since
        logger.info(
            "thread of a job that was given up has ended, %.1f s later", seconds, extra=fields
        )
        self._give_back()
        self._freed()

    def _is_moving(self) -> bool:
        return not self.is_stuck and clock.monotonic() - self._moved_at <= PATIENCE

    def _quick(self) -> int:
        """How many jobs the places will end in the next moment, at their pace so far."""
        self._pace.look(self._finished, clock.monotonic())
        return self._pace.prefetch(MOST_WAITING)

    def _allowed(self) -> int:
        """How many jobs may wait."""
        return max(self.limit, self._quick()) if self._is_moving() else 0

    def _arm(self) -> None:
        if len(self.waiting) > self._allowed():
            self._timer = self._loop.call_later(AHEAD, self._shed)
        else:
            wait = self._moved_at + PATIENCE - clock.monotonic()
            self._timer = self._loop.call_later(max(0.0, wait), self._shed)

    def _shed(self) -> None:
        """Move away the latest of the waiting jobs, if too many wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        excess = len(self.waiting) - self._allowed()
        if excess > 0:
            latest = [self.waiting.pop() for _ in range(excess)]
            self._overflow(self.place, latest[::-1])
            self._freed()  # the reader may have paused because of the jobs that wait here
        if self.waiting and self._timer is None:
            self._arm()
