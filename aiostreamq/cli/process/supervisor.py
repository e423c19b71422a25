"""Keeping worker processes: a number of slots, with a process in each.

All happens in calls, one at a time, in one event loop: a process sends an event (`_on_event`),
a process ends (`_on_end`), a signal comes (`_on_signal`), code changes (`_on_change`). Each
decides at once and waits for nothing. The supervisor imports no code of the user's, so that it
neither grows nor crashes with it.
"""

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import assert_never

from aiostreamq.cli.output import complain
from aiostreamq.cli.process.crash_backoff import SOON, CrashBackoff
from aiostreamq.cli.process.reload import watch_code
from aiostreamq.cli.process.signal_echo import SignalEchoFilter
from aiostreamq.cli.process.supervisor_link import Event
from aiostreamq.cli.process.worker_process import Command, Ending, WorkerProcess
from aiostreamq.logs import get_logger
from aiostreamq.model.worker_state import WorkerState

logger = get_logger("aiostreamq.cli")

# Seconds that a process may take to abort before it is killed.
ABORT_TIME = 5.0

WRONG_USAGE = 2  # the exit code for it

# The state of the supervisor is the first of these that one of its workers has.
_BEST_FIRST = (WorkerState.READY, WorkerState.STUCK, WorkerState.CUT_OFF, WorkerState.BLOCKED)


class Slot:
    """A place for one working process."""

    def __init__(self, number: int) -> None:
        self.number = number  #: from 1
        self.child: WorkerProcess | None = None  #: None between a crash and the next start
        self.replacement: WorkerProcess | None = None  #: takes the place of child when it is ready
        self.crashes = CrashBackoff()
        self.restart: asyncio.TimerHandle | None = None  #: the next start, after a crash
        self.is_done = False  #: with --burst: no job is left

    def cancel_restart(self) -> None:
        """Cancel a start that waits for the pause after a crash."""
        if self.restart is not None:
            self.restart.cancel()
            self.restart = None


