"""`Type=notify`: notifying systemd of the worker's state, as sd_notify(3) describes.

systemd names a datagram socket in `$NOTIFY_SOCKET`, and asks for signs of life with
`$WATCHDOG_USEC`. The signs come from the event loop that runs the jobs, so a loop that is
blocked for good falls silent, and systemd restarts it.
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
    WorkerState.STUCK: "stuck: all threads for `def` tasks are stuck",
    WorkerState.BLOCKED: "blocked: a task has stopped the event loop for a whole lease",
    WorkerState.DRAINING: "draining: takes no more jobs",
    WorkerState.STOPPED: "stopped",
}


@asynccontextmanager
async def notify_systemd(worker: HasState) -> AsyncGenerator[None]:
    """Notify systemd of the state of *worker* while the block runs. Without systemd do nothing.

    Sends `READY=1` when it first takes jobs, `STOPPING=1` when it drains or the block ends,
    `STATUS=` with each change, and `WATCHDOG=1` twice as often as systemd asks for.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        yield
        return
    with Notifier(address) as notifier:
        sending = [asyncio.create_task(_send_changes(notifier, worker))]
        every = watchdog_seconds()
        if every is not None:
            sending.append(asyncio.create_task(_send_signs_of_life(notifier, every / 2)))
        try:
            yield
        finally:
            for task in sending:
                task.cancel()
            notifier.send_state(WorkerState.DRAINING)
            await asyncio.wait(sending)


class Notifier:
    """The socket of systemd, and the last state that it was sent."""

    def __init__(self, address: str) -> None:
        # An "@" stands for the zero byte that abstract names start with.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._is_broken = False
        self._sent: WorkerState | None = None
        self._has_been_ready = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send_state(self, state: WorkerState) -> None:
        """Send a state that has changed. The next call sends it again if this one fails."""
        if state is self._sent:
            return
        lines = [f"STATUS={_STATUS[state]}"]
        if state is WorkerState.READY and not self._has_been_ready:
            lines.append("READY=1")
        if state is WorkerState.DRAINING:
            lines.append("STOPPING=1")
        if self.send("\n".join(lines)):
            self._sent = state
            self._has_been_ready = self._has_been_ready or state is WorkerState.READY

    def send(self, message: str) -> bool:
        """Send one message, and return whether systemd has it."""
        try:
            self._socket.sendto(message.encode(), self._address)
        except BlockingIOError:
            return False  # systemd is busy; the next call sends it
        except OSError as error:
            if not self._is_broken:
                self._is_broken = True
                logger.warning("cannot notify systemd of the worker's state, retrying: %s", error)
            return False
        self._is_broken = False
        return True


def watchdog_seconds() -> float | None:
    """Return the seconds within which systemd wants a sign of life of this process, or None."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "") or str(os.getpid())
    if not microseconds.isdecimal() or not int(microseconds) or pid != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000


async def _send_changes(notifier: Notifier, worker: HasState) -> None:
    while True:
        notifier.send_state(worker.state)
        await asyncio.sleep(LOOK)


async def _send_signs_of_life(notifier: Notifier, every: float) -> None:
    while True:
        notifier.send("WATCHDOG=1")
        await asyncio.sleep(every)
