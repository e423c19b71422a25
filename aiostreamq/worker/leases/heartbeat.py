"""The sign of life of a worker, from a thread that no job can block.

The thread has an event loop and a connection of its own. Twice a second it also asks the worker's
loop for a sign of life: a job that blocks the loop is reported with its stack, and one that blocks
it for very long costs the worker its lease.
"""

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.aio.own_tasks import spawn
from aiostreamq.aio.wakeup import Wakeup, wait_for_event
from aiostreamq.aio.watchdog import LoopWatchdog
from aiostreamq.logs import get_logger
from aiostreamq.store.connection.reconnecting import LONGEST_PAUSE, ReconnectingLink
from aiostreamq.store.workers import WorkerRegistry

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.store.queue import QueueStore
    from aiostreamq.worker.listener_events import WorkerListeners

logger = get_logger("aiostreamq.worker")

# Seconds between two checks of the worker's loop. Each wakes it: idle workers should cost next to
# nothing.
CHECK_INTERVAL = 0.5

# A lease is renewed three times over, so that two beats may be lost.
BEATS_A_LEASE = 3

# Fractions of a lease: how long a connection may stay silent until another is tried, and how
# long to pause between tries while Redis is away. Together with the third that passes between two
# beats, either must leave time to renew the lease before it is over.
SILENCE = 1 / 2
PAUSE = 1 / 4

# A loop that has been blocked for this many leases will not come back: other workers get its jobs.
PATIENCE_LEASES = 10

# Seconds to wait for the end of the thread, which takes milliseconds. A thread that hangs, for
# example in a name server that does not answer, must not keep the worker from leaving.
END_TIME = 5.0


