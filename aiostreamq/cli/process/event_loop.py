"""The event loop of a worker process: no task ends it, and none keeps it from ending."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Coroutine, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiostreamq.aio.tasks import OwnTask, hide, leave_behind
from aiostreamq.logs import get_logger
from aiostreamq.signals import in_children, is_ctrl_c
from aiostreamq.untrusted import name_of

T = TypeVar("T")

logger = get_logger("aiostreamq.cli")

# Seconds that each step may take in which tasks can have a say when the process ends.
LAST_WORDS = 5.0

# Seconds between two looks whether the handlers of signals are still the worker's.
LOOK_AT_HANDLERS = 0.5


# Nothing at run time: it comes before the methods of whatever loop it is mixed into.
_Loop = asyncio.BaseEventLoop if TYPE_CHECKING else object


class _Steadfast(_Loop):
    """Goes on when code of a task stops it, or raises what would end a program."""

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Run until *future* is done, and not before."""
        running = asyncio.ensure_future(cast("Awaitable[T]", future), loop=self)
        while True:
            try:
                return super().run_until_complete(running)
            except (KeyboardInterrupt, SystemExit) as error:
                if is_ctrl_c(error) or running.done():
                    raise
                name = name_of(type(error))
                logger.error("%s was raised in the event loop: it goes on", name)  # noqa: TRY400
            except RuntimeError:
                if running.done():
                    raise
                logger.error("a task has stopped the event loop: it goes on")  # noqa: TRY400

    async def shutdown_asyncgens(self) -> None:
        """Close generators that were left, as far as they close within some seconds."""
        await _give_time(super().shutdown_asyncgens())

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002
        """Let the threads end of `asyncio.to_thread`, as far as they do within some seconds."""
        await _give_time(super().shutdown_default_executor())


class SteadfastLoop(_Steadfast, asyncio.SelectorEventLoop):
    """The loop of asyncio."""


def new_loop(*, use_uvloop: bool) -> asyncio.AbstractEventLoop:
    """Return such a loop, whose first task is one of ours."""
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


class Handlers:
    """Keeps the signal handlers that are in force, whatever tasks set for themselves."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._handlers = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
        self._wakeup = signal.set_wakeup_fd(-1)
        self._look()

    def close(self) -> None:
        """Keep them no more."""
        self._next.cancel()

    def _look(self) -> None:
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for sign, handler in self._handlers.items():
            if signal.getsignal(sign) is not handler:
                logger.warning("a task has taken the handler of %s: it is put back", sign.name)
                signal.signal(sign, handler)
        self._next = self._loop.call_later(LOOK_AT_HANDLERS, self._look)


async def end_strays() -> int:
    """Cancel all tasks but the one that calls this; returns how many do not heed it.

    Those are left to themselves: nothing waits for them any more.
    """
    strays = asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}
    for stray in strays:
        with suppress(BaseException):  # it waits for a future whose `cancel` raises
            stray.cancel()
    left = set[asyncio.Task[Any]]()
    if strays:
        _, left = await asyncio.wait(strays, timeout=LAST_WORDS)
    for stray in left:
        leave_behind(stray)
    return len(left)


def hide_all() -> None:
    """Hide all tasks that run now from what will run, but for the one that calls this."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        hide(task)


async def _give_time(step: Awaitable[object]) -> None:
    stepping = asyncio.ensure_future(step)
    if not (await asyncio.wait([stepping], timeout=LAST_WORDS))[0]:
        leave_behind(cast("asyncio.Task[Any]", stepping))
