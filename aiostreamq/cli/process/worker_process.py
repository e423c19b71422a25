"""A worker process, as its supervisor holds it."""

import asyncio
import json
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import cast

from aiostreamq import clock
from aiostreamq.cli.process.supervisor_link import QUESTION, Event, Order
from aiostreamq.logs import get_logger
from aiostreamq.model.record import record
from aiostreamq.model.worker_state import WorkerState

logger = get_logger("aiostreamq.cli")

# Seconds to read the last events of a process after its end. They have been sent by then; only
# a process that it has forked could keep the socket open.
LAST_EVENTS = 1.0

# Seconds between two questions whether the event loop of a process turns.
ASK = 1.0

#: Takes the number of an open socket, the worker's end of the link, and the number of its slot;
#: returns the program to start with them, and its arguments.
Command = Callable[[int, int], Sequence[str]]


@record
class Ending:
    """How a process ended.

    >>> str(Ending(-9, is_orderly=False, ready_seconds=2.5))
    'was killed by SIGKILL'
    """

    code: int | None  #: the exit code, or minus the signal that killed it; None: never started
    is_orderly: bool  #: it drained or ran out of jobs, and sent that
    ready_seconds: float  #: how long it was ready for jobs

    def __str__(self) -> str:
        match self.code:
            case None:
                return "could not be started"
            case code if code < 0:
                with suppress(ValueError):
                    return f"was killed by {signal.Signals(-code).name}"
                return f"was killed by signal {-code}"
            case code:
                return f"ended with exit code {code}"


class WorkerProcess:
    """One process, from its start to its end.

    It has 15 attributes: the two ends of a socket, two timers, and what the process has sent.
    """

    def __init__(
        self, slot: int, command: Command, blocked_after: float, stuck_after: float
    ) -> None:
        """Describe the process for *slot*.

        Args:
            slot: The number of its place, from 1.
            command: Returns the command that starts it.
            blocked_after: Seconds without a turn of its event loop after which it is not ready.
            stuck_after: Seconds without a turn of its event loop after which it is killed.
        """
        self.pid: int | None = None  #: None until it is started
        self._reported = WorkerState.STARTING  # its last event about its state
        self._slot = slot
        self._command = command
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._process: asyncio.subprocess.Process | None = None
        self._ready_at: float | None = None
        self._is_finished = False
        self._killing: asyncio.TimerHandle | None = None
        self._blocked_after = blocked_after
        self._stuck_after = stuck_after
        self._asking: asyncio.TimerHandle | None = None  # once it is ready
        self._unanswered = 0  # questions since its loop last turned
        self._blocker = ""  # the task that blocks its loop, as its thread reports

    def __str__(self) -> str:
        return f"worker {self._slot} (process {self.pid})"

    @property
    def is_ready(self) -> bool:
        """Whether it has begun to take jobs."""
        return self._ready_at is not None

    @property
    def state(self) -> WorkerState:
        """The state that it reported last, or BLOCKED if it no longer answers."""
        takes_jobs = self._reported in {WorkerState.READY, WorkerState.STUCK, WorkerState.CUT_OFF}
        if takes_jobs and self._silence > self._blocked_after:
            return WorkerState.BLOCKED
        return self._reported

    @property
    def _silence(self) -> float:
        """Seconds since its event loop is known to have turned."""
        # Counted in questions, not by a clock: a signal that stopped the supervisor for a while
        # has stopped its workers too.
        return self._unanswered * ASK

    async def live(self, on_event: Callable[[Event, str], None]) -> Ending:
        """Start the process, wait for its end, and return how it ended.

        *on_event* is called with each event that it sends, and its detail.
        """
        try:
            await self._start()
        except OSError as error:
            logger.error("worker %d could not be started: %s", self._slot, error)  # noqa: TRY400  # the traceback would add nothing
            return Ending(None, is_orderly=False, ready_seconds=0.0)
        finally:
            self._theirs.close()
        try:
            return await self._attend(on_event)
        finally:
            self._ours.close()

    def order(self, order: Order, patience: float | None = None) -> None:
        """Send *order*, and kill the process after *patience* seconds; None never kills it."""
        self._send(order)
        if self._killing is not None:
            self._killing.cancel()
        if patience is not None:
            why = f"has not ended within {patience:.0f} s"
            self._killing = asyncio.get_running_loop().call_later(patience, self._kill, why)

    async def _start(self) -> None:
        fd = self._theirs.fileno()
        self._process = await asyncio.create_subprocess_exec(
            *self._command(fd, self._slot), pass_fds=[fd]
        )
        self.pid = self._process.pid

    async def _attend(self, on_event: Callable[[Event, str], None]) -> Ending:
        assert self._process is not None
        listening = asyncio.create_task(self._listen(on_event))
        code = await self._process.wait()
        for timer in (self._killing, self._asking):
            if timer is not None:
                timer.cancel()
        ready_seconds = 0.0 if self._ready_at is None else clock.monotonic() - self._ready_at
        await asyncio.wait([listening], timeout=LAST_EVENTS)
        if not listening.done():
            listening.cancel()
        elif error := listening.exception():
            raise error
        is_orderly = self._is_finished and code == 0
        return Ending(code, is_orderly=is_orderly, ready_seconds=ready_seconds)

    async def _listen(self, on_event: Callable[[Event, str], None]) -> None:
        loop = asyncio.get_running_loop()
        unread = b""
        with suppress(ConnectionError):  # it ended before it had read all orders
            while received := await loop.sock_recv(self._ours, 65536):
                *lines, unread = (unread + received).split(b"\n")
                for line in lines:
                    message = cast("dict[str, str]", json.loads(line))
                    event, detail = cast("Event", message["event"]), message["detail"]
                    self._note(event, detail)
                    on_event(event, detail)

    def _note(self, event: Event, detail: str) -> None:
        if event == "ready":
            self._ready_at = clock.monotonic()
            self._reported = WorkerState.READY
            self._ask()
        elif event == "turns":
            self._unanswered, self._blocker = 0, ""
        elif event == "blocked":
            self._blocker = detail
        elif event == "state":
            self._reported = WorkerState(detail)
        elif event == "finished":
            self._is_finished = True

    def _ask(self) -> None:
        """Ask whether its event loop turns, and kill it if there has been no answer for long."""
        silence = self._silence
        if silence >= self._stuck_after:
            blocker = self._blocker or "code that lets no thread run, or a stopped process"
            self._kill(f"has not turned its event loop for {silence:.0f} s (blocked by {blocker})")
            return
        self._unanswered += 1
        self._send(QUESTION)
        self._asking = asyncio.get_running_loop().call_later(ASK, self._ask)

    def _send(self, line: str) -> None:
        with suppress(OSError):  # it has just ended, or reads no more
            self._ours.send(f"{line}\n".encode())

    def _kill(self, why: str) -> None:
        if self._process is not None and self._process.returncode is None:
            logger.error("%s %s and is killed; its jobs will be run again", self, why)
            with suppress(ProcessLookupError):
                self._process.kill()
