"""How long a session is open: who uses it, and how it ends.

Apart from the rest of the session, which knows jobs and nothing of this.
"""

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from aiostreamq.client.sessions.session import Session

# What belongs to the process that this one was forked from. It is kept for ever, because asyncio
# would tidy up behind it in what both processes share.
_inherited: "list[SessionLifetime]" = []


class SessionLifetime:
    """The time of one session, in one event loop of one process."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.opened = 0  #: how often it was opened, less how often it was closed
        self.workers = 0  #: how many run on it
        self.is_used_unopened = False  #: whether its first use was one without `open`
        self._process = os.getpid()
        self._ended = asyncio.Event()
        self._watch: AsyncGenerator[None, None] | None = None  # until the event loop ends

    @property
    def has_users(self) -> bool:
        """Whether anybody is left."""
        return self.opened > 0 or self.workers > 0 or self.is_used_unopened

    def end_use(self) -> None:
        """Somebody closes the queue: who opened it, or else who used it without."""
        if self.opened > 0:
            self.opened -= 1
        else:
            self.is_used_unopened = False

    @property
    def is_loop_running(self) -> bool:
        """Whether the event loop runs, in whatever thread of this process."""
        return self._process == os.getpid() and self.session.loop.is_running()

    def end_with_loop(self, then: "Callable[[], None]") -> None:
        """End when the event loop does, if `asyncio.run` or the like ends it; call *then* too."""

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
        """Wait for `end`, which somebody else has called. Cancelling is safe."""
        await self._ended.wait()

    def abandon(self) -> None:
        """Let go of the connections from outside of their event loop, which does not run."""
        if self._process != os.getpid():
            _inherited.append(self)
        elif not self.session.loop.is_closed():
            # It only rests: whoever waits there is told when it goes on.
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
    """Call *then* when this is closed: an event loop closes its generators before it ends."""
    try:
        yield
    finally:
        then()
