"""`StoppedLoop`: an event loop whose time stands still, and that says when it has nothing to do.

Two methods of the running loop are replaced: `time`, by which all its timers go, and the `select`
of its selector, in which it waits when nothing is ready. So everything that sleeps in this loop
does so by the clock of the test: the services of a worker, the tasks, and the test itself.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiostreamq import clock
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    Events = list[Any]

# Seconds of real time for which a step waits for jobs that run in threads.
THREAD_PATIENCE = 10.0

# Seconds of real time for which a step waits for the sockets of jobs that run. Each such wait that
# brings nothing costs a test as long.
SOCKET_PATIENCE = 0.05

# Seconds of real time after which a loop in which nothing can happen any more is reported.
STALL = 5.0

# Seconds. Timers that are due within this time are due: the loop has them as floats.
GRAIN = 1e-6

STALLED = (
    "time stands still, and everything in the event loop waits for it: let it pass with "
    "`await clock.advance(...)`, or run what waits with `await test.run_all()`"
)


class StoppedLoop:
    """The running event loop, with a time that only a test moves."""

    def __init__(
        self, elapsed: "Callable[[], float]", jobs: "Callable[[], tuple[int, int]]"
    ) -> None:
        """Stop the time of the running loop.

        Args:
            elapsed: Returns the seconds that the test has let pass.
            jobs: Returns how many jobs run in threads or processes, and how many on the loop.

        Raises:
            UsageError: It is not one of asyncio's own loops.
        """
        loop: Any = asyncio.get_running_loop()
        if not (hasattr(loop, "_scheduled") and hasattr(loop, "_selector")):
            raise UsageError(
                f"the time of a {type(loop).__module__} loop cannot be stopped: run this test on "
                f"asyncio's own event loop"
            )
        self.loop: asyncio.AbstractEventLoop = loop
        self._inner = loop
        self._elapsed = elapsed
        self._jobs = jobs
        self._base = clock.of_loop(loop) - elapsed()
        self._real_time = cast("Callable[[], float]", loop.time)
        self._real_select = cast("Callable[[float | None], Events]", loop._selector.select)  # noqa: SLF001
        self._waiter: asyncio.Future[None] | None = None
        loop.time = self._time
        loop._selector.select = self._select  # noqa: SLF001

    def close(self) -> None:
        """Let the time of the loop pass again, from where it stands."""
        ahead = self._time() - self._real_time()
        real = self._real_time
        self._inner.time = lambda: real() + ahead
        self._inner._selector.select = self._real_select  # noqa: SLF001

    async def settle(self) -> None:
        """Wait until the loop has nothing to do until its next timer."""
        self._waiter = waiter = self.loop.create_future()
        await waiter

    def next_timer(self) -> float | None:
        """Return the elapsed seconds at which the next timer is due, or None if there is none."""
        timers = cast("list[asyncio.TimerHandle]", self._inner._scheduled)  # noqa: SLF001
        whens = [timer.when() for timer in timers if not timer.cancelled()]
        return min(whens) - self._base if whens else None

    def _time(self) -> float:
        return self._base + self._elapsed()

    def _select(self, timeout: float | None = None) -> "Events":
        if timeout is not None and timeout < GRAIN:  # a timer is due, but for rounding
            return self._real_select(0)
        found = self._real_select(0) or self._wait_outside()
        waiter, self._waiter = self._waiter, None
        if found or waiter is None:
            self._waiter = waiter
            return found or self._stand_still()
        if not waiter.done():
            waiter.set_result(None)
        return []

    def _wait_outside(self) -> "Events":
        """Wait for threads and sockets that jobs may need. Returns at once if no job runs."""
        if self._waiter is None:
            return []
        in_threads, on_loop = self._jobs()
        if in_threads:
            return self._real_select(THREAD_PATIENCE)
        return self._real_select(SOCKET_PATIENCE) if on_loop and self._has_outside else []

    def _stand_still(self) -> "Events":
        """Wait for what may come from outside: by itself, no time passes."""
        if any(self._jobs()) or self._has_outside:
            return self._real_select(None)
        found = self._real_select(STALL)
        if not found and not self._inner._ready:  # noqa: SLF001
            raise UsageError(STALLED)
        return found

    @property
    def _has_outside(self) -> bool:
        """Whether the loop has sockets beside its own, or threads for blocking calls."""
        sockets = len(self._inner._selector.get_map())  # noqa: SLF001
        return sockets > 1 or self._inner._default_executor is not None  # noqa: SLF001
