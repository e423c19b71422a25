"""`Resources`: the lifespans of a queue, and the workers of this process that share them."""

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

from aiostreamq.aio.own_tasks import spawn
from aiostreamq.client.resources.overrides import Overrides
from aiostreamq.client.resources.worker_scope import WorkerScope
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aiostreamq.aio.own_tasks import OwnTask
    from aiostreamq.model.functions.lifespan import Lifespan


class Resources:
    """The things that jobs of one queue object use besides their arguments.

    All workers of the queue object in one event loop share one entry of its lifespans: the first
    one enters them, and the last one leaves them.
    """

    def __init__(self, queue: str) -> None:
        self.queue = queue  #: its name
        self.lifespans: list[Lifespan[object]] = []  #: in the order of their declaration
        self.scope: WorkerScope | None = None  #: while workers use it
        self.overrides = Overrides()  #: of dependencies and lifespans, for tests
        self._loop: asyncio.AbstractEventLoop | None = None  # that of the scope
        self._members: list[Callable[[], None]] = []  # each stops a worker
        self._opening: OwnTask[None] | None = None

    def declare(self, lifespan: "Lifespan[object]") -> None:
        """Add a lifespan.

        Raises:
            UsageError: A worker of the queue runs already.
        """
        if self.has_workers:
            raise UsageError(
                f"lifespan {lifespan.name!r}: a worker of queue {self.queue!r} runs already: "
                f"declare it before the worker starts"
            )
        self.lifespans.append(lifespan)

    @property
    def has_workers(self) -> bool:
        """Whether workers of the queue object run in this event loop."""
        return bool(self._members) and self._is_current()

    def check_overridden(self, dependency: "Callable[..., object]") -> None:
        """Refuse an override that would change nothing.

        Raises:
            UsageError: It is the function of a lifespan, which workers know as a `Lifespan`.
        """
        for lifespan in self.lifespans:
            if lifespan.function is dependency:
                raise UsageError(
                    f"queue.override was given the function of the lifespan {lifespan.name!r}: "
                    f"give it the Lifespan that queue.lifespan(...) returned"
                )

    def places(self) -> list[tuple[str, str]]:
        """Return the place of each lifespan, by which a process finds it."""
        return [lifespan.place() for lifespan in self.lifespans]

    def named(self, places: "Iterable[Sequence[str]]") -> "list[Lifespan[object]]":
        """Return the lifespans at *places*, in this order. Imports their modules.

        Raises:
            UsageError: There is none at one of them.
            ImportError: A module cannot be imported.
        """
        for module, _ in places:
            import_module(module)
        known = {lifespan.place(): lifespan for lifespan in self.lifespans}
        found: list[Lifespan[object]] = []
        for module, qualname in places:
            if (module, qualname) not in known:
                raise UsageError(
                    f"queue {self.queue!r} has no lifespan {qualname!r} in module {module!r} "
                    f"when a process imports it: declare it at the top of the module"
                )
            found.append(known[module, qualname])
        return found

    async def open_scope(self, lifespans: "Sequence[Lifespan[object]]") -> WorkerScope:
        """Enter *lifespans* outside of a worker, and return what is open.

        Raises:
            LifespanFailed: One could not be entered. The others are left.
        """
        scope = WorkerScope(self.queue, lambda: None)
        try:
            await scope.open((one, self.overrides.of_lifespan(one)) for one in lifespans)
        except BaseException:
            await scope.aclose()
            raise
        return scope

    async def join(self, stopped: asyncio.Event, stop: "Callable[[], None]") -> WorkerScope | None:
        """Enter the lifespans for a worker, unless another worker has; return what is open.

        Args:
            stopped: Set if the worker need not start any more: then this returns None.
            stop: Stops the worker if a lifespan ends by itself.

        Raises:
            LifespanFailed: A lifespan could not be entered.

        Each worker that has joined must `leave`. Cancelling leaves what was entered.
        """
        if not self._is_current():
            self.scope, self._members, self._loop = None, [], asyncio.get_running_loop()
        if self.scope is None:
            self.scope = WorkerScope(self.queue, self._stop_members)
            self._opening = None
            if self.lifespans:
                pairs = [(one, self.overrides.of_lifespan(one)) for one in self.lifespans]
                self._opening = spawn(self.scope.open(pairs), "aiostreamq:lifespans")
        scope, opening = self.scope, self._opening
        self._members.append(stop)
        try:
            if opening is not None and not await _is_done(opening, stopped):
                await self.leave(stop)
                return None
        except BaseException:
            await self.leave(stop)
            raise
        return scope

    async def leave(self, stop: "Callable[[], None]", *, at_once: bool = False) -> None:
        """End the use of the worker whose *stop* was given; the last one leaves the lifespans.

        Args:
            stop: The same as in `join`.
            at_once: Cancel them, and wait for nothing.

        Cancelling cancels the leaving of the lifespans too.
        """
        self._members.remove(stop)
        if self._members or self.scope is None:
            return
        scope, opening = self.scope, self._opening
        self.scope = self._opening = None  # a worker that starts now enters them again
        if opening is not None and not opening.done():
            opening.end()
            await asyncio.wait({opening})  # bounded, as a context is abandoned in the end
        if at_once:
            scope.abort()
        await scope.aclose()

    def _is_current(self) -> bool:
        """Whether the members belong to the running event loop."""
        try:
            return self._loop is asyncio.get_running_loop()
        except RuntimeError:
            return False

    def _stop_members(self) -> None:
        for stop in list(self._members):
            stop()


async def _is_done(opening: "OwnTask[None]", stopped: asyncio.Event) -> bool:
    """Wait until *opening* is done, and return True; or return False if *stopped* comes first."""
    stopping = spawn(stopped.wait())
    try:
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.end()
    if not opening.done():
        return False
    opening.result()
    return True
