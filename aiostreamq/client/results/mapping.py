"""A task called with many items, a bounded number at a time, and the results in order.

A feeder takes items, enqueues a job for each, and waits while enough jobs are unfinished. It also
waits while many results have not been taken yet: they are held until those before them are there.
"""

import asyncio
from collections.abc import AsyncIterable, Iterable
from contextlib import aclosing
from dataclasses import replace
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar, cast

from aiostreamq.aio.own_tasks import OwnTask, leave_behind, spawn
from aiostreamq.client.task import Enqueuer
from aiostreamq.client.task_argument import no_task
from aiostreamq.errors import AioStreamQError, BrokerError, UsageError
from aiostreamq.logs import get_logger
from aiostreamq.signals_and_forks import is_ctrl_c
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.connection.connector import reason_of
from aiostreamq.untrusted import name_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from aiostreamq.client.call import Call
    from aiostreamq.client.core import QueueCore
    from aiostreamq.client.job import Job
    from aiostreamq.client.sessions.session import Session
    from aiostreamq.store.enqueue import IdWas

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

logger = get_logger("aiostreamq.client")

# How many jobs, for each that may be unfinished, have a result or will have one that was not
# taken yet: a slow job does not stop those behind it at once, and results do not fill the memory.
HELD = 4

# Seconds that the items may take to clean up when the iterator is closed: as long as a job.
CLEANUP_TIME = 5.0


class OneItemTask(Protocol[T_contra, R_co]):
    """A task that can be called with one positional argument, or one with options."""

    def bind(self, item: T_contra, /) -> "Call[R_co]":
        """Return the call with this argument."""
        ...


class OpenJob(NamedTuple):
    """A job that is not known to have ended."""

    job_id: str
    entering: "asyncio.Future[IdWas]"  #: done when the job is in Redis


class Mapping(Generic[T, R]):
    """The jobs of one `queue.map`."""

    def __init__(
        self,
        session: "Session",
        task: str,
        bind: "Callable[[T], Call[R]]",
        concurrency: int,
        *,
        waits: bool,
    ) -> None:
        """Prepare; nothing is enqueued yet.

        Args:
            session: The session of the running event loop.
            task: The name of the task, for log lines.
            bind: Makes the call for an item.
            concurrency: The most jobs that may be unfinished.
            waits: Whether an enqueue waits for room, maybe for ever.
        """
        self._session = session
        self._task = task
        self._bind = bind
        self._waits = waits
        self._unfinished = asyncio.Semaphore(concurrency)
        self._held = asyncio.Semaphore(HELD * concurrency)
        self._open: dict[OwnTask[R], OpenJob] = {}
        #: what each item has: a wait for its result, or the error of its enqueue; None is the end
        self._places = asyncio.Queue[OwnTask[R] | AioStreamQError | None]()
        self._is_closed = False

    async def results(
        self, items: "Iterable[T] | AsyncIterable[T]", *, return_exceptions: bool
    ) -> "AsyncGenerator[R | AioStreamQError, None]":
        """Enqueue a job for each item, and yield the results in their order."""
        feeder = spawn(self._feed_safely(items), "aiostreamq:map")
        feeder.add_done_callback(lambda _: self._places.put_nowait(None))
        try:
            while (place := await self._places.get()) is not None:
                try:
                    if isinstance(place, AioStreamQError):
                        raise place
                    # Shielded: if this wait is cancelled, the job is still to be cancelled.
                    result: R | AioStreamQError = await asyncio.shield(place)
                except AioStreamQError as error:
                    if not return_exceptions:
                        raise
                    result = error
                self._held.release()
                yield result
            if (error := await feeder) is not None:  # of the items: after the results before it
                raise error
        finally:
            self._is_closed = True
            feeder.end()
            try:
                await self._cancel_open()
            finally:
                await self._await_end(feeder, items)

    async def _await_end(self, feeder: OwnTask[BaseException | None], items: object) -> None:
        """Wait until the items have cleaned up, or abandon them if they ignore the cancellation.

        A second cancellation abandons them at once.
        """
        try:
            await asyncio.wait([feeder], timeout=CLEANUP_TIME)
        finally:
            if feeder.done():
                _retrieve(feeder)
            else:
                logger.warning(
                    "queue.map of task %r leaves its items behind: %s still runs after its "
                    "cancellation; have it end when it gets a CancelledError",
                    self._task,
                    _name_of_items(items),
                )
                leave_behind(feeder)

    async def _feed_safely(self, items: "Iterable[T] | AsyncIterable[T]") -> BaseException | None:
        """Feed, and return what the items raised: a SystemExit in a task would end the loop."""
        try:
            await self._feed(items)
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            return error
        return None

    async def _feed(self, items: "Iterable[T] | AsyncIterable[T]") -> None:
        # The room comes first: an item is taken when it can be enqueued.
        if isinstance(items, AsyncIterable):
            source = aiter(items)
            while not self._is_closed:
                await self._wait_for_room()
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    return
                await self._enqueue(item)
            return
        await self._wait_for_room()
        for item in items:
            await self._enqueue(item)
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        await self._held.acquire()
        await self._unfinished.acquire()

    async def _enqueue(self, item: T) -> None:
        try:
            call = self._bind(item)
            enqueuing = self._session.enqueuing
            if call.using.needs_time:
                await enqueuing.know_time()
            if self._is_closed:  # the items ignored the cancellation
                return
            job, entering = enqueuing.put(call.spec, call.using, call.args, call.kwargs)
        except AioStreamQError as error:
            self._unfinished.release()
            self._places.put_nowait(error)
            return
        ending = spawn(_result(cast("Job[R]", job), entering), f"aiostreamq:result:{job.id}")
        self._open[ending] = OpenJob(job.id, entering)
        ending.add_done_callback(self._end)
        self._places.put_nowait(ending)

    def _end(self, ending: "OwnTask[R]") -> None:
        self._open.pop(ending, None)
        self._unfinished.release()
        _retrieve(ending)

    async def _cancel_open(self) -> None:
        """Cancel the jobs that have not ended, those on their way into Redis included."""
        left, entering = dict(self._open), [job.entering for job in self._open.values()]
        if self._waits:
            for future in entering:
                future.cancel()
        elif entering:
            await asyncio.wait(entering)
        for ending in left:
            ending.end()
        if not left:
            return
        try:
            async with asyncio.timeout(self._session.enqueue_timeout):
                await Cancellation(self._session.store).cancel(
                    [job.job_id for job in left.values()]
                )
        except (BrokerError, TimeoutError) as error:
            logger.warning(
                "%d jobs of a map that was closed may still run: cancelling them failed: %s",
                len(left),
                reason_of(error),
            )


