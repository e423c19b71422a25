"""The event loop of a task process, and the lifespans that are open in it.

A `def` runs in the main thread, as in a program of its own. The loop turns in a second thread, so
that background tasks of a lifespan run while a job runs. It is started when it is first needed.
"""

import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Coroutine, Sequence

    from aiostreamq.client.resources.resources import Resources
    from aiostreamq.client.resources.worker_scope import WorkerScope

T = TypeVar("T")


class ProcessResources:
    """The things that jobs of one task process use besides their arguments."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scope: WorkerScope | None = None  # once the lifespans are entered

    @property
    def state(self) -> object:
        """The value for `Context.state`."""
        return None if self._scope is None else self._scope.state

    @property
    def closing_time(self) -> float:
        """The seconds that `close` may take."""
        if self._scope is None:
            return 0.0
        from aiostreamq.client.resources.worker_scope import LEAVE_TIME

        return LEAVE_TIME

    def enter(
        self, task: str, resources: "Resources | None", places: "Sequence[Sequence[str]]"
    ) -> None:
        """Enter the lifespans of a queue, unless they are open.

        Args:
            task: The name of the task whose job comes first.
            resources: The lifespans of its queue.
            places: The modules and names of its lifespans, in their order.

        Raises:
            UsageError: A lifespan cannot be found.
            LifespanFailed: A lifespan raised. The next job tries again.
        """
        if not places or (self._scope is not None and self._scope.failure is None):
            return
        self.close()  # a lifespan has ended by itself
        if resources is None:
            raise UsageError(
                f"task {task!r}: its process finds the lifespans of the queue through the task: "
                f"decorate the function with @queue.task at its definition"
            )
        found = resources.named(places)
        self._scope = self.run(resources.open_scope(found))

    def run(self, work: "Coroutine[Any, Any, T]") -> T:
        """Run *work* in the event loop of this process, and return its result."""
        import asyncio  # only here: it takes some milliseconds

        if os.getpid() != self._process:
            os._exit(0)  # the task has forked, and this is the child: no loop turns in it
        if self._loop is None:
            self._loop = loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="aiostreamq:loop", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def wait_for(self, value: "Awaitable[T]") -> T:
        """Await *value*: in the event loop of this process if there is one, else in a new one."""
        import asyncio

        async def wait() -> T:
            return await value

        return asyncio.run(wait()) if self._loop is None else self.run(wait())

    def close(self) -> None:
        """Leave the lifespans. Their errors are logged."""
        scope, self._scope = self._scope, None
        if scope is not None:
            self.run(scope.aclose())
