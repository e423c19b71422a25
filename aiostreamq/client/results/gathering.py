"""The results of many jobs: all of them in order, or each job as it ends."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeVar, cast, overload

from aiostreamq import clock
from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.client.job import Job
from aiostreamq.client.not_a_call import close_coroutines
from aiostreamq.errors import AioStreamQError, UsageError, WaitTimeout
from aiostreamq.model.duration import Duration, seconds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

R = TypeVar("R")


@overload
async def gather(
    jobs: "Iterable[Job[R]]",
    *,
    timeout: Duration | None = None,
    return_exceptions: Literal[False] = False,
) -> list[R]: ...
@overload
async def gather(
    jobs: "Iterable[Job[R]]", *, timeout: Duration | None = None, return_exceptions: bool
) -> list[R | AioStreamQError]: ...
async def gather(
    jobs: "Iterable[Job[R]]",
    *,
    timeout: Duration | None = None,
    return_exceptions: bool = False,
) -> "list[R] | list[R | AioStreamQError]":
    """Wait until all jobs have ended, and return their results in the order of *jobs*.

    Args:
        jobs: The handles of jobs, also of different tasks and queues.
        timeout: Seconds (or "10s", or a timedelta) to wait for all of them; None waits until
            they have ended.
        return_exceptions: Whether a job that has no result leaves its error in its place:
            what awaiting the job raises, or WaitTimeout if it did not end in time. By default
            the first error is raised at once.

    Raises:
        UsageError: *jobs* has something that is not a job.
        AioStreamQError: As awaiting one of the jobs, unless *return_exceptions* is true.

    Cancelling is safe. Neither that nor an error affects the jobs, which can be awaited again.
    """
    given = checked_jobs("gather", jobs)
    limit = None if timeout is None else seconds("timeout", timeout)
    waits = [spawn(job.result(limit), f"aiostreamq:result:{job.id}") for job in given]
    if not waits:
        return []
    try:
        if not return_exceptions:
            await asyncio.wait(waits, return_when=asyncio.FIRST_EXCEPTION)
            _raise_first(waits)
            return [wait.result() for wait in waits]
        await asyncio.wait(waits)
        return [_result_or_error(wait) for wait in waits]
    finally:
        _end(waits)


def as_completed(
    jobs: "Iterable[Job[R]]", *, timeout: Duration | None = None
) -> "AsyncGenerator[Job[R], None]":
    """Iterate over jobs in the order in which they end.

    As in `async for job in as_completed(jobs)`. Awaiting a job that was yielded returns its
    result, or raises its error, without waiting. A job whose outcome cannot be waited for is
    yielded as well, and awaiting it raises the reason.

    Args:
        jobs: The handles of jobs, also of different tasks and queues.
        timeout: Seconds (or "10s", or a timedelta) to wait for all of them; None waits until
            they have ended.

    Raises:
        UsageError: *jobs* has something that is not a job.
        WaitTimeout: *timeout* passed before all jobs had ended. The others continue.

    Cancelling is safe. Close the iterator if you stop early, with `contextlib.aclosing`.
    """
    limit = None if timeout is None else seconds("timeout", timeout)
    return _as_completed(checked_jobs("as_completed", jobs), limit)


async def _as_completed(
    jobs: "list[Job[R]]", limit: float | None
) -> "AsyncGenerator[Job[R], None]":
    loop = asyncio.get_running_loop()
    deadline = None if limit is None else clock.of_loop(loop) + limit
    ended = asyncio.Queue[Job[R]]()
    waits: list[OwnTask[R]] = []
    try:
        for job in jobs:
            wait = spawn(job.result(), f"aiostreamq:end:{job.id}")
            wait.add_done_callback(lambda _, job=job: ended.put_nowait(job))
            waits.append(wait)
        for _ in jobs:
            yield await _next(ended, deadline)
    finally:
        _end(waits)


async def _next(ended: "asyncio.Queue[Job[R]]", deadline: float | None) -> "Job[R]":
    with suppress(asyncio.QueueEmpty):  # in any case: the caller may have taken its time
        return ended.get_nowait()
    try:
        async with asyncio.timeout_at(deadline):
            return await ended.get()
    except TimeoutError:
        raise WaitTimeout from None


def checked_jobs(function: str, jobs: "Iterable[Job[R]]") -> "list[Job[R]]":
    """Return *jobs* as a list.

    Raises:
        UsageError: It is a single job, or has something that is not a job.
    """
    if isinstance(jobs, Job):
        raise UsageError(
            f"{function} takes several jobs, and this is one: put it in a list, or await it"
        )
    try:
        given = list(jobs)
    except TypeError:
        raise UsageError(
            f"{function} takes an iterable of jobs, not an object of type {type(jobs).__name__!r}"
        ) from None
    for one in cast("list[object]", given):
        if not isinstance(one, Job):
            close_coroutines(given)
            raise UsageError(
                f"{function} takes jobs, as `await task.enqueue(...)` returns them, and this is an "
                f"object of type {type(one).__name__!r}"
            )
    return given


def _raise_first(waits: "list[OwnTask[R]]") -> None:
    """Raise the first error in the order of the jobs, among the waits that have ended."""
    for wait in waits:
        if wait.done() and not wait.cancelled() and (error := wait.exception()) is not None:
            raise error


def _result_or_error(wait: "OwnTask[R]") -> "R | AioStreamQError":
    try:
        return wait.result()
    except AioStreamQError as error:
        return error


def _end(waits: "list[OwnTask[R]]") -> None:
    """Stop waiting, and see to it that asyncio does not log errors that were not asked for."""
    for wait in waits:
        wait.end()
        if wait.done() and not wait.cancelled():
            wait.exception()
