"""`QueueTestCase`: an isolated queue for tests of the standard library's `unittest`."""

from typing import TYPE_CHECKING
from unittest import IsolatedAsyncioTestCase

from aiostreamq.errors import UsageError
from aiostreamq.queue import Queue
from aiostreamq.testing.isolated_queue import IsolatedQueue, isolated

if TYPE_CHECKING:
    from datetime import datetime

    from aiostreamq.testing.clock import Clock


class QueueTestCase(IsolatedAsyncioTestCase):
    """A test case whose `queue` is isolated on an empty Redis in memory for each test.

    Set `queue` in your class. In each test, `self.isolated` is the isolated queue. If you write an
    `asyncSetUp`, call this one first with `await super().asyncSetUp()`.
    """

    queue: Queue  #: the application's queue
    url = "memory://"  #: the Redis to use
    isolated: IsolatedQueue  #: the isolated queue of this test

    async def asyncSetUp(self) -> None:  # unittest's name
        """Isolate the queue.

        Raises:
            UsageError: The class has no `queue`.
        """
        queue: object = getattr(type(self), "queue", None)
        if not isinstance(queue, Queue):
            raise UsageError(f"{type(self).__name__} has no queue: write `queue = app.queue` in it")
        self.isolated = await self.enterAsyncContext(isolated(queue, self.url))

    def stop_clock(self, start: "datetime | None" = None, *, frozen: bool = False) -> "Clock":
        """Stop the time for this test; see `IsolatedQueue.stop_clock`."""
        return self.isolated.stop_clock(start, frozen=frozen)
