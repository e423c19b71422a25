"""The lifetime of the workers of a queue in one process, and the lifespans that are open in it."""

import asyncio
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

from aiostreamq import clock
from aiostreamq.aio.held_context import HeldContext
from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.aio.own_thread import call_in_thread
from aiostreamq.errors import LifespanFailed, UsageError
from aiostreamq.logs import get_logger
from aiostreamq.untrusted import name_of, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from aiostreamq.model.functions.dependency_plan import Step
    from aiostreamq.model.functions.lifespan import Lifespan

T = TypeVar("T")
Made = tuple[object, BaseException | None]  # a value, or why there is none

logger = get_logger("aiostreamq.worker")

# Seconds that all contexts together may take to end. A context that takes longer is cancelled.
LEAVE_TIME = 10.0

# The most characters of an exception's text in a message of ours.
LONGEST_TEXT = 500


class WorkerScope:
    """The open contexts of one process and event loop, in the order in which they were entered."""

    def __init__(self, queue: str, lost: "Callable[[], None]") -> None:
        """Make one that holds nothing yet.

        Args:
            queue: The name of the queue, for messages.
            lost: Called when a context ends although it was not asked to.
        """
        self.states: dict[Lifespan[object], object] = {}  #: the values of the open lifespans
        self.state: object = None  #: the value for `Context.state`
        self.failure: LifespanFailed | None = None  #: the context that ended by itself
        self._queue = queue
        self._lost = lost
        # values of dependencies, while they are made and after that
        self._making: dict[object, OwnTask[Made]] = {}
        self._held: list[tuple[str, HeldContext[Any]]] = []

    async def open(self, lifespans: "Iterable[tuple[Lifespan[object], Lifespan[object]]]") -> None:
        """Enter lifespans in their order; each comes with the one to enter in its place.

        Raises:
            LifespanFailed: One of them raised. Those before it are still open.

        Cancelling cancels the one that is being entered.
        """
        for lifespan, entered in lifespans:
            what = f"lifespan {entered.name!r}"
            try:
                self.states[lifespan] = await self.hold(what, entered())
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if current is not None and current.cancelling():
                    raise
                raise self._failed(what, "was cancelled by its own code") from None
            except BaseException as error:  # whatever the user's code raises
                raise self._failed(what, _shown(error)) from error
        found = {each.name: value for each, value in self.states.items() if value is not None}
        only = next(iter(found.values()), None)
        self.state = only if len(found) < 2 else ManyStates(tuple(found))

    async def hold(self, what: str, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context, which is then open until `aclose`, and return its value.

        Args:
            what: Its kind and name, for messages.
            manager: The context manager.

        Raises:
            BaseException: Any exception that entering raises.
        """
        held = HeldContext(manager, f"aiostreamq:{what}")
        value = await held.enter()
        self._held.append((what, held))
        assert held.task is not None
        held.task.add_done_callback(lambda _: self._on_end(what, held))
        return value

    async def value_of(self, step: "Step", arguments: "Mapping[str, object]") -> object:
        """Return the value of a dependency, or of a lifespan, that all jobs share.

        Args:
            step: The step that makes it when it is first needed.
            arguments: The arguments for that.

        Raises:
            UsageError: The lifespan was not entered.
            BaseException: Any that the dependency raised. The next job tries again.

        Cancelling ends the waiting: the value is made all the same, for other jobs.
        """
        if step.style == "state":
            if step.key not in self.states:
                raise UsageError(f"lifespan {step.name!r} is not open: declare it before the tasks")
            return self.states[cast("Lifespan[object]", step.key)]
        making = self._making.get(step.key)
        if making is None:
            making = spawn(self._make(step, arguments), f"aiostreamq:dependency {step.name!r}")
            self._making[step.key] = making
        value, error = await asyncio.shield(making)
        if error is not None:
            raise error
        return value

    async def _make(self, step: "Step", arguments: "Mapping[str, object]") -> Made:
        what = f"dependency {step.name!r}"
        try:
            return await self.hold(what, made_in_worker(step, arguments)), None
        except BaseException as error:
            del self._making[step.key]
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
            return None, error  # not raised: some exceptions would end the event loop

    async def aclose(self, patience: float = LEAVE_TIME) -> None:
        """Leave all contexts, the latest first. Their exceptions are logged.

        Args:
            patience: Seconds that they may take together.

        Cancelling cancels those that are still open.
        """
        until = clock.monotonic() + patience
        for making in list(self._making.values()):
            making.end()
        try:
            while self._held:
                what, held = self._held[-1]
                has_ended = await held.leave(max(0.0, until - clock.monotonic()))
                self._held.pop()
                self._log_end(what, held, patience, has_ended=has_ended)
        finally:
            self.abort()

    def abort(self) -> None:
        """Cancel all contexts, and wait for nothing."""
        while self._held:
            self._held.pop()[1].abort()

    def _on_end(self, what: str, held: HeldContext[Any]) -> None:
        if held.is_ending or self.failure is not None:
            return
        why = "ended by itself" if held.failure is None else _shown(held.failure)
        self.failure = LifespanFailed(
            f"{what} of queue {self._queue!r} ended while the worker was running ({why}): the "
            f"worker stops, because its jobs need what it holds"
        )
        self.failure.__cause__ = held.failure
        logger.critical("%s", self.failure)
        self._lost()

    def _log_end(
        self, what: str, held: HeldContext[Any], patience: float, *, has_ended: bool
    ) -> None:
        if not has_ended:
            logger.error("%s did not end within %g s and is abandoned", what, patience)
        elif issubclass(type(held.failure), asyncio.CancelledError):  # isinstance would ask it
            logger.error("%s did not end within %g s and was cancelled", what, patience)
        elif held.failure is not None and self.failure is None:
            logger.error("%s failed at its end", what, exc_info=held.failure)

    def _failed(self, what: str, why: str) -> LifespanFailed:
        return LifespanFailed(
            f"{what} of queue {self._queue!r} failed at its start ({why}): the worker does not "
            f"start"
        )


class ManyStates:
    """Stands for the state if several lifespans have one, and says how to reach each."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __getattr__(self, name: str) -> NoReturn:
        raise UsageError(
            f"Context.state is ambiguous: the lifespans {', '.join(self._names)} all yield a "
            f"state: take each with Depends(lifespan)"
        )


@asynccontextmanager
async def made_in_worker(
    step: "Step", arguments: "Mapping[str, object]"
) -> "AsyncGenerator[object]":
    """Make the value of a step of the scope "worker", and clean up after it."""
    made: Any
    thread = f"aiostreamq:dependency {step.name!r}"
    match step.style:
        case "async_context":
            made = step.function(**arguments)
            async with made as value:
                yield value
        case "context":
            made = step.function(**arguments)
            value = await call_in_thread(made.__enter__, thread)
            try:
                yield value
            finally:
                await call_in_thread(partial(made.__exit__, None, None, None), thread)
        case "awaited":
            made = step.function(**arguments)
            yield await made
        case "threaded":
            made = await call_in_thread(partial(step.function, **arguments), thread)
            yield await made if hasattr(made, "__await__") else made
        case _:
            yield step.function(**arguments)


def _shown(error: BaseException) -> str:
    text = text_of(error, LONGEST_TEXT)
    return f"{name_of(type(error))}: {text}" if text else name_of(type(error))
