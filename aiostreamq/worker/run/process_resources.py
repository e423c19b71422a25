"""The event loop of a task process, and the lifespans that are open in it.

A `def` runs in the main thread, as in a program of its own. The loop turns in a second thread, so
that background tasks of a lifespan run while a job runs. It is started when it is first needed.
"""

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiostreamq.errors import UsageError
from aiostreamq.worker.run.threads import ThreadRunner

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Coroutine, Generator, Sequence

    from aiostreamq.aio.held_context import HeldContext
    from aiostreamq.client.resources.resources import Resources
    from aiostreamq.client.resources.worker_scope import WorkerScope
    from aiostreamq.model.functions.dependency_plan import Plan
    from aiostreamq.model.functions.worker_parameters import Arguments, Keywords, WorkerParameters

T = TypeVar("T")

# Threads for dependencies that are not asynchronous. Only one job runs at a time.
THREADS = 2


class ProcessResources:
    """The things that jobs of one task process use besides their arguments."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = ThreadRunner(THREADS)
        self._queue = ""  # its name, once that is known
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
        if resources is not None:
            self._queue = resources.queue
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

    @contextmanager
    def provided(
        self,
        plan: "Plan",
        context: object,
        parameters: "WorkerParameters",
        args: "Arguments",
        kwargs: "Keywords",
    ) -> "Generator[tuple[Arguments, Keywords]]":
        """Provide the dependencies of one job while the context is open.

        Args:
            plan: The steps.
            context: The context of the run.
            parameters: The parameters that take the values.
            args: The positional arguments of the job.
            kwargs: The keyword arguments of the job.

        Raises:
            BaseException: Any that a dependency raises, or its clean-up after a success.
        """
        from aiostreamq.aio.held_context import HeldContext
        from aiostreamq.client.resources.worker_scope import WorkerScope
        from aiostreamq.worker.run.dependencies import RunDependencies
        from aiostreamq.worker.run.threads import raised_by_code

        async def prepare() -> "HeldContext[tuple[Arguments, Keywords]]":
            self._scope = scope = self._scope or WorkerScope(self._queue, lambda: None)
            run = RunDependencies(plan, scope, self._threads, context)
            return HeldContext(run.entered(parameters, args, kwargs), "aiostreamq:job")

        held = self.run(prepare())
        arguments = self.run(held.enter())
        try:
            yield arguments
        except BaseException as error:
            self.run(held.leave(None, error))
            raise
        self.run(held.leave(None))
        if held.failure is not None:
            raise raised_by_code(held.failure)

    def run(self, work: "Coroutine[Any, Any, T]") -> T:
        """Run *work* in the event loop of this process, and return its result."""
        import asyncio  # only here: it takes some milliseconds

        async def attempt() -> "tuple[T, None] | tuple[None, BaseException]":
            try:
                return await work, None
            except BaseException as error:  # noqa: BLE001  # some would end the loop
                return None, error

        if os.getpid() != self._process:
            os._exit(0)  # the task has forked, and this is the child: no loop turns in it
        if self._loop is None:
            self._loop = loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="aiostreamq:loop", daemon=True).start()
        value, error = asyncio.run_coroutine_threadsafe(attempt(), self._loop).result()
        if error is not None:
            from aiostreamq.worker.run.threads import raised_by_code  # likewise

            raise raised_by_code(error)
        return cast("T", value)

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
