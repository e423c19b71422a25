"""The part of `Queue` that declares lifespans, and overrides them and dependencies in tests."""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from aiostreamq.client.queue_client import QueueClient

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from aiostreamq.model.functions.lifespan import Lifespan

S = TypeVar("S")


class ResourceQueue(QueueClient):
    """A queue whose jobs use lifespans and dependencies."""

    @overload
    def lifespan(self, function: Callable[[], AsyncIterator[S]], /) -> "Lifespan[S]": ...
    @overload
    def lifespan(
        self, function: "Callable[[], AbstractAsyncContextManager[S]]", /
    ) -> "Lifespan[S]": ...
    def lifespan(self, function: Callable[[], object], /) -> "Lifespan[Any]":
        """Register what workers open before their first job and close after their last one.

        To be used as a decorator. Each worker process enters it once, and so does each process of
        `executor="process"`. Several are entered in the order of their declaration, and left in
        reverse. The value that it yields is `Context.state`.

        Args:
            function: An `async def` without parameters that yields once, or a function that
                returns an asynchronous context manager.

        Returns:
            The lifespan, which can be called to open the same by hand.

        Raises:
            UsageError: The function has parameters, does not yield, or a worker runs already.
        """
        from aiostreamq.model.functions.lifespan import Lifespan

        found: Lifespan[Any] = Lifespan(function)
        if any(task.spec.pool == "process" for task in self.tasks.values()):
            found.place()
        self._core.resources.declare(found)
        return found

    def override(
        self, dependency: Callable[..., object], replacement: Callable[..., object]
    ) -> "AbstractContextManager[None]":
        """Return a context in which workers of this process call another function, for tests.

        Args:
            dependency: A dependency of tasks of this queue, or a lifespan.
            replacement: The function in its place. It may have dependencies of its own. In the
                place of a lifespan, it must be able to be one, and workers that start within
                enter it.

        Raises:
            UsageError: *replacement* cannot stand there, or *dependency* is the function of a
                lifespan: the override is of the `Lifespan` that the decorator returned.

        It holds for runs that begin in the context, except those in processes, which fail
        if a dependency of theirs is overridden.
        """
        resources = self._core.resources
        resources.check_overridden(dependency)
        signatures = [task.spec.signature for task in self.tasks.values()]
        known = [one for one in signatures if one is not None and one.plan is not None]
        return resources.overrides.put(dependency, replacement, known)
