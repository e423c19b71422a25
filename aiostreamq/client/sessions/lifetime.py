"""The lifetime of a session: its users, and its end.

Separate from the session itself, which knows about jobs and not about its users.
"""

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from aiostreamq.client.sessions.session import Session

# Sessions of the process that this one was forked from. They are kept for ever: if they were
# collected, asyncio would close what both processes share.
_inherited: "list[SessionLifetime]" = []


class SessionLifetime:
    """The lifetime of one session, in one event loop of one process."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.opened = 0  #: the number of `open` calls that have no `aclose` yet
        self.workers = 0  #: the number of workers that run on it
        self.is_used_unopened = False  #: whether it was used without `open`, and not closed since
        self._process = os.getpid()
        self._ended = asyncio.Event()
        self._watch: AsyncGenerator[None, None] | None = None  # closed with the event loop

    @property
    def has_users(self) -> bool:
        """Whether it has a user left."""
        return self.opened > 0 or self.workers > 0 or self.is_used_unopened

    def end_use(self) -> None:
        """Remove one user: one that called `open`, or else the one that used it without."""
        if self.opened > 0:
            self.opened -= 1
        else:
            self.is_used_unopened = False

    @property
    def is_loop_running(self) -> bool:
        """Whether the event loop is running, in any thread of this process."""
        return self._process == os.getpid() and self.session.loop.is_running()

    def end_with_loop(self, then: "Callable[[], None]") -> None:
        """Close when `asyncio.run` or the like ends the event loop; call *then* first."""

        def end() -> None:
            self._watch = None
            then()
            self.session.close_now()

        self._watch = _until_loop_ends(end)
        with suppress(StopIteration):
            self._watch.__anext__().send(None)

    async def end(self) -> None:
        """Send what was enqueued so far, then close.

        Cancelling closes at once: the rest may or may not be enqueued.
        """
        try:
            await self.session.join()
        finally:
            try:
                self._close_now()
                await self.session.wait_closed()
            finally:
                self._ended.set()

    async def wait_ended(self) -> None:
        """Wait for an `end` that another task has called. Cancelling is safe."""
        await self._ended.wait()

    def abandon(self) -> None:
        """Drop the connections from outside their event loop, which is not running."""
        if self._process != os.getpid():
            _inherited.append(self)
        elif not self.session.loop.is_closed():
            # The loop may run again: code that waits there must get its error then.
            self.session.loop.call_soon_threadsafe(self._close_now)
            return
        self.session.abandon()

    def _close_now(self) -> None:
        self.session.close_now()
        watch, self._watch = self._watch, None
        if watch is not None:
            with suppress(StopIteration):
                watch.aclose().send(None)


async def _until_loop_ends(then: "Callable[[], object]") -> "AsyncGenerator[None, None]":
    """Call *then* when this generator is closed: an event loop closes its generators at its end."""
    try:
        yield
    finally:
        then()
