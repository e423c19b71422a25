"""Where `def` tasks run, so that none of them can stop the event loop.

A pool of our own rather than anyio's threads: those give their place in the
limit back when a job is cancelled, although the thread runs on, so that timeouts
could pile threads up without bound.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, cast

logger = logging.getLogger("aiostreamq.worker")


class Threads:
    """A bounded pool, made when it is first needed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pool: ThreadPoolExecutor | None = None

    async def call(
        self,
        function: Callable[..., object],
        args: Sequence[object],
        kwargs: Mapping[str, object],
        told: Mapping[str, object],
        first: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> object:
        """Run *function* in a thread, which awaits *first* in this loop before.

        Cancelling ends the waiting; a thread that has started runs to its end, which
        is reported with what *told* says of the job.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._limit, thread_name_prefix="aiostreamq")
        call = cast("Callable[[], object]", partial(copy_context().run, function, *args, **kwargs))
        if first is not None:
            call = partial(_call_after, first, asyncio.get_running_loop(), call)
        running = self._pool.submit(call)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            if running.running():
                _report(running, told)
            raise

    def close(self) -> None:
        """Start nothing more; threads that run are not waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _call_after(
    first: Callable[[], Coroutine[Any, Any, None]],
    loop: asyncio.AbstractEventLoop,
    call: Callable[[], object],
) -> object:
    asyncio.run_coroutine_threadsafe(first(), loop).result()
    return call()


def _report(running: "Future[object]", told: Mapping[str, object]) -> None:
    logger.warning(
        "job was given up, but a thread cannot be stopped: it goes on, and keeps its place until "
        "it returns; give what it calls a timeout, or use executor='process'",
        extra=told,
    )
    since = time.monotonic()
    running.add_done_callback(
        lambda _: logger.info(
            "thread of a job that was given up has ended, %.1f s later",
            time.monotonic() - since,
            extra=told,
        )
    )
