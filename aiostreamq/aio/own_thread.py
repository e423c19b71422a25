"""One call in a thread of its own, which neither an exception nor a hanging call can spoil."""

import asyncio
import os
import threading
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def call_in_thread(function: "Callable[[], T]", name: str) -> T:
    """Call *function* in a daemon thread, with the context variables of the caller.

    Unlike `asyncio.to_thread`: there, on Python 3.11, a StopIteration never reaches the caller,
    and the event loop cannot be closed while a call hangs.

    Args:
        function: The function.
        name: The name of the thread.

    Raises:
        BaseException: Any that *function* raises; RuntimeError in place of a StopIteration.

    Cancelling ends the waiting; the thread runs to its end.
    """
    loop, process = asyncio.get_running_loop(), os.getpid()
    end: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()
    context = copy_context()

    def give(value: T | None, error: BaseException | None) -> None:
        if not end.done():  # the caller was not cancelled
            end.set_result((value, error))

    def run() -> None:
        value: T | None = None
        error: BaseException | None = None
        try:
            value = context.run(function)
        except BaseException as raised:  # noqa: BLE001  # whatever it is, the caller gets it
            error = raised
        if os.getpid() != process:
            os._exit(0)  # the function has forked, and this is the child: it has no event loop
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(give, value, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    value, error = await end
    if error is not None:
        raise error
    return cast("T", value)
