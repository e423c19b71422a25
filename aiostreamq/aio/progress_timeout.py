"""A timeout that is put off while there is progress."""

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

# Seconds between two looks for progress, once the time is up.
LOOK_AGAIN = 1.0


class Patience:
    """Cancels a block of code after some seconds, as `asyncio.timeout`, but not while it gets on.

    Raises:
        TimeoutError: The time was up, and there was no progress at two looks in a row.
    """

    __slots__ = (
        "_before",
        "_gets_on",
        "_handle",
        "_has_got_on",
        "_is_over",
        "_loop",
        "_seconds",
        "_task",
    )

    def __init__(self, seconds: float, gets_on: "Callable[[], bool]") -> None:
        """Prepare.

        Args:
            seconds: How long the block may take. If it is 0 or less, its first wait is cancelled.
            gets_on: Called when the time is up; returns whether to wait longer.
        """
        self._seconds = seconds
        self._gets_on = gets_on
        self._is_over = False
        self._has_got_on = False  # at the last look

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task: asyncio.Task[object] = task
        self._before = task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_later(self._seconds, self._expire)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        self._handle.cancel()
        # If the task was cancelled from outside as well, that counts.
        if (
            self._is_over
            and self._task.uncancel() <= self._before
            and isinstance(error, asyncio.CancelledError)
        ):
            raise TimeoutError from error

    def _expire(self) -> None:
        # Once more after the last progress: what was sent by then has yet to be answered.
        gets_on = self._gets_on()
        if gets_on or self._has_got_on:
            self._has_got_on = gets_on
            self._handle = self._loop.call_later(LOOK_AGAIN, self._expire)
        else:
            self._is_over = True
            self._task.cancel()
