"""Where `def` tasks run, so that none of them can stop the event loop.

A pool of our own rather than anyio's threads: those give their place in the
limit back when a job is cancelled, although the thread runs on, so that timeouts
could pile threads up without bound.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial


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
    ) -> object:
        """Run *function* in a thread.

        Cancelling ends the waiting; a thread that has started runs to its end.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._limit, thread_name_prefix="aiostreamq")
        call = partial(copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Start nothing more; threads that run are not waited for."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
