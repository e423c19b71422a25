"""`Type=notify`: telling systemd how the worker is, as sd_notify(3) describes.

Whoever starts the process names a datagram socket in `$NOTIFY_SOCKET`, and asks with
`$WATCHDOG_USEC` for a sign of life. The signs come from the event loop that runs
the jobs, so a loop that is blocked for good falls silent, and systemd restarts it.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Self

from aiostreamq.logs import get_logger
from aiostreamq.model.worker_state import HasState, WorkerState

logger = get_logger("aiostreamq.cli")

# Seconds between two looks at the worker's state.
LOOK = 0.25

_STATUS = {
    WorkerState.STARTING: "starting",
    WorkerState.READY: "takes jobs",
    WorkerState.CUT_OFF: "cut off: Redis has not answered for a whole lease",
    WorkerState.STUCK: "stuck: no thread for `def` tasks is left",
    WorkerState.BLOCKED: "blocked: a task has stopped the event loop for a whole lease",
    WorkerState.DRAINING: "draining: takes no more jobs",
    WorkerState.STOPPED: "stopped",
}


@asynccontextmanager
async def notify_systemd(worker: HasState) -> AsyncGenerator[None]:
    """Tell systemd how *worker* is while the block runs; without systemd do nothing.

    Sends `READY=1` when it first takes jobs, `STOPPING=1` when it drains or the
    block ends, `STATUS=` with each change, and `WATCHDOG=1` at twice the rate that
    is asked for.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        yield
        return
    with Notifier(address) as notifier:
        telling = [asyncio.create_task(_tell_changes(notifier, worker))]
        every = watchdog_seconds()
        if every is not None:
            telling.append(asyncio.create_task(_show_life(notifier, every / 2)))
        try:
            yield
        finally:
            for task in telling:
                task.cancel()
            notifier.tell_state(WorkerState.DRAINING)
            await asyncio.wait(telling)


class Notifier:
    """The socket, and what has been said on it."""

    def __init__(self, address: str) -> None:
        # An "@" stands for the zero byte that abstract names start with.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._is_broken = False
        self._told: WorkerState | None = None
        self._has_been_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def tell_state(self, state: WorkerState) -> None:
        """Tell a state that is new; told again next time where it does not get through."""
        if state is self._told:
            return
        lines = [f"STATUS={_STATUS[state]}"]
        if state is WorkerState.READY and not self._has_been_ready:
            lines.append("READY=1")
        if state is WorkerState.DRAINING:
            lines.append("STOPPING=1")
        if self.send("\n".join(lines)):
            self._told = state
            self._has_been_ready = self._has_been_ready or state is WorkerState.READY

    def send(self, message: str) -> bool:
        """Send one message; False where it could not be sent now."""
        try:
            self._socket.sendto(message.encode(), self._address)
        except BlockingIOError:
            return False  # systemd is busy, and will be told next time
        except OSError as error:
            if not self._is_broken:
                self._is_broken = True
                logger.warning("cannot tell systemd how the worker is, trying on: %s", error)
            return False
        self._is_broken = False
        return True


def watchdog_seconds() -> float | None:
    """Seconds within which systemd wants a sign of life of this process, or None."""
    told = os.environ.get("WATCHDOG_USEC", "")
    meant = os.environ.get("WATCHDOG_PID", "") or str(os.getpid())
    if not told.isdecimal() or not int(told) or meant != str(os.getpid()):
        return None
    return int(told) / 1_000_000


async def _tell_changes(notifier: Notifier, worker: HasState) -> None:
    while True:
        notifier.tell_state(worker.state)
        await asyncio.sleep(LOOK)


async def _show_life(notifier: Notifier, every: float) -> None:
    while True:
        notifier.send("WATCHDOG=1")
        await asyncio.sleep(every)
