"""The clock of a test: time stands still, and passes only when the test says so."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from aiostreamq import clock as clocks
from aiostreamq.errors import UsageError
from aiostreamq.model.duration import Duration, moment_ms, seconds
from aiostreamq.testing.run_limit import MOST_RUNS, RunLimit
from aiostreamq.testing.stopped_loop import StoppedLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")

# Regular looks of clients and workers that find what was lost. In memory
# nothing is lost, and each look would be a moment at which the clock stops.
SECOND_LOOKS = (
    ("aiostreamq.client.job_event_follower", "BLOCK_MS"),
    ("aiostreamq.client.results.inbox", "BLOCK"),
    ("aiostreamq.client.results.inbox", "SWEEP"),
    ("aiostreamq.worker.control.listener", "BLOCK_MS"),
    ("aiostreamq.worker.due.promoter", "LONGEST_SLEEP"),
    ("aiostreamq.worker.due.ticker", "LONGEST_SLEEP"),
    ("aiostreamq.worker.fetch.reader", "BLOCK_MS"),
    ("aiostreamq.worker.leases.heartbeat", "CHECK_INTERVAL"),
    ("aiostreamq.worker.reroute.parking", "INTERVAL"),
)

# Seconds between two of them under the clock.
DAY = 24 * 3600


class Clock:
    """The clock of an isolated queue. Made by `IsolatedQueue.stop_clock`.

    It drives all clocks and timers of the package, those of the Redis in memory, and the timers of
    the event loop. There is one at a time in a process.
    """

    _current: ClassVar["Clock | None"] = None

    def __init__(
        self,
        start: datetime | None,
        jobs: "Callable[[], tuple[int, int]]",
        working: "Callable[[int], AbstractAsyncContextManager[RunLimit]]",
        *,
        frozen: bool,
    ) -> None:
        """Stop the time.

        Args:
            start: The time to begin with; None is the present.
            jobs: Returns how many jobs run in threads or processes, and how many on the loop.
            working: Returns a context in which a worker of the queue runs, for at most this many
                runs.
            frozen: Whether the code of tasks and tests sees this time too.

        Raises:
            UsageError: There is another clock, *start* has no time zone, or time-machine is
                missing.
        """
        if Clock._current is not None:
            raise UsageError("the time of this process is stopped already: end that first")
        wall = clocks.wall() * 1000 if start is None else moment_ms("start", start)
        self._start_us = int(wall) * 1000
        self._elapsed_us = 0
        self._jobs = jobs
        self._working = working
        self._loop: StoppedLoop | None = None
        self._is_advancing = False
        #: whether workers beat, and look for dead ones. That is a script call for each 0.8 seconds,
        #: and finds something only if a worker was killed.
        self.leases_pass = False
        self._traveller = _Traveller(self.now) if frozen else None
        self._saved: list[tuple[Any, str, object]] = []
        monotonic, steady = clocks.monotonic(), clocks.steady()
        self._put(clocks, "monotonic", lambda: monotonic + self._elapsed())
        self._put(clocks, "steady", lambda: steady + self._elapsed())
        # A quarter of a microsecond more, so that no rounding makes it a millisecond less.
        self._put(clocks, "wall", lambda: (self._start_us + self._elapsed_us + 0.25) / 1e6)
        self._put(clocks, "lease_pause", self._lease_pause)
        for module, name in SECOND_LOOKS:
            self._put(import_module(module), name, DAY * (1000 if name.endswith("_MS") else 1))
        Clock._current = self

    def close(self) -> None:
        """Let time pass again by itself. May be repeated."""
        if Clock._current is not self:
            return
        Clock._current = None
        for owner, name, value in self._saved:
            setattr(owner, name, value)
        if self._loop is not None and not self._loop.loop.is_closed():
            self._loop.close()
        self._loop = None
        if self._traveller is not None:
            self._traveller.close()

    @property
    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(0, UTC) + timedelta(
            microseconds=self._start_us + self._elapsed_us
        )

    async def advance(self, by: Duration, *, most_runs: int = MOST_RUNS) -> None:
        """Let time pass, and run everything that becomes due, each at its moment.

        The clock goes from one moment to the next: a timer, a delayed job, a tick of a schedule,
        a timeout, a lease. All work of a moment is done before the next moment, except what needs
        more time. A worker runs the jobs, with the real scripts. A job that still runs at the end
        continues with the next `advance`.

        Args:
            by: Seconds, or "2h", or a timedelta.
            most_runs: The most runs of jobs. A tick of a schedule in memory takes some
                milliseconds, so raise this only if the test has the time.

        Raises:
            UsageError: *by* or *most_runs* is invalid; time is passing already; or there would be
                more runs than *most_runs*, or ten moments for each of them. The time stays at the
                moment that it has reached.
            BrokerError: The Redis refused, which ended the worker.

        Cancelling leaves the time at the moment that it has reached.
        """
        target = self._elapsed_us + math.ceil(seconds("by", by) * 1_000_000)
        loop = self.attach()
        if self._is_advancing:
            raise UsageError("time is passing already: one task at a time lets it pass")
        self._is_advancing = True
        try:
            async with self._working(most_runs) as limit:
                await loop.settle()
                while (when := self._next_us(loop)) is not None and when <= target:
                    limit.note_moment()
                    self._set(when)
                    await loop.settle()
                limit.check()
                self._set(target)
                await loop.settle()
                limit.check()
        finally:
            self._is_advancing = False

    async def advance_to(self, moment: datetime, *, most_runs: int = MOST_RUNS) -> None:
        """Let time pass until a moment, as `advance` does.

        Args:
            moment: A datetime with a time zone, not before the present.
            most_runs: As for `advance`.

        Raises:
            As `advance`.
        """
        left_ms = moment_ms("moment", moment) - (self._start_us + self._elapsed_us) / 1000
        if left_ms < 0:
            raise UsageError(f"moment={moment!r} is over: it is {self.now} already")
        await self.advance(left_ms / 1000, most_runs=most_runs)

    async def drive(self, running: "Coroutine[Any, Any, T]", moved: "Callable[[], None]") -> T:
        """Run a coroutine, and let as much time pass as it needs. For the package itself.

        *moved* is called before each moment; what it raises ends the coroutine.
        """
        loop = self.attach()
        task = asyncio.ensure_future(running)
        try:
            while not task.done():
                await loop.settle()
                if not task.done() and (when := self._next_us(loop)) is not None:
                    moved()
                    self._set(when)
            return await task
        finally:
            task.cancel()

    def attach(self) -> StoppedLoop:
        """Stop the time of the running loop too, if that has not been done."""
        running = asyncio.get_running_loop()
        if self._loop is None or self._loop.loop is not running:
            if self._loop is not None and self._loop.loop.is_running():
                raise UsageError("the clock drives another event loop, which is running")
            self._loop = StoppedLoop(self._elapsed, self._jobs)
        return self._loop

    def _lease_pause(self, pause: float) -> float:
        return pause if self.leases_pass else max(pause, DAY)

    def _elapsed(self) -> float:
        return self._elapsed_us / 1e6

    def _next_us(self, loop: StoppedLoop) -> int | None:
        when = loop.next_timer()
        return None if when is None else math.ceil(round(when * 1e6, 3))

    def _set(self, elapsed_us: int) -> None:
        if elapsed_us > self._elapsed_us:
            self._elapsed_us = elapsed_us
            if self._traveller is not None:
                self._traveller.move_to(self.now)

    def _put(self, owner: Any, name: str, value: object) -> None:  # a module
        self._saved.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)


class _Traveller:
    """The time that the clocks of Python show, by time-machine."""

    def __init__(self, now: datetime) -> None:
        try:
            import time_machine
        except ImportError as error:
            raise UsageError("frozen=True needs time-machine: pip install time-machine") from error
        self._travel: Any = time_machine.travel(now, tick=False)
        self._place: Any = self._travel.start()

    def move_to(self, now: datetime) -> None:
        """Set the time."""
        self._place.move_to(now)

    def close(self) -> None:
        """Return to the present."""
        self._travel.stop()
