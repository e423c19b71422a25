"""`QueueCalls`: the ways to call tasks of a queue other than one enqueue at a time."""

from typing import TYPE_CHECKING, Literal, TypeVar, cast, overload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable

    from aiostreamq.client.blocking.blocking_queue import BlockingQueue
    from aiostreamq.client.core import QueueCore
    from aiostreamq.client.results.mapping import OneItemTask
    from aiostreamq.errors import AioStreamQError

T = TypeVar("T")
R = TypeVar("R")

# Enough for many workers, and little memory if the results are small.
CONCURRENCY = 100


class QueueCalls:
    """The ways to call many tasks, and to call tasks from code without an event loop."""

    _core: "QueueCore"

    @property
    def sync(self) -> "BlockingQueue":
        """The queue for code that does not run in an event loop: it blocks the calling thread.

        For scripts, web frameworks with threads, notebooks and `def` tasks, from any thread.
        """
        found = self.__dict__.get("_sync")
        if found is None:
            # Imported at the first use: few programs need it.
            from aiostreamq.client.blocking.blocking_queue import BlockingQueue

            # Several threads may come at once, and one of these must win.
            found = self.__dict__.setdefault("_sync", BlockingQueue(self._core))
        return cast("BlockingQueue", found)

    @overload
    def map(
        self,
        task: "OneItemTask[T, R]",
        items: "Iterable[T] | AsyncIterable[T]",
        *,
        concurrency: int = CONCURRENCY,
        return_exceptions: Literal[False] = False,
    ) -> "AsyncGenerator[R, None]": ...
    @overload
    def map(
        self,
        task: "OneItemTask[T, R]",
        items: "Iterable[T] | AsyncIterable[T]",
        *,
        concurrency: int = CONCURRENCY,
        return_exceptions: bool,
    ) -> "AsyncGenerator[R | AioStreamQError, None]": ...
    def map(
        self,
        task: "OneItemTask[T, R]",
        items: "Iterable[T] | AsyncIterable[T]",
        *,
        concurrency: int = CONCURRENCY,
        return_exceptions: bool = False,
    ) -> "AsyncGenerator[R | AioStreamQError, None] | AsyncGenerator[R, None]":
        """Call *task* with each of *items*, and iterate over the results in their order.

        As in `async for result in queue.map(resize, paths)`. Items are taken as jobs end, so
        there may be more of them than fit into memory, without an end too.

        Args:
            task: A task of this queue, `task.using(...)` or `queue.named(...)`. It gets one
                item as its only argument.
            items: An iterable, or an async iterable.
            concurrency: The most jobs that are unfinished at any time. At most four times this
                number of results are held, ended or not, until they are taken: then a slow job,
                or a slow loop, stops the enqueues.
            return_exceptions: Whether an item that has no result yields its error in its place:
                what `enqueue` or awaiting the job raises. By default that is raised, and ends
                the iteration.

        Raises:
            UsageError: The task belongs to another queue, has an `id`, keeps no result, or
                is not a task; or *concurrency* or *items* is invalid.
            AioStreamQError: As `Task.enqueue`, and as awaiting the job, at the place of its item.

        An error of *items* comes after the results before it. If the iterator is closed, or ends
        with an error, the jobs that have not ended are cancelled. Close it if you stop early,
        with `contextlib.aclosing`. Cancelling does the same. If *items* are asked
        for the next one, that is cancelled too, and awaited for at most five seconds.
        """
        from aiostreamq.client.results.mapping import map_items

        return map_items(self._core, task, items, concurrency, return_exceptions=return_exceptions)
