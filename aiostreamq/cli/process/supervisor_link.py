"""The link between a worker process and its supervisor, at the worker's end.

A socket between the two. The supervisor sends orders, one a line; the worker sends events, one
JSON object a line. A process that dies closes its end, however it died, and the other notices.

Orders do not travel as signals: a terminal or a service manager may send a signal to all
processes at once, and a second one means to abort.
"""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, cast

from aiostreamq.aio.own_tasks import running_name
from aiostreamq.cli.logs import exit_at_once
from aiostreamq.logs import get_logger
from aiostreamq.signals_and_forks import in_children

if TYPE_CHECKING:
    from types import FrameType

logger = get_logger("aiostreamq.cli")

# Named after the methods of Worker. Only "drain" has no time limit: nothing waits for the
# process to end, as its replacement is at work.
Order = Literal["drain", "stop", "abort"]
Event = Literal["ready", "state", "replace", "finished", "turns", "blocked"]

# Asks whether the event loop turns. The loop itself answers "turns". If it has not answered the
# last question yet, a thread answers "blocked", and by what.
QUESTION = "turns?"

# Seconds beyond the shutdown timeout that a draining process may take for the steps after it:
# cancelled jobs clean up, the last outcomes go to Redis, lifespans are left. The limits of these
# steps together are less than this.
GRACE = 60.0


class SupervisorLink:
    """The worker's end. While it is open, a signal drains, as does the end of the supervisor."""

    def __init__(self, fd: int, patience: float) -> None:
        """Take over the socket *fd*; *patience* is how many seconds draining may take."""
        os.set_inheritable(fd, False)  # child processes of tasks must not keep it open
        self._socket = socket.socket(fileno=fd)
        in_children(lambda: os.close(self._socket.detach()))
        self._patience = patience
        self._must_stop = False  # an order came before `bind`
        self._obey: Callable[[Order], None] = self._note
        self._sending = threading.Lock()  # the loop and the thread below both send
        self._loop: asyncio.AbstractEventLoop | None = None  # None until `bind`
        self._is_asked = False  # the loop, and it has not answered yet
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        # A thread, so that the end of the supervisor is noticed while modules are imported or
        # a job blocks the event loop.
        threading.Thread(
            target=self._listen, name="aiostreamq:supervisor-link", daemon=True
        ).start()

    def send(self, event: Event, detail: str = "") -> None:
        """Send an event to the supervisor. Do nothing if it is gone."""
        line = json.dumps({"event": event, "detail": detail}) + "\n"
        with self._sending, suppress(OSError):
            self._socket.sendall(line.encode())

    def bind(self, obey: Callable[[Order], None]) -> None:
        """Call *obey* in the running loop for each order, those that came earlier included."""
        self._loop = loop = asyncio.get_running_loop()

        def obey_in_loop(order: Order) -> None:
            with suppress(RuntimeError):  # the loop is closed: the process is about to end
                loop.call_soon_threadsafe(obey, order)

        self._obey = obey_in_loop
        # An order that comes right now may be obeyed twice, which is harmless.
        if self._must_stop:
            obey("stop")

    def _on_signal(self, _number: int, _frame: "FrameType | None") -> None:
        self._obey("stop")

    def _note(self, _: Order) -> None:
        self._must_stop = True

    def _ask_loop(self) -> None:
        if self._loop is None:
            return
        if self._is_asked:
            self.send("blocked", running_name(self._loop))
            return
        self._is_asked = True
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._is_asked = False
        self.send("turns")

    def _listen(self) -> None:
        with suppress(OSError), self._socket.makefile() as orders:
            for line in orders:
                if line.strip() == QUESTION:
                    self._ask_loop()
                else:
                    self._obey(cast("Order", line.strip()))
        logger.warning("the supervisor is gone: draining")
        self._obey("stop")
        # The supervisor would have ended a process that does not drain.
        time.sleep(self._patience)
        logger.error("not drained within %.0f s: exiting", self._patience)
        exit_at_once(1)
