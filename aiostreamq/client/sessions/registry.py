"""Which session a queue has: one at a time, for one event loop, while anybody uses it.

Rules of this file:

- Users are counted. Each `open` or `async with` is one until its `aclose`. A first use without
  either is one more. A worker is one while it runs, and only its own end takes that away. When
  the last user has gone, the session ends.
- A session that ends is set aside first: who comes while it ends gets another one.
- A session never outlives its event loop. If the loop ends properly, the session ends with it;
  if the loop was just left, the next use finds that out. Neither is a close: a nameless
  `memory://` keeps its jobs. The users of the old loop do not count in the next one.

Apart from the session itself, so that importing aiostreamq loads nothing that can wait.
"""

from typing import TYPE_CHECKING

from aiostreamq.errors import QueueUnavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.client.sessions.lifetime import SessionLifetime
    from aiostreamq.client.sessions.session import Session
    from aiostreamq.store.connection.connector import Connector
    from aiostreamq.store.connection.server import Server


class SessionRegistry:
    """The session of a queue, from its first use to its last."""

    def __init__(
        self,
        name: str,
        connect: "Callable[[], Connector]",
        make: "Callable[[Connector], SessionLifetime]",
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            name: Of the queue, for errors.
            connect: Makes the connector.
            make: Makes a session for the event loop that runs, and its tenure.
        """
        self._name = name
        self._connect = connect
        self._make = make
        self._connector: Connector | None = None
        self._current: Session | None = None  # of the tenure below
        self._tenure: SessionLifetime | None = None
        self._ending: set[SessionLifetime] = set()
        self._was_closed = False  # and nobody has used the queue since

    def current(self) -> "Session":
        """The session of the event loop that runs, made if there is none.

        Raises:
            UsageError: The queue is open in another event loop that runs.
        """
        session = self._current
        if session is not None and session.is_here():
            return session
        tenure = self._begin()
        tenure.is_used_unopened = True
        return tenure.session

    def current_for_job(self) -> "Session":
        """The same for the handle of a job, which does not open what was closed.

        Raises:
            UsageError: As `current`.
            QueueUnavailable: The queue was closed, and is not open again.
        """
        if self._current is None and self._was_closed:
            raise QueueUnavailable(
                f"queue {self._name!r} was closed: open it again before you use its jobs"
            )
        return self.current()

    async def open(self) -> "Server":
        """Connect, as one more user. If that fails or is cancelled, there is none more.

        Raises:
            As `QueueClient.open`.
        """
        tenure = self._here() or self._begin()
        tenure.opened += 1
        try:
            return await tenure.session.open()
        except BaseException:
            tenure.end_use()
            await self._end_if_unused(tenure)
            raise

    async def close(self) -> None:
        """Take one user away; end the session if that was the last.

        Raises:
            UsageError: The queue is open in another event loop that runs.
        """
        tenure = self._here()
        if tenure is None:
            for ending in [one for one in self._ending if one.session.is_here()]:
                await ending.wait_ended()
            return
        tenure.end_use()
        await self._end_if_unused(tenure)

    async def close_for_all(self) -> None:
        """End the session whoever uses it: the program ends."""
        tenure = self._here()
        if tenure is not None:
            tenure.opened = tenure.workers = 0
            tenure.is_used_unopened = False
            await self._end_if_unused(tenure)

    async def hold(self) -> "tuple[SessionLifetime, Server]":
        """Connect, as a worker: the session stays until `release`, whoever closes the queue.

        Raises:
            As `open`.
        """
        self.current()
        tenure = self._here() or self._begin()
        tenure.workers += 1
        try:
            return tenure, await tenure.session.open()
        except BaseException:
            await self.release(tenure)
            raise

    async def release(self, tenure: "SessionLifetime") -> None:
        """A worker has ended; the last user ends the session. Cancelling closes it at once."""
        tenure.workers -= 1
        await self._end_if_unused(tenure)

    def forget_place(self) -> None:
        """Connect anew from the next session on, and to where the queue leads then."""
        self._connector = None

    def note_use(self) -> None:
        """Somebody uses the queue again, or will."""
        self._was_closed = False

    def _here(self) -> "SessionLifetime | None":
        """The tenure in the event loop that runs, if there is one; a dead loop's is given up.

        Raises:
            UsageError: There is one in another event loop, which runs.
        """
        tenure = self._tenure
        if tenure is None or tenure.session.is_here():
            return tenure
        if tenure.is_loop_running:
            raise UsageError(
                f"queue {self._name!r} is open in another event loop, which is running: use it "
                f"there, as with asyncio.run_coroutine_threadsafe(task.enqueue(...), loop), or "
                f"make a queue for each loop"
            )
        self._forget(tenure)
        tenure.abandon()
        return None

    def _begin(self) -> "SessionLifetime":
        self._here()
        connector = self._connector or self._connect()
        tenure = self._make(connector)
        if (first := self._here()) is not None:
            return first  # another thread was quicker, and its event loop has ended since
        self._connector = connector
        self._tenure, self._current = tenure, tenure.session
        self._was_closed = False
        tenure.end_with_loop(lambda: self._forget(tenure))
        return tenure

    def _forget(self, tenure: "SessionLifetime") -> None:
        if tenure is self._tenure:
            self._tenure = self._current = None

    async def _end_if_unused(self, tenure: "SessionLifetime") -> None:
        if tenure.has_users or tenure is not self._tenure:
            return
        self._forget(tenure)
        self._connector = None
        self._was_closed = True
        self._ending.add(tenure)
        try:
            await tenure.end()
        finally:
            self._ending.discard(tenure)
