"""The dependencies of one run: their values, and the clean-up that knows how the run ended."""

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from aiostreamq.logs import get_logger
from aiostreamq.model.functions.dependency_plan import CONTEXT
from aiostreamq.signals_and_forks import is_ctrl_c
from aiostreamq.untrusted import name_of
from aiostreamq.worker.run.threads import raised_by_code

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from aiostreamq.client.resources.worker_scope import WorkerScope
    from aiostreamq.model.functions.dependency_plan import Plan, Step
    from aiostreamq.model.functions.worker_parameters import Arguments, Keywords, WorkerParameters
    from aiostreamq.worker.run.threads import ThreadRunner

    Exit = Callable[[BaseException | None], Awaitable[object]]

logger = get_logger("aiostreamq.worker")


class RunDependencies:
    """The values for one run. It is entered and left in the asyncio task of the run.

    Each value is cleaned up once, the latest first. If the run failed, its exception is raised
    where the dependency yields, and stays the outcome whatever the dependency does with it. If the
    run succeeded and a clean-up fails, the run has failed, and the other clean-ups learn of that.
    """

    def __init__(
        self, plan: "Plan", scope: "WorkerScope", threads: "ThreadRunner", context: object
    ) -> None:
        """Prepare; nothing is called yet.

        Args:
            plan: The steps.
            scope: Holds the values that live as long as the worker.
            threads: Where functions run that are not asynchronous.
            context: The context of the run.
        """
        self._plan = plan
        self._scope = scope
        self._threads = threads
        self._context = context
        self._open: list[tuple[str, Exit]] = []  # what is to be cleaned up

    @asynccontextmanager
    async def entered(
        self, parameters: "WorkerParameters", args: "Arguments", kwargs: "Keywords"
    ) -> "AsyncGenerator[tuple[Arguments, Keywords]]":
        """Do both `enter` and `leave`, as a context manager."""
        arguments = await self.enter(parameters, args, kwargs)
        try:
            yield arguments
        except BaseException as error:
            await self.leave(error)
            raise
        await self.leave(None)

    async def enter(
        self, parameters: "WorkerParameters", args: "Arguments", kwargs: "Keywords"
    ) -> "tuple[Arguments, Keywords]":
        """Make the values, and return the arguments of the task with them.

        Args:
            parameters: The parameters that take them.
            args: The positional arguments of the job.
            kwargs: The keyword arguments of the job.

        Raises:
            BaseException: Any that a dependency raises. Those before it are cleaned up then.

        Cancelling cleans up, as an error.
        """
        made: list[object] = []
        try:
            for step in self._plan.steps:
                arguments = {
                    name: self._context if number == CONTEXT else made[number]
                    for name, number in step.inputs
                }
                made.append(await self._value_of(step, arguments))
        except BaseException as error:
            await self.leave(error)
            raise
        values = {name: made[number] for name, number in self._plan.targets}
        return parameters.with_values(args, kwargs, self._context, values)

    async def leave(self, error: BaseException | None) -> None:
        """Clean up.

        Args:
            error: The exception with which the run failed; None if it did not.

        Raises:
            BaseException: That of the first clean-up that failed, if the run had not.
        """
        outcome = None if error is None else raised_by_code(error)
        failure: BaseException | None = None  # of a clean-up, after a success
        while self._open:
            name, leave = self._open.pop()
            try:
                await leave(outcome)
            except BaseException as raised:
                if is_ctrl_c(raised):
                    raise
                cause = raised_by_code(raised)
                if outcome is None:
                    outcome, failure = cause, raised
                elif cause is not outcome:
                    _log_second(name, cause)
        if failure is not None:
            raise failure

    async def _value_of(self, step: "Step", arguments: "Mapping[str, object]") -> object:
        if step.scope == "worker":
            return await self._scope.value_of(step, arguments)
        made: Any
        match step.style:
            case "threaded":
                made = await self._threads.call_beside(partial(step.function, **arguments))
                return await made if hasattr(made, "__await__") else made
            case "awaited":
                made = step.function(**arguments)
                return await made
            case "async_context":
                made = step.function(**arguments)
                return await self._enter_async(step.name, made)
            case "context":
                made = step.function(**arguments)
                return await self._enter_in_thread(step.name, made)
            case _:
                return step.function(**arguments)

    async def _enter_async(
        self, name: str, manager: "AbstractAsyncContextManager[object]"
    ) -> object:
        value = await manager.__aenter__()

        async def leave(error: BaseException | None) -> None:
            kind = None if error is None else type(error)
            await manager.__aexit__(kind, error, None if error is None else error.__traceback__)

        self._open.append((name, leave))
        return value

    async def _enter_in_thread(
        self, name: str, manager: "AbstractContextManager[object]"
    ) -> object:
        def leave_now(error: BaseException | None) -> None:
            kind = None if error is None else type(error)
            manager.__exit__(kind, error, None if error is None else error.__traceback__)

        async def leave(error: BaseException | None) -> None:
            await self._threads.call_beside(partial(leave_now, error))

        # If the run is cancelled during this, a thread cleans up afterwards.
        undo = partial(leave_now, asyncio.CancelledError())
        value = await self._threads.call_beside(manager.__enter__, undo)
        self._open.append((name, leave))
        return value


def _log_second(name: str, error: BaseException) -> None:
    logger.error(
        "the clean-up of dependency %r raised %s, after the run had failed already",
        name,
        name_of(type(error)),
        exc_info=error,
    )
