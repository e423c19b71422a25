"""The middleware around one run, from the outermost layer to the task itself."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from aiostreamq.errors import UsageError
from aiostreamq.signals_and_forks import is_ctrl_c
from aiostreamq.untrusted import name_of
from aiostreamq.worker.run.threads import Raised

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from aiostreamq.client.middleware import Middleware
    from aiostreamq.worker.run.invoker import Invoker
    from aiostreamq.worker.run.run import Run


@dataclass(slots=True)
class Link:
    """The `call_next` of one layer, and what became of it."""

    layer: "Middleware"
    task: "asyncio.Task[object] | None"  #: the asyncio task in which the layer runs
    depth: int  #: what it calls: the index of a layer, or their number for the task
    was_called: bool = False
    has_begun: bool = False  #: whether what the call returned was awaited


class MiddlewareChain:
    """The layers of middleware around one run.

    The innermost `call_next` returns the result as a caller that awaits the job gets it: through
    JSON and back. So middleware sees the same of a task in a process, and a result that cannot
    travel is a failure for it too.
    """

    def __init__(
        self,
        layers: "Sequence[Middleware]",
        run: "Run",
        invoker: "Invoker",
        begin: "Callable[[Run], None]",
    ) -> None:
        """Prepare a call.

        Args:
            layers: The middleware, the outermost first.
            run: The run.
            invoker: Calls its function.
            begin: Called when the function is called in a process.
        """
        self._layers = layers
        self._run = run
        self._invoker = invoker
        self._begin = begin
        self._call = invoker.run_call(run)
        self._written: bytes | None = None  # the result of the task, as JSON
        self._value: object = None  # the same, as middleware sees it
        self._is_over = False
        self._loop = asyncio.get_running_loop()
        self._beside: set[asyncio.Task[object]] = set()  # in which middleware runs call_next
        # Pairs: an exception that middleware sees, and the exception of the run that it stands for.
        self._shown: list[tuple[BaseException, BaseException]] = []

    async def call(self) -> bytes:
        """Run all layers and the task; return the result as JSON.

        Raises:
            Exception: Any that the outermost layer raises.
            PayloadError: The result cannot travel.
        """
        try:
            value = await self._enter(0)
        except BaseException as error:
            for shown, actual in self._shown:
                if error is shown:  # retry rules and the outcome go by what the task raised
                    raise Raised(actual) from None
            raise
        finally:
            self._is_over = True
            await self._end_beside()
        if self._run.spec.is_stream:
            return b"null"  # its values have been streamed
        if self._written is not None and value is self._value:
            return self._written
        return self._invoker.write(self._run, value)

    async def _end_beside(self) -> None:
        """Cancel what middleware runs in other asyncio tasks, if the middleware ended before it."""
        left = [task for task in self._beside if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    async def _enter(self, depth: int) -> object:
        if depth == len(self._layers):
            return await self._call_task()
        layer = self._layers[depth]
        link = Link(layer, asyncio.current_task(), depth + 1)

        def call_next() -> "Coroutine[Any, Any, object]":
            link.was_called = True
            return self._call_next(link)

        value = await layer(self._call, call_next)
        if link.was_called and not link.has_begun:
            raise self._misuse(
                layer,
                "called call_next and did not await it, so the task did not run: write "
                "`await call_next()`",
            )
        return value

    async def _call_next(self, link: Link) -> object:
        if link.has_begun or self._is_over:
            why = "twice for one run" if link.has_begun else "after the end of its run"
            raise self._misuse(
                link.layer,
                f"called call_next {why}: a run calls its task once; raise RetryLater to run it "
                f"again",
            )
        link.has_begun = True
        if asyncio.get_running_loop() is not self._loop:
            raise self._misuse(
                link.layer,
                "awaited call_next in another event loop than that of the worker: await it in the "
                "middleware itself, or in an asyncio task that it creates",
            )
        task = asyncio.current_task()
        if task is None or task is link.task:
            return await self._enter(link.depth)
        return await self._enter_beside(link.depth, task)

    async def _enter_beside(self, depth: int, task: "asyncio.Task[object]") -> object:
        """Run the rest in an asyncio task of middleware, which does not pass on every exception.

        An asyncio task that raises SystemExit or KeyboardInterrupt ends the event loop. One that
        raises GeneratorExit closes the coroutine that awaits it.
        """
        self._beside.add(task)
        try:
            return await self._enter(depth)
        except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
            if is_ctrl_c(error) or self._closes(error):
                raise
            raise self._in_place_of(error) from error
        finally:
            self._beside.discard(task)

    def _closes(self, error: BaseException) -> bool:
        """Return whether it is the end of the coroutine here, and not what the task raised."""
        raised = any(error is actual for _, actual in self._shown)
        return isinstance(error, GeneratorExit) and not raised

    async def _call_task(self) -> object:
        error: BaseException | None = None
        try:
            self._written = await self._invoker.call(self._run, self._begin)
        except Raised as raised:
            error = raised.error
        if error is not None:  # outside of the handler, or the wrapper would be its context
            if issubclass(type(error), StopIteration):  # a coroutine cannot raise it
                raise self._in_place_of(error) from error
            self._shown.append((error, error))
            raise error
        assert self._written is not None
        signature = self._run.spec.signature
        assert signature is not None, "registered tasks have one"
        self._value = signature.restore_result(orjson.loads(self._written))
        return self._value

    def _in_place_of(self, error: BaseException) -> RuntimeError:
        """Return what middleware sees of an exception that cannot be raised to it as it is."""
        shown = RuntimeError(f"task {self._call.task!r} raised {name_of(type(error))}")
        self._shown.append((shown, error))
        return shown

    def _misuse(self, layer: "Middleware", what: str) -> UsageError:
        return UsageError(f"middleware {layer!r} of task {self._call.task!r} {what}")
