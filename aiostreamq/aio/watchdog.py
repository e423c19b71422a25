"""Finding out from another thread whether an event loop still turns."""

import asyncio
import sys
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.aio.own_tasks import running_name

if TYPE_CHECKING:
    from collections.abc import Callable


class LoopWatchdog:
    """Asks an event loop for a sign of life, one question at a time.

    Make it in the thread of that loop. All methods may be called from any thread.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, answered: "Callable[[], None] | None" = None
    ) -> None:
        """Prepare to watch.

        Args:
            loop: The event loop to watch.
            answered: Called in that loop each time it answers.
        """
        self._loop = loop
        self._thread = threading.get_ident()
        self._answered = answered
        self._asked_at: float | None = None  # when the question was asked that has no answer yet

    def ask(self) -> bool:
        """Ask whether the loop turns; return False if the last question has no answer yet.

        A loop that is closed never answers.
        """
        if self._asked_at is not None:
            return False
        self._asked_at = clock.monotonic()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._answer)
        return True

    def blocked_for(self) -> float:
        """Return for how many seconds a question has had no answer."""
        asked_at = self._asked_at
        return 0.0 if asked_at is None else clock.monotonic() - asked_at

    def running_task(self) -> str:
        """Return the name of the asyncio task that runs in the loop now, or "a callback"."""
        return running_name(self._loop)

    def stack(self) -> str:
        """Return where the thread of the loop is now, as a traceback shows it."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented, and the only way
        return "(no stack)\n" if frame is None else "".join(traceback.format_stack(frame))

    def _answer(self) -> None:
        self._asked_at = None
        if self._answered is not None:
            self._answered()