class Supervisor:
    """Keeps a number of worker processes until a signal ends it, or a burst is through.

    It has 15 attributes: six settings, the slots, and how far the end has come.
    """

    def __init__(
        self,
        command: Command,
        workers: int,
        *,
        patience: float,
        blocked_after: float,
        stuck_after: float,
        is_burst: bool = False,
        watched: Path | None = None,
    ) -> None:
        """Prepare. `run` starts the processes.

        Args:
            command: Returns the command that starts a worker.
            workers: How many worker processes to keep.
            patience: Seconds that a worker may take to drain before it is killed.
            blocked_after: Seconds without a turn of its event loop after which a worker is not
                ready.
            stuck_after: Seconds without a turn of its event loop after which a worker is killed.
            is_burst: Whether an orderly end of a worker means that no job is left.
            watched: The folder in which a change of a Python file restarts all workers.
        """
        self._command = command
        self._patience = patience
        self._blocked_after = blocked_after
        self._stuck_after = stuck_after
        self._is_burst = is_burst
        self._watched = watched
        self._slots = [Slot(number) for number in range(1, workers + 1)]
        self._children: set[WorkerProcess] = set()  # all that live, draining ones included
        self._has_begun = False  # a worker was ready since the last change of code
        self._is_stopping = False
        self._is_aborting = False
        self._signals = SignalEchoFilter()
        self._code = 0
        self._over = asyncio.Event()
        self._tasks: asyncio.TaskGroup

    @property
    def state(self) -> WorkerState:
        """The state of the workers together: READY as long as one of them is."""
        if self._over.is_set():
            return WorkerState.STOPPED
        if self._is_stopping:
            return WorkerState.DRAINING
        states = {slot.child.state for slot in self._slots if slot.child is not None}
        for state in _BEST_FIRST:
            if state in states:
                return state
        return WorkerState.STARTING

    async def run(self) -> int:
        """Keep the workers until the end, and return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        async with AsyncExitStack() as stack:
            self._tasks = await stack.enter_async_context(asyncio.TaskGroup())
            if self._watched is not None:
                watching = self._tasks.create_task(watch_code(self._watched, self._on_change))
                stack.callback(watching.cancel)
            # The others wait for the first, so that an error that all would have is printed once.
            self._fill(self._slots[0])
            await self._over.wait()
        return self._code

    def _on_event(self, slot: Slot, child: WorkerProcess, event: Event, detail: str) -> None:
        match event:
            case "ready":
                self._on_ready(slot, child, detail)
            case "replace":
                if slot.child is child and not self._is_stopping:
                    logger.info("%s is replaced: %s", child, detail)
                    slot.replacement = self._start(slot)
            case "state" | "finished" | "turns" | "blocked":
                pass  # WorkerProcess has noted it
            case _:
                assert_never(event)

    def _on_ready(self, slot: Slot, child: WorkerProcess, banner: str) -> None:
        if not self._has_begun:
            # Not earlier: a worker that cannot start at all prints nothing but its error.
            complain(banner)
            logger.info("supervisor (process %d), workers: %d", os.getpid(), len(self._slots))
        logger.info("%s is ready", child)
        if self._is_stopping:
            return
        if child is slot.replacement:
            if slot.child is not None:
                slot.child.order("drain")
            slot.child, slot.replacement = child, None
        if not self._has_begun:
            self._has_begun = True
            for other in self._slots:
                if other.child is None:
                    self._fill(other)

    def _on_end(self, slot: Slot, child: WorkerProcess, ending: Ending) -> None:
        if self._is_stopping or child not in {slot.child, slot.replacement}:
            self._log_end(child, ending)
        elif not ending.is_orderly:
            self._on_crash(slot, child, ending)
        elif self._is_burst and child is slot.child and slot.replacement is None:
            logger.info("%s has ended: no job is left", child)
            slot.child = None
            slot.is_done = True
            slot.cancel_restart()
        else:
            logger.info("%s has drained and ended by itself; another takes its place", child)
            if self._vacate(slot, child):
                self._fill(slot)

    def _on_crash(self, slot: Slot, child: WorkerProcess, ending: Ending) -> None:
        is_missed = self._vacate(slot, child)
        pause = slot.crashes.pause_after(ending.ready_seconds, random.random())
        if self._watched is not None and (pause is None or not child.is_ready):
            logger.error("%s %s; it starts again when code changes", child, ending)
        elif ending.code == WRONG_USAGE and not self._has_begun:
            self._stop(WRONG_USAGE)  # the worker has printed why; a new start would not help
        elif pause is None:
            logger.critical(
                "%s %s: crash number %d in a row, each within %.0f s of work. Giving up: see the "
                "lines above for the cause. The other workers drain",
                child,
                ending,
                slot.crashes.in_a_row,
                SOON,
            )
            self._stop(1)
        else:
            lost = "; its jobs will be run again" if child.is_ready else ""
            logger.error("%s %s%s. Another starts in %.1f s", child, ending, lost, pause)
            if is_missed and slot.restart is None:
                loop = asyncio.get_running_loop()
                slot.restart = loop.call_later(pause, self._fill, slot)

    def _on_signal(self, number: int) -> None:
        if not self._signals.is_news(number):
            return
        if not self._is_stopping:
            logger.info("draining: running jobs may finish; signal again to leave at once")
            self._stop(0)
        elif not self._is_aborting:
            logger.warning("leaving at once; running jobs will be run again")
            self._is_aborting = True
            self._code = self._code or 1
            for child in self._children:
                child.order("abort", ABORT_TIME)

    def _on_change(self, files: list[str]) -> None:
        if self._is_stopping:
            return
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        logger.info("%s%s changed: starting again", ", ".join(files[:3]), more)
        for slot in self._slots:
            slot.cancel_restart()
            slot.child = slot.replacement = None
            slot.crashes = CrashBackoff()
        for child in self._children:
            child.order("stop", self._patience)
        self._has_begun = False
        self._fill(self._slots[0])

    def _fill(self, slot: Slot) -> None:
        """Start the child that is missing, or the replacement of the child that is there."""
        slot.cancel_restart()
        if slot.child is None:
            slot.child = self._start(slot)
        elif slot.replacement is None:
            slot.replacement = self._start(slot)

    def _vacate(self, slot: Slot, child: WorkerProcess) -> bool:
        """Take *child*, which has ended, out of its slot; return whether a process is missing."""
        if child is slot.replacement:
            slot.replacement = None
            return True
        slot.child, slot.replacement = slot.replacement, None
        return slot.child is None

    def _start(self, slot: Slot) -> WorkerProcess:
        child = WorkerProcess(slot.number, self._command, self._blocked_after, self._stuck_after)
        self._children.add(child)
        self._tasks.create_task(self._attend(slot, child))
        return child

    async def _attend(self, slot: Slot, child: WorkerProcess) -> None:
        ending = await child.live(partial(self._on_event, slot, child))
        self._children.discard(child)
        self._on_end(slot, child, ending)
        if not self._children and (self._is_stopping or all(s.is_done for s in self._slots)):
            self._over.set()

    def _log_end(self, child: WorkerProcess, ending: Ending) -> None:
        """Log the end of a process that had to end."""
        if ending.is_orderly:
            logger.info("%s has drained and ended", child)
        elif not child.is_ready:
            logger.info("%s %s before it was ready", child, ending)
        else:
            logger.error("%s %s before it had drained", child, ending)
            if self._is_stopping:
                self._code = self._code or 1

    def _stop(self, code: int) -> None:
        """Stop all workers; when they have ended, the supervisor ends with *code*."""
        self._is_stopping = True
        self._code = code
        for slot in self._slots:
            slot.cancel_restart()
        for child in self._children:
            child.order("stop", self._patience)
        if not self._children:
            self._over.set()