class Heartbeat:
    """Renews one worker's lease until it is closed or the worker has been taken for dead.

    It has attributes for two event loops: that of the worker, and that of the thread, which beats
    while the first is blocked.
    """

    def __init__(
        self,
        store: "QueueStore",
        name: str,
        lease: float,
        block_reporter: "BlockReporter",
        lost: "Callable[[], None]",
        status: "Callable[[], bytes]" = bytes,
        reader_id: "Callable[[], int]" = int,
    ) -> None:
        """Prepare to beat.

        Args:
            store: The queue; the thread opens a connection of its own to it.
            name: The name of the worker, which has joined already.
            lease: Seconds after the last beat until others take the worker's jobs.
            block_reporter: Checks the worker's loop.
            lost: Called in the worker's loop when the worker has been taken for dead.
            status: Returns the worker's report about itself; called in the thread.
            reader_id: Returns the id of the connection on which the worker reads, 0 if there is
                none yet; called in the thread.
        """
        self.heard = clock.monotonic()  #: when Redis last answered; the worker has just joined
        self._store = store
        self._name = name
        self._lease = lease
        self._lost = lost
        self._status = status
        self._reader_id = reader_id
        self._loop = asyncio.get_running_loop()
        self._reporter = block_reporter
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        # The loop that beats: that of the thread, or the worker's if there is no thread.
        self._beat_loop = self._loop
        self._is_closed = False  # maybe before there was a loop to wake
        self._wakeup: Wakeup | None = None  # in that loop: look whether it is closed
        self._ended = asyncio.Event()

    def start(self) -> None:
        """Begin to beat."""
        if self._store.connector.is_in_memory:
            # Nothing outside this process could take its jobs, and the store in memory is not
            # for two threads.
            self._task = spawn(self._beat(), "aiostreamq:beat")
            return
        self._thread = threading.Thread(target=self._run, name="aiostreamq:beat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Beat no more, and wait for nothing: the beat on its way is the last."""
        self._is_closed = True
        if self._wakeup is not None:
            _call_in(self._beat_loop, self._wakeup.wake)

    async def aclose(self) -> None:
        """Beat no more, and wait until that is certain, or for some seconds. May be repeated."""
        self.close()
        if self._task is not None:
            await asyncio.wait([self._task])
        # Joining the thread would need one of the threads that the program has for blocking
        # calls, and those may all be taken.
        if self._thread is not None and not await wait_for_event(self._ended, END_TIME):
            logger.error(
                "the heartbeat of worker %s has not ended within %g s and is abandoned: "
                "is there a name server that does not answer?",
                self._name,
                END_TIME,
            )

    def _run(self) -> None:
        try:
            asyncio.run(self._beat())
        finally:
            _call_in(self._loop, self._ended.set)

    async def _beat(self) -> None:
        self._beat_loop = asyncio.get_running_loop()
        self._wakeup = Wakeup()
        store = self._store.over(self._new_link())
        beating = asyncio.ensure_future(self._renew_forever(WorkerRegistry(store)))
        try:
            while not (beating.done() or self._is_closed):
                self._check_loop()
                await self._wakeup.wait(CHECK_INTERVAL)
        finally:
            beating.cancel()
            await asyncio.wait([beating])
            store.close()

    def _check_loop(self) -> None:
        try:
            self._reporter.check()
        except Exception:  # as below: only a report would be missing
            logger.exception("the worker's event loop could not be checked, retrying")

    def _new_link(self) -> ReconnectingLink:
        lease = self._lease
        return ReconnectingLink(
            self._store.connector,
            "beat",
            reply_timeout=lease * SILENCE,
            longest_pause=min(LONGEST_PAUSE, lease * PAUSE),
        )

    async def _renew_forever(self, registry: WorkerRegistry) -> None:
        """Renew the lease until the worker has been taken for dead."""
        patience = PATIENCE_LEASES * self._lease
        while True:
            if self._reporter.blocked_for() < patience:
                try:
                    lease_ms, status = int(self._lease * 1000), self._status()
                    reader_id = self._reader_id()
                    if not await registry.renew(self._name, lease_ms, status, reader_id):
                        _call_in(self._loop, self._lost)
                        return
                    self.heard = clock.monotonic()
                except Exception:  # whatever it is: to stop would cost the worker all its jobs
                    logger.exception("the lease could not be renewed, retrying")
            await asyncio.sleep(clock.lease_pause(self._lease / BEATS_A_LEASE))


class BlockReporter:
    """Reports what blocks the event loop of a worker. Made in that loop, used in another thread."""

    def __init__(self, warn_after: float, listeners: "WorkerListeners") -> None:
        """Prepare; a loop is reported once it has been blocked for *warn_after* seconds."""
        self._watchdog = LoopWatchdog(asyncio.get_running_loop())
        self._warn_after = warn_after
        self._listeners = listeners
        self._is_reported = False

    def check(self) -> None:
        """Report the loop if its last sign of life is long ago; else ask for the next one."""
        seconds = self._watchdog.blocked_for()
        if self._watchdog.ask():
            if self._is_reported:
                self._is_reported = False
                logger.warning("the event loop turns again")
        elif not self._is_reported and seconds >= self._warn_after:
            self._is_reported = True
            self._report(seconds)

    def blocked_for(self) -> float:
        """Return for how many seconds the loop has given no sign of life that was asked for."""
        return self._watchdog.blocked_for()

    def _report(self, seconds: float) -> None:
        blocker, stack = self._watchdog.running_task(), self._watchdog.stack()
        if self._listeners.is_heard:
            from aiostreamq.model.listener_events import LoopBlocked

            self._listeners.report(LoopBlocked, seconds, blocker, stack)
        logger.warning(
            "the event loop has been blocked for %.1f s by %s: move the blocking call into a "
            "`def` task or a thread. It is at:\n%s",
            seconds,
            blocker,
            stack,
        )


def _call_in(loop: asyncio.AbstractEventLoop, function: "Callable[[], None]") -> None:
    with suppress(RuntimeError):  # that loop is closed: nothing there needs the call
        loop.call_soon_threadsafe(function)
