"""The current session of a queue: one at a time, for one event loop, while it has users.

Rules of this file:

- Users are counted. Each `open` or `async with` is one until its `aclose`. A first use without
  either is one more. A worker is one while it runs, and only its own end removes it. The
  session ends with its last user.
- A session is replaced before it ends: a use that comes during its end gets a new one.
- A session never outlives its event loop. If the loop ends properly, the session ends with it;
  if the loop was abandoned, the next use notices. Neither counts as a close: a `memory://`
  without a name keeps its jobs. The users of the old loop do not count in the next one.

Separate from the session itself, so that importing aiostreamq does not import asyncio.
"""

from typing import TYPE_CHECKING

from aiostreamq.errors import QueueUnavailable, UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiostreamq.client.sessions.lifetime import SessionLifetime
    from aiostreamq.client.sessions.session import Session
    from aiostreamq.client.sessions.shared_connector import SharedConnector
    from aiostreamq.store.connection.connector import Connector
    from aiostreamq.store.connection.server import Server


class SessionManager:
    """The sessions of a queue, one after the other."""

    def __init__(
        self,
        name: str,
        connector: "SharedConnector",
        make: "Callable[[Connector], SessionLifetime]",
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            name: The queue's name, for errors.
            connector: The connector of the queue.
            make: Creates a session for the running event loop, with its lifetime.
        """
        self._name = name
        self.connector = connector
        self._make = make
        self._current: Session | None = None  # the session of the lifetime below
        self._lifetime: SessionLifetime | None = None
        self._ending: set[SessionLifetime] = set()
        self._was_closed = False  # and not used since

    def current(self) -> "Session":
        """Return the session of the running event loop, and create it if there is none.

        Raises:
            UsageError: The queue is open in another event loop that is running.
        """
        session = self._current
        if session is not None and session.is_here():
            return session
        lifetime = self._begin()
        lifetime.is_used_unopened = True
        return lifetime.session

    def current_for_job(self) -> "Session":
        """Return the same for the handle of a job, which does not reopen a closed queue.

        Raises:
            UsageError: As `current`.
            QueueUnavailable: The queue was closed and not opened again.
        """
        if self._current is None and self._was_closed:
            raise QueueUnavailable(
                f"queue {self._name!r} was closed: open it again before you use its jobs"
            )
        return self.current()

    async def open(self) -> "Server":
        """Connect, as one more user. The user does not count if this fails or is cancelled.

        Raises:
            As `QueueClient.open`.
        """
        lifetime = self._here() or self._begin()
        lifetime.opened += 1
        try:
            return await lifetime.session.open()
        except BaseException:
            lifetime.end_use()
            await self._end_if_unused(lifetime)
            raise

    async def close(self) -> None:
        """Remove one user; end the session if it was the last.

        Raises:
            UsageError: The queue is open in another event loop that is running.
        """
        lifetime = self._here()
        if lifetime is None:
            for ending in [one for one in self._ending if one.session.is_here()]:
                await ending.wait_ended()
            return
        lifetime.end_use()
        await self._end_if_unused(lifetime)

    async def close_for_all(self) -> None:
        """End the session even if it has users, because the program ends."""
        lifetime = self._here()
        if lifetime is not None:
            lifetime.opened = lifetime.workers = 0
            lifetime.is_used_unopened = False
            await self._end_if_unused(lifetime)

    async def hold(self) -> "tuple[SessionLifetime, Server]":
        """Connect, as a worker: the session stays open until `release`.

        Raises:
            As `open`.
        """
        self.current()
        lifetime = self._here() or self._begin()
        lifetime.workers += 1
        try:
            return lifetime, await lifetime.session.open()
        except BaseException:
            await self.release(lifetime)
            raise

    async def release(self, lifetime: "SessionLifetime") -> None:
        """Remove a worker; end the session if it was the last user. Cancelling closes at once."""
        lifetime.workers -= 1
        await self._end_if_unused(lifetime)

    @property
    def worker_loop(self) -> "asyncio.AbstractEventLoop | None":
        """The event loop of a worker on this queue, if it is running, in any thread."""
        lifetime = self._lifetime
        if lifetime is None or not lifetime.workers or not lifetime.is_loop_running:
            return None
        return lifetime.session.loop

    def is_open_in(self, loop: "asyncio.AbstractEventLoop") -> bool:
        """Return whether the queue is open in *loop*."""
        session = self._current
        return session is not None and session.loop is loop

    @property
    def loop(self) -> "asyncio.AbstractEventLoop | None":
        """The event loop of the present session, or None if there is none."""
        return None if self._current is None else self._current.loop

    def abandon(self) -> None:
        """Drop the present session from outside its event loop, although it has users."""
        lifetime = self._lifetime
        if lifetime is not None:
            self._forget(lifetime)
            lifetime.abandon()
        self.connector.release(self)

    def replace_connect(self, connect: "Callable[[], Connector]") -> "Callable[[], Connector]":
        """Create the connectors of the next sessions with *connect*; return what did before.

        Sessions of event loops that have ended are abandoned.

        Raises:
            UsageError: The queue is open.
        """
        lifetime = self._lifetime
        if lifetime is not None and lifetime.has_users and not lifetime.session.loop.is_closed():
            raise UsageError(f"queue {self._name!r} is open: close it before it gets another Redis")
        self.abandon()
        return self.connector.replace_connect(connect)

    def note_use(self) -> None:
        """Note that the queue is used again, or will be."""
        self._was_closed = False

    def _here(self) -> "SessionLifetime | None":
        """Return the lifetime in the running event loop, or None; abandon that of an ended loop.

        Raises:
            UsageError: There is one in another event loop that is running.
        """
        lifetime = self._lifetime
        if lifetime is None or lifetime.session.is_here():
            return lifetime
        if lifetime.is_loop_running:
            raise UsageError(
                f"queue {self._name!r} is open in another event loop, which is running: use it "
                f"there, or call queue.sync.enqueue(task, ...) from other threads, or make a queue "
                f"for each loop"
            )
        self._forget(lifetime)
        lifetime.abandon()
        return None

    def _begin(self) -> "SessionLifetime":
        from aiostreamq.signals_and_forks import no_fork

        self._here()
        # A child that another thread forks while this imports modules could never import them.
        with no_fork():
            lifetime = self._make(self.connector.take(self))
        if (first := self._here()) is not None:
            return first  # another thread was faster, and its event loop has ended since
        self._lifetime, self._current = lifetime, lifetime.session
        self._was_closed = False
        lifetime.end_with_loop(lambda: self._forget(lifetime))
        return lifetime

    def _forget(self, lifetime: "SessionLifetime") -> None:
        if lifetime is self._lifetime:
            self._lifetime = self._current = None

    async def _end_if_unused(self, lifetime: "SessionLifetime") -> None:
        if lifetime.has_users or lifetime is not self._lifetime:
            return
        self._forget(lifetime)
        self.connector.release(self)
        self._was_closed = True
        self._ending.add(lifetime)
        try:
            await lifetime.end()
        finally:
            self._ending.discard(lifetime)
