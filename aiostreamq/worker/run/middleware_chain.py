"""The middleware around one run, from the outermost layer to the task itself."""

import asyncio
from typing import TYPE_CHECKING

import orjson

from aiostreamq.errors import UsageError
from aiostreamq.worker.run.threads import Raised

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiostreamq.client.middleware import CallNext, Middleware
    from aiostreamq.worker.run.invoker import Invoker
    from aiostreamq.worker.run.run import Run


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
        self._calling: asyncio.Task[object] | None = None  # while the task of the queue runs

    async def call(self) -> bytes:
        """Run all layers and the task; return the result as JSON.

        Raises:
            Exception: Any that the outermost layer raises.
            PayloadError: The result cannot travel.
        """
        try:
            value = await self._enter(0)
        finally:
            self._is_over = True
            await self._end_call()
        if self._run.spec.is_stream:
            return b"null"  # its values have been streamed
        if self._written is not None and value is self._value:
            return self._written
        return self._invoker.write(self._run, value)

    async def _end_call(self) -> None:
        """Cancel the task if middleware has called it beside itself, and ended before it."""
        calling = self._calling
        if calling is not None and calling.get_loop() is asyncio.get_running_loop():
            calling.cancel()
            await asyncio.wait({calling})

    async def _enter(self, depth: int) -> object:
        if depth < len(self._layers):
            return await self._layers[depth](self._call, self._next(depth + 1))
        return await self._call_task()

    def _next(self, depth: int) -> "CallNext":
        was_called = False

        async def call_next() -> object:
            nonlocal was_called
            if was_called or self._is_over:
                why = "twice for one run" if was_called else "after the end of its run"
                raise UsageError(
                    f"middleware {self._layers[depth - 1]!r} of task {self._call.task!r} called "
                    f"call_next {why}: a run calls its task once; raise RetryLater to run it again"
                )
            was_called = True
            return await self._enter(depth)

        return call_next

    async def _call_task(self) -> object:
        error: BaseException | None = None
        self._calling = asyncio.current_task()
        try:
            self._written = await self._invoker.call(self._run, self._begin)
        except Raised as raised:
            error = raised.error
            if not isinstance(error, Exception) or isinstance(error, StopIteration):
                raise  # a coroutine cannot raise it as it is
        finally:
            self._calling = None
        if error is not None:  # outside of the handler, or the wrapper would be its context
            raise error
        assert self._written is not None
        signature = self._run.spec.signature
        assert signature is not None, "registered tasks have one"
        self._value = signature.restore_result(orjson.loads(self._written))
        return self._value
