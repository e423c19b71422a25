"""Keeping worker processes: a number of slots, and in each a process that works.

What happens comes as calls, one at a time, in one event loop: a process tells
something (`_on_event`), a process ends (`_on_end`), a signal comes (`_on_signal`), code
changes (`_on_change`). Each decides at once and waits for nothing. The supervisor
imports nothing of the user's, so that it neither grows nor crashes with it.
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
from aiostreamq.cli.process.child import Command, Ending, WorkerProcess
from aiostreamq.cli.process.crash_backoff import SOON, CrashBackoff
from aiostreamq.cli.process.reload import watch_code
from aiostreamq.cli.process.signal_echo import Signals
from aiostreamq.cli.process.supervisor_link import Event
from aiostreamq.logs import get_logger
from aiostreamq.model.worker_state import WorkerState

logger = get_logger("aiostreamq.cli")

# Seconds that a process may take to leave at once.
LEAVE_TIME = 5.0

WRONG_USAGE = 2  # the exit code for it

# What the supervisor is, if one of its workers is so.
_BEST_FIRST = (WorkerState.READY, WorkerState.STUCK, WorkerState.CUT_OFF, WorkerState.BLOCKED)


class Slot:
    """A place for one working process."""

    def __init__(self, number: int) -> None:
        self.number = number  #: from 1
        self.child: WorkerProcess | None = (
            None  #: who works; None between a crash and the next start
        )
        self.heir: WorkerProcess | None = None  #: who is being started to take its place
        self.crashes = CrashBackoff()
        self.restart: asyncio.TimerHandle | None = None  #: while a start is put off
        self.is_done = False  #: with a burst: no job is left

    def call_off(self) -> None:
        """Forget a start that was put off."""
        if self.restart is not None:
            self.restart.cancel()
            self.restart = None


class Supervisor:
    """Keeps so many worker processes until it is told to end, or all have no job left."""

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
        """Prepare; no process is started yet.

        Args:
            command: Starts a worker.
            workers: How many to keep.
            patience: Seconds that one may take to drain before it is killed.
            blocked_after: Seconds without a turn of its event loop after which one is not ready.
            stuck_after: Seconds without a turn of its event loop after which one is killed.
            is_burst: A worker that ends in good order has found no job left.
            watched: The folder whose Python files restart all when they change.
        """
        self._command = command
        self._patience = patience
        self._blocked_after = blocked_after
        self._stuck_after = stuck_after
        self._is_burst = is_burst
        self._watched = watched
        self._slots = [Slot(number) for number in range(1, workers + 1)]
        self._children: set[WorkerProcess] = set()  # all that live, those too that drain
        self._has_begun = False  # a first worker was ready, since the last change of code
        self._is_stopping = False
        self._is_leaving = False
        self._signals = Signals()
        self._code = 0
        self._over = asyncio.Event()
        self._tasks: asyncio.TaskGroup

    @property
    def state(self) -> WorkerState:
        """What the workers are doing: they take jobs as long as one of them does."""
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
        """Keep the workers to the end; returns the exit code."""
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, self._on_signal, sign)
        async with AsyncExitStack() as stack:
            self._tasks = await stack.enter_async_context(asyncio.TaskGroup())
            if self._watched is not None:
                watching = self._tasks.create_task(watch_code(self._watched, self._on_change))
                stack.callback(watching.cancel)
            # The others wait for the first: what is wrong with all is said once.
            self._fill(self._slots[0])
            await self._over.wait()
        return self._code

    def _on_event(self, slot: Slot, child: WorkerProcess, event: Event, told: str) -> None:
        match event:
            case "ready":
                self._on_ready(slot, child, told)
            case "replace":
                if slot.child is child and not self._is_stopping:
                    logger.info("%s is replaced: %s", child, told)
                    slot.heir = self._start(slot)
            case "state" | "over" | "turns" | "blocked":
                pass  # the child notes it
            case _:
                assert_never(event)

    def _on_ready(self, slot: Slot, child: WorkerProcess, banner: str) -> None:
        if not self._has_begun:
            # Not earlier: what cannot work at all says nothing but why.
            complain(banner)
            logger.info("supervisor (process %d), workers: %d", os.getpid(), len(self._slots))
        logger.info("%s is ready", child)
        if self._is_stopping:
            return
        if child is slot.heir:
            if slot.child is not None:
                slot.child.order("retire")
            slot.child, slot.heir = child, None
        if not self._has_begun:
            self._has_begun = True
            for other in self._slots:
                if other.child is None:
                    self._fill(other)

    def _on_end(self, slot: Slot, child: WorkerProcess, ending: Ending) -> None:
        if self._is_stopping or child not in {slot.child, slot.heir}:
            self._see_off(child, ending)
        elif not ending.is_orderly:
            self._on_crash(slot, child, ending)
        elif self._is_burst and child is slot.child and slot.heir is None:
            logger.info("%s has ended: no job is left", child)
            slot.child = None
            slot.is_done = True
            slot.call_off()
        else:
            logger.info("%s has drained and ended unasked; another takes its place", child)
            if self._vacate(slot, child):
                self._fill(slot)

    def _on_crash(self, slot: Slot, child: WorkerProcess, ending: Ending) -> None:
        is_missed = self._vacate(slot, child)
        pause = slot.crashes.pause_after(ending.worked, random.random())
        if self._watched is not None and (pause is None or not child.is_ready):
            logger.error("%s %s; it starts again when code changes", child, ending)
        elif ending.code == WRONG_USAGE and not self._has_begun:
            self._stop(WRONG_USAGE)  # it has said what is wrong, and will not get better
        elif pause is None:
            logger.critical(
                "%s %s: crash number %d in a row, each before %.0f s of work. Giving up; what "
                "it said before tells why. The other workers drain",
                child,
                ending,
                slot.crashes.in_a_row,
                SOON,
            )
            self._stop(1)
        else:
            lost = "; what it ran will be run again" if child.is_ready else ""
            logger.error("%s %s%s. Another starts in %.1f s", child, ending, lost, pause)
            if is_missed and slot.restart is None:
                loop = asyncio.get_running_loop()
                slot.restart = loop.call_later(pause, self._fill, slot)

    def _on_signal(self, sign: int) -> None:
        if not self._signals.is_news(sign):
            return
        if not self._is_stopping:
            logger.info("draining: running jobs get to end; once more to leave at once")
            self._stop(0)
        elif not self._is_leaving:
            logger.warning("leaving at once; what still runs will be run again")
            self._is_leaving = True
            self._code = self._code or 1
            for child in self._children:
                child.order("leave", LEAVE_TIME)

    def _on_change(self, files: list[str]) -> None:
        if self._is_stopping:
            return
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        logger.info("%s%s changed: starting again", ", ".join(files[:3]), more)
        for slot in self._slots:
            slot.call_off()
            slot.child = slot.heir = None
            slot.crashes = CrashBackoff()
        for child in self._children:
            child.order("drain", self._patience)
        self._has_begun = False
        self._fill(self._slots[0])

    def _fill(self, slot: Slot) -> None:
        """Start what is missing: who works, or who is to take its place."""
        slot.call_off()
        if slot.child is None:
            slot.child = self._start(slot)
        elif slot.heir is None:
            slot.heir = self._start(slot)

    def _vacate(self, slot: Slot, child: WorkerProcess) -> bool:
        """Take *child*, which has ended, out of its slot; True where somebody is missing now."""
        if child is slot.heir:
            slot.heir = None
            return True
        slot.child, slot.heir = slot.heir, None
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

    def _see_off(self, child: WorkerProcess, ending: Ending) -> None:
        """Note the end of a process that was to end."""
        if ending.is_orderly:
            logger.info("%s has drained and ended", child)
        elif not child.is_ready:
            logger.info("%s %s before it had begun", child, ending)
        else:
            logger.error("%s %s before it had drained", child, ending)
            if self._is_stopping:
                self._code = self._code or 1

    def _stop(self, code: int) -> None:
        """Have all drain; then the supervisor ends with *code*."""
        self._is_stopping = True
        self._code = code
        for slot in self._slots:
            slot.call_off()
        for child in self._children:
            child.order("drain", self._patience)
        if not self._children:
            self._over.set()