def _name_of_items(items: object) -> str:
    if isinstance(items, AsyncGeneratorType):
        return f"the asynchronous generator {items.__qualname__!r}"
    return f"an object of type {name_of(type(items))!r}"


def _retrieve(task: "OwnTask[R]") -> None:
    """See to it that asyncio does not log an error of *task* that was not asked for."""
    if task.done() and not task.cancelled():
        task.exception()


async def _result(job: "Job[R]", entering: "asyncio.Future[IdWas]") -> R:
    # Shielded: the batch is sent all the same, and whether the job is in Redis must be known.
    await asyncio.shield(entering)
    return await job.result()


def map_items(
    core: "QueueCore",
    task: "OneItemTask[T, R]",
    items: "Iterable[T] | AsyncIterable[T]",
    concurrency: int,
    *,
    return_exceptions: bool,
) -> "AsyncGenerator[R | AioStreamQError, None]":
    """Return the iterator of `queue.map`.

    Raises:
        UsageError: An argument is invalid.
    """
    if not isinstance(task, Enqueuer):
        raise no_task(task)
    known = cast("Enqueuer[[T], R]", task)
    check_call(cast("Enqueuer[[], R]", known).bind())
    if type(concurrency) is not int or concurrency < 1:
        raise UsageError(f"concurrency must be an integer from 1, got {concurrency!r}")
    if not isinstance(cast("object", items), Iterable | AsyncIterable):
        raise UsageError(
            f"map takes an iterable of items, one for each job, not an object of type "
            f"{type(items).__name__!r}"
        )
    return _results(core, known, items, concurrency, return_exceptions)


async def _results(
    core: "QueueCore",
    task: "Enqueuer[[T], R]",
    items: "Iterable[T] | AsyncIterable[T]",
    concurrency: int,
    return_exceptions: bool,
) -> "AsyncGenerator[R | AioStreamQError, None]":
    session = core.session()
    own = session.enqueuing.check_own(task.spec)
    waits, hooks = core.policy.waits_when_full, core.hooks

    def bind(item: T) -> "Call[R]":
        call = task.bind(item)
        if hooks is not None:
            using = hooks.applied(own, call.using, call.args, call.kwargs)
            return replace(call, spec=own, using=using)
        return call if call.spec is own else replace(call, spec=own)

    mapping = Mapping[T, R](session, own.name, bind, concurrency, waits=waits)
    results = mapping.results(items, return_exceptions=return_exceptions)
    async with aclosing(results):
        async for result in results:
            yield result


def check_call(call: "Call[R]") -> None:
    """Refuse a task with options that do not suit many jobs whose results are awaited.

    Raises:
        UsageError: It has an id, which is that of one job; or its jobs keep no result.
    """
    if call.using.id is not None:
        raise UsageError(
            f"task {call.spec.name!r} has id={call.using.id!r}, the id of one job, and map makes a "
            f"job for each item: leave the id out"
        )
    if call.using.options.result_ttl == 0:
        raise UsageError(
            f"task {call.spec.name!r} keeps no result (result_ttl=0), and map yields the results: "
            f"use task.using(result_ttl=...), or queue.enqueue_many"
        )
