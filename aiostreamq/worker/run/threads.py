"""Threads for `def` tasks, so that none of them can stop the event loop.

A pool of our own rather than anyio's threads: those give their place in the
limit back when a job is cancelled, although the thread runs on, so that timeouts
could pile threads up without bound.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from aiostreamq.worker.run.run import Run


class ThreadRunner:
    """The threads of a worker, made when they are first needed."""

    def __init__(self, most: int) -> None:
        """Prepare; *most* is how many there can be. A `Pool` decides which run may have one."""
        self._most = most
        self._pool: ThreadPoolExecutor | None = None
        self._beside: ThreadPoolExecutor | None = None  # for dependencies: a job may have both

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
            self._pool = ThreadPoolExecutor(
                self._most, "aiostreamq", _introduce, (asyncio.get_running_loop(),)
            )
        call = cast("Callable[[], object]", partial(copy_context().run, function, *args, **kwargs))
        run.thread = thread = self._pool.submit(_attempt, call)
        value = await asyncio.wrap_future(thread)
        if type(value) is Raised:
            raise value
        return value

    async def call_beside(
        self, function: Callable[[], object], undo: Callable[[], object] | None = None
    ) -> object:
        """Call *function* in a thread that is not one of the places for `def` tasks.

        Args:
            function: The function.
            undo: Called in such a thread too, if this is cancelled while *function* runs and it
                then returns.

        Cancelling ends the waiting; the thread runs to its end.

        Raises:
            Raised: The function raised, whatever it was.
        """
        if self._beside is None:
            self._beside = ThreadPoolExecutor(self._most, thread_name_prefix="aiostreamq-beside")
        thread = self._beside.submit(_attempt, partial(copy_context().run, function))
        try:
            value = await asyncio.wrap_future(thread)
        except asyncio.CancelledError:
            if undo is not None and not thread.cancelled():
                self._beside.submit(_undo, thread, undo)
            raise
        if type(value) is Raised:
            raise value
        return value

    def close(self) -> None:
        """Start nothing more, and do not wait for threads that run."""
        for pool in (self._pool, self._beside):
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)


class Raised(Exception):
    """An envelope for an exception of a thread, which a future or coroutine might not carry.

    StopIteration is refused by futures and changed by coroutines, some errors of
    `concurrent.futures` become those of asyncio, and CancelledError would mean that the waiting
    was cancelled.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def raised_by_code(error: BaseException) -> BaseException:
    """Return the exception of the code that was called, without an envelope."""
    return error.error if type(error) is Raised else error


async def wait_for_thread(thread: Future[object] | None) -> None:
    """Wait until a thread has ended, if there is one. Cancelling changes nothing."""
    while thread is not None and not thread.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({asyncio.wrap_future(thread)})


def _undo(thread: Future[object], undo: Callable[[], object]) -> None:
    if type(thread.result()) is not Raised:
        with suppress(BaseException):  # the run was cancelled: its error has no receiver
            undo()


def _introduce(loop: asyncio.AbstractEventLoop) -> None:
    """Let the bridges that users know find the event loop of the worker, in the calling thread."""
    _introduce_to_anyio(loop)
    _introduce_to_asgiref(loop)


def _introduce_to_asgiref(loop: asyncio.AbstractEventLoop) -> None:
    """Let `asgiref.sync.async_to_sync` run in the loop of the worker, if the program uses it.

    It marks the threads that it has started itself in this way.
    """
    if (bridge := sys.modules.get("asgiref.sync")) is not None:
        with suppress(Exception):
            known: Any = bridge
            known.SyncToAsync.threadlocal.main_event_loop = loop
            known.SyncToAsync.threadlocal.main_event_loop_pid = os.getpid()


def _introduce_to_anyio(loop: asyncio.AbstractEventLoop) -> None:
    """Let `anyio.from_thread` find the event loop of the worker, in the thread that calls this.

    anyio knows only threads that it has started itself, and has no public way to introduce
    another. If it changes, `from_thread` is refused in tasks as it would be without this.
    """
    with suppress(Exception):
        known: Any = import_module("anyio._core._eventloop")
        of_thread: dict[str, object] = known.threadlocals.__dict__
        with known.claim_worker_thread(known.get_async_backend("asyncio"), loop):
            claim = dict(of_thread)
        of_thread.update(claim)  # for as long as the thread lives


def _attempt(call: Callable[[], object]) -> object:
    itself = os.getpid()
    try:
        value = call()
    except BaseException as error:  # noqa: BLE001  # whatever a task raises is its outcome
        value = Raised(error)
    if os.getpid() != itself:
        os._exit(0)  # the task has forked, and this is the child: it has no worker
    return value
