"""The event loop of a worker process. Tasks can neither end it nor keep it from ending."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiostreamq.aio.own_tasks import OwnTask, hide, leave_behind
from aiostreamq.logs import get_logger
from aiostreamq.signals_and_forks import in_children, is_ctrl_c
from aiostreamq.untrusted import name_of

T = TypeVar("T")

logger = get_logger("aiostreamq.cli")

# Seconds for each step at the end of the process in which code of tasks may run.
END_STEP = 5.0

# Seconds between two checks that the signal handlers are still the worker's.
CHECK_HANDLERS = 0.5


# A mix-in for any loop: its methods come before those of the loop.
_Loop = asyncio.BaseEventLoop if TYPE_CHECKING else object


class _Steadfast(_Loop):
    """A loop that keeps running when a task stops it, or raises what would end a program."""

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Run until *future* is done, whatever tasks do."""
        running = asyncio.ensure_future(cast("Awaitable[T]", future), loop=self)
        while True:
            try:
                return super().run_until_complete(running)
            except (KeyboardInterrupt, SystemExit) as error:
                if is_ctrl_c(error) or running.done():
                    raise
                name = name_of(type(error))
                logger.error("%s was raised in the event loop, which keeps running", name)  # noqa: TRY400
            except RuntimeError:
                if running.done():
                    raise
                logger.error("a task has stopped the event loop, which keeps running")  # noqa: TRY400

    async def shutdown_asyncgens(self) -> None:
        """Close the generators that are left, for some seconds at most."""
        await _wait_briefly_for(super().shutdown_asyncgens())

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """Wait for the threads of `asyncio.to_thread`, for some seconds at most."""
        await _wait_briefly_for(super().shutdown_default_executor())


class SteadfastLoop(_Steadfast, asyncio.SelectorEventLoop):
    """The loop of asyncio, with these properties."""


def new_loop(*, use_uvloop: bool) -> asyncio.AbstractEventLoop:
    """Return such a loop. Its first task is one of ours."""
    if use_uvloop:
        import uvloop

        kind = cast("type[asyncio.AbstractEventLoop]", type("Loop", (_Steadfast, uvloop.Loop), {}))
        loop = kind()
    else:
        loop = SteadfastLoop()

    def make_first(coroutine: Coroutine[Any, Any, T], **how: Any) -> asyncio.Task[T]:
        delattr(loop, "create_task")  # the others are made as usual
        return OwnTask(coroutine, loop=loop, **how)

    setattr(loop, "create_task", make_first)  # noqa: B010  # of this object alone
    # A coroutine that forks and returns in the child too would run the worker a second time.
    in_children(lambda: loop.call_soon(os._exit, 1))
    return loop


class HandlerGuard:
    """Puts the present signal handlers back when a task has replaced them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
        self._wakeup = signal.set_wakeup_fd(-1)
        self._check()

    def close(self) -> None:
        """Stop guarding."""
        self._next.cancel()

    def _check(self) -> None:
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is not handler:
                logger.warning("a task has replaced the handler of %s: restored", number.name)
                signal.signal(number, handler)
        self._next = self._loop.call_later(CHECK_HANDLERS, self._check)


async def end_strays() -> int:
    """Cancel all tasks but the current one, and return how many ignore it.

    Those are left behind: nothing waits for them.
    """
    strays = asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}
    for stray in strays:
        with suppress(BaseException):  # it waits for a future whose `cancel` raises
            stray.cancel()
    left = set[asyncio.Task[Any]]()
    if strays:
        _, left = await asyncio.wait(strays, timeout=END_STEP)
    for stray in left:
        leave_behind(stray)
    return len(left)


def hide_all() -> None:
    """Hide all present tasks but the current one from tasks that start later."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        hide(task)


async def _wait_briefly_for(step: Awaitable[object]) -> None:
    stepping = asyncio.ensure_future(step)
    if not (await asyncio.wait([stepping], timeout=END_STEP))[0]:
        leave_behind(cast("asyncio.Task[Any]", stepping))
