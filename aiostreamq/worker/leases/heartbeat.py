"""Showing that this worker lives, from a thread that no job can block.

The thread has an event loop and a connection of its own. Twice a second it also
asks the worker's loop for a sign: a job that blocks the loop is reported with
its stack, and one that blocks it for very long costs the worker its lease.
"""

import asyncio
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from aiostreamq.aio.tasks import spawn
from aiostreamq.logs import get_logger
from aiostreamq.store.connection.reconnecting import LONGEST_PAUSE, ReconnectingLink
from aiostreamq.store.workers import WorkerRegistry

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.store.queue import QueueStore

logger = get_logger("aiostreamq.worker")

# Seconds between two looks at the worker's loop. Each wakes it: idle workers
# should cost nothing to speak of.
LOOK = 0.5

# A lease is renewed three times over, so that two beats may be lost.
BEATS_A_LEASE = 3

# Parts of a lease: how long a connection may stay silent until another is tried, and how
# long to pause between tries while Redis is away. With the third that passes between two
# beats, either must leave time to show a sign of life before the lease is over.
SILENCE = 1 / 2
PAUSE = 1 / 4

# A loop that has been blocked for so many leases will not come back: let others
# have its jobs.
PATIENCE_LEASES = 10

# Seconds to wait for the end of the thread, which takes milliseconds. One that hangs, in a name
# server that does not answer say, must not keep the worker from leaving.
END_TIME = 5.0


class Heartbeat:
    """Renews one worker's lease until it is stopped or has been taken for dead."""

    def __init__(
        self,
        broker: "QueueStore",
        name: str,
        lease: float,
        loop_block_warning: float,
        lost: "Callable[[], None]",
        about: "Callable[[], bytes]" = bytes,
    ) -> None:
        """Prepare to beat.

        Args:
            broker: The queue; the thread opens a connection of its own to it.
            name: Of the worker, which has joined already.
            lease: Seconds after the last beat until others take the worker's jobs.
            loop_block_warning: Seconds the loop may be blocked before that is reported.
            lost: Called in the worker's loop when it has been taken for dead.
            about: Gives what the worker tells of itself; called in the thread.
        """
        self.heard = time.monotonic()  #: when Redis last answered; the worker has just joined
        self._broker = broker
        self._name = name
        self._lease = lease
        self._lost = lost
        self._about = about
        self._loop = asyncio.get_running_loop()
        self._guard = LoopWatchdog(self._loop, loop_block_warning)
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        # Of the thread, or of the worker where there is no thread.
        self._beat_loop = self._loop
        self._is_over = False  # told to end, maybe before there was a loop to tell
        self._woken: asyncio.Event | None = None  # in that loop: look whether it is over
        self._ended = asyncio.Event()

    def start(self) -> None:
        """Begin beating."""
        if self._broker.connector.is_in_memory:
            # Nobody outside this process could take its jobs, and the store in
            # memory is not for two threads.
            self._task = spawn(self._beat(), "aiostreamq:beat")
            return
        self._thread = threading.Thread(target=self._run, name="aiostreamq:beat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Beat no more, and wait for nothing: what is on its way is the last."""
        self._is_over = True
        if self._woken is not None:
            self._tell(self._beat_loop, self._woken.set)

    async def aclose(self) -> None:
        """Beat no more, and wait until that is certain, or for some seconds. May be repeated."""
        self.close()
        if self._task is not None:
            await asyncio.wait([self._task])
        if self._thread is None:
            return
        try:
            # Not by joining it: that would need one of the threads that the program has for
            # blocking calls, and those may all be taken.
            async with asyncio.timeout(END_TIME):
                await self._ended.wait()
        except TimeoutError:
            logger.error(  # noqa: TRY400  # the traceback would say nothing more
                "the heartbeat of worker %s has not ended within %g s and is left to itself: "
                "is there a name server that does not answer?",
                self._name,
                END_TIME,
            )

    def _run(self) -> None:
        try:
            asyncio.run(self._beat())
        finally:
            self._tell(self._loop, self._ended.set)

    async def _beat(self) -> None:
        self._beat_loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        broker = self._broker.over(self._new_line())
        beating = asyncio.ensure_future(self._renew_forever(WorkerRegistry(broker)))
        try:
            while not (beating.done() or self._is_over):
                self._look_at_loop()
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await self._woken.wait()
        finally:
            beating.cancel()
            await asyncio.wait([beating])
            broker.close()

    def _look_at_loop(self) -> None:
        try:
            self._guard.look(self._beat_loop.time())
        except Exception:  # as below: only a report would be missing
            logger.exception("the worker's event loop could not be looked at, trying on")

    def _new_line(self) -> ReconnectingLink:
        lease = self._lease
        return ReconnectingLink(
            self._broker.connector,
            "beat",
            reply_timeout=lease * SILENCE,
            longest_pause=min(LONGEST_PAUSE, lease * PAUSE),
        )

    async def _renew_forever(self, roster: WorkerRegistry) -> None:
        """Renew the lease until the worker has been taken for dead."""
        while True:
            if self._guard.blocked_for(self._beat_loop.time()) < PATIENCE_LEASES * self._lease:
                try:
                    lease_ms, about = int(self._lease * 1000), self._about()
                    if not await roster.renew(self._name, lease_ms, about):
                        self._tell(self._loop, self._lost)
                        return
                    self.heard = time.monotonic()
                except Exception:  # whatever it is: to stop costs the worker all that it runs
                    logger.exception("the lease could not be renewed, trying on")
            await asyncio.sleep(self._lease / BEATS_A_LEASE)

    @staticmethod
    def _tell(loop: asyncio.AbstractEventLoop, what: "Callable[[], None]") -> None:
        with suppress(RuntimeError):  # that loop has ended: there is nobody left to tell
            loop.call_soon_threadsafe(what)


class LoopWatchdog:
    """Watches from outside whether an event loop still turns."""

    def __init__(self, loop: asyncio.AbstractEventLoop, loop_block_warning: float) -> None:
        self._watched = loop
        self._watched_thread = threading.get_ident()
        self._loop_block_warning = loop_block_warning
        self._asked: float | None = None  # when a sign was asked for that has not come
        self._is_told = False

    def look(self, now: float) -> None:
        """Ask for a sign; report where the last one has been long in coming."""
        if self._asked is None:
            if self._is_told:
                self._is_told = False
                logger.warning("the event loop turns again")
            self._asked = now
            with suppress(RuntimeError):  # the loop has ended
                self._watched.call_soon_threadsafe(self._answer)
        elif not self._is_told and now - self._asked >= self._loop_block_warning:
            self._is_told = True
            self._report(now - self._asked)

    def blocked_for(self, now: float) -> float:
        """Seconds that the loop has not turned, as far as is known."""
        return 0.0 if self._asked is None else now - self._asked

    def _answer(self) -> None:
        self._asked = None

    def _report(self, seconds: float) -> None:
        frame = sys._current_frames().get(self._watched_thread)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented, and the only way
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "(no stack)\n"
        running = asyncio.current_task(self._watched)
        logger.warning(
            "the event loop has been blocked for %.1f s by %s: move what blocks into a `def` task "
            "or a thread. It is at:\n%s",
            seconds,
            running.get_name() if running is not None else "a callback",
            stack,
        )
