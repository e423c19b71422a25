"""What ties a worker process to its supervisor, seen from the worker.

A socket between the two. The supervisor sends orders, one a line; the worker
sends events, one JSON object a line. Whoever dies closes its side, however it
died, and the other knows.

Orders do not travel as signals: a terminal or a service manager may send a signal
to all processes at once, and the same one twice would mean to leave at once.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, cast

from aiostreamq.logs import get_logger
from aiostreamq.signals import in_children

if TYPE_CHECKING:
    from types import FrameType

logger = get_logger("aiostreamq.cli")

# To retire is to drain without a limit of time: nobody waits for the process to end.
Order = Literal["retire", "drain", "leave"]
Event = Literal["ready", "state", "replace", "over", "turns", "blocked"]

# No order but a question: whether the event loop turns. The loop itself answers that it
# does. Where the last question still waits for that, a thread answers what blocks it.
QUESTION = "turns?"

# Seconds beyond the shutdown timeout that a draining process may take for what
# comes then: cancelled jobs clean up, the last outcomes go to Redis. Each of
# these steps is bounded, to less than this together.
GRACE = 40.0


class SupervisorLink:
    """The worker's end. From now on a signal means to drain, as the supervisor's end does."""

    def __init__(self, fd: int, patience: float) -> None:
        """Take over the socket *fd*; *patience* is how many seconds draining may take."""
        os.set_inheritable(fd, False)  # processes that tasks start have no part in it
        self._socket = socket.socket(fileno=fd)
        in_children(lambda: os.close(self._socket.detach()))
        self._patience = patience
        self._is_draining = False  # ordered before there was anybody to obey
        self._obey: Callable[[Order], None] = self._note
        self._telling = threading.Lock()  # the loop and the thread below both tell
        self._loop: asyncio.AbstractEventLoop | None = None  # None until there is one
        self._is_asked = False  # the loop, and it has not answered yet
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, self._on_signal)
        # A thread, because it must see the supervisor's end also while modules are
        # imported or a job blocks the event loop.
        threading.Thread(target=self._listen, name="aiostreamq:lifeline", daemon=True).start()

    def tell(self, event: Event, told: str = "") -> None:
        """Tell the supervisor; nothing happens where it is gone."""
        line = json.dumps({"event": event, "told": told}) + "\n"
        with self._telling, suppress(OSError):
            self._socket.sendall(line.encode())

    def bind(self, obey: Callable[[Order], None]) -> None:
        """Have orders obeyed in the running loop, with those that have come already."""
        self._loop = loop = asyncio.get_running_loop()

        def pass_on(order: Order) -> None:
            with suppress(RuntimeError):  # the loop is closed: the process is about to end
                loop.call_soon_threadsafe(obey, order)

        self._obey = pass_on
        # What came before was noted before, or is noticed twice, which does no harm.
        if self._is_draining:
            obey("drain")

    def _on_signal(self, _number: int, _frame: "FrameType | None") -> None:
        self._obey("drain")

    def _note(self, _: Order) -> None:
        self._is_draining = True

    def _ask_loop(self) -> None:
        if self._loop is None:
            return
        if self._is_asked:
            running = asyncio.current_task(self._loop)
            self.tell("blocked", "a callback" if running is None else running.get_name())
            return
        self._is_asked = True
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._answer)

    def _answer(self) -> None:
        self._is_asked = False
        self.tell("turns")

    def _listen(self) -> None:
        with suppress(OSError), self._socket.makefile() as orders:
            for line in orders:
                if line.strip() == QUESTION:
                    self._ask_loop()
                else:
                    self._obey(cast("Order", line.strip()))
        logger.warning("the supervisor is gone: draining")
        self._obey("drain")
        # Nobody is left who would end a process that does not drain.
        time.sleep(self._patience)
        logger.error("not drained within %.0f s: leaving", self._patience)
        logging.shutdown()
        os._exit(1)
