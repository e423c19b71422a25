"""Threads for `def` tasks, so that none of them can stop the event loop.

A pool of our own rather than anyio's threads: those give their place in the
limit back when a job is cancelled, although the thread runs on, so that timeouts
could pile threads up without bound.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from aiostreamq.worker.run.run import Run


class ThreadRunner:
    """The threads of a worker, made when they are first needed."""

    def __init__(self, most: int) -> None:
        """Prepare; *most* is how many there can be. A `Pool` decides which run may have one."""
        self._most = most
        self._pool: ThreadPoolExecutor | None = None

    async def call(
        self,
        run: "Run",
        function: Callable[..., object],
        args: Sequence[object],
        kwargs: Mapping[str, object],
    ) -> object:
        """Run *function* in a thread, which *run* has a place for.

        Cancelling ends the waiting; the thread runs to its end.

        Raises:
            Raised: The function raised, whatever it was.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="aiostreamq")
        call = cast("Callable[[], object]", partial(copy_context().run, function, *args, **kwargs))
        run.thread = thread = self._pool.submit(_attempt, call)
        value = await asyncio.wrap_future(thread)
        if type(value) is Raised:
            raise value
        return value

    def close(self) -> None:
        """Start nothing more, and do not wait for threads that run."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


class Raised(Exception):
    """An envelope for an exception of a thread, which a future or coroutine might not carry.

    StopIteration is refused by futures and changed by coroutines, some errors of
    `concurrent.futures` become those of asyncio, and CancelledError would mean that the waiting
    was cancelled.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _attempt(call: Callable[[], object]) -> object:
    itself = os.getpid()
    try:
        value = call()
    except BaseException as error:  # noqa: BLE001  # whatever a task raises is its outcome
        value = Raised(error)
    if os.getpid() != itself:
        os._exit(0)  # the task has forked, and this is the child: it has no worker
    return value
