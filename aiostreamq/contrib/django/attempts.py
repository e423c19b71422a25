"""One attempt of a task in a worker: what Django expects around the call of its function."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from traceback import format_exception
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections
from django.tasks.base import TaskContext, TaskResult
from django.tasks.signals import task_finished, task_started

from aiostreamq.client.core import core_of
from aiostreamq.contrib.django.records import FAILED_ATTEMPT, Record, plain
from aiostreamq.contrib.django.results import Found, last_record, result_of, split
from aiostreamq.errors import PayloadError
from aiostreamq.model.job_state import JobState
from aiostreamq.model.values.plain_json import encode
from aiostreamq.model.verdict import RunAgain, judge

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from aiostreamq.client.context import Context
    from aiostreamq.queue import Queue


class Attempt:
    """One attempt, from its start to its record."""

    def __init__(
        self,
        alias: str,
        queue: Queue,
        context: Context[object],
        earlier: Record,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> None:
        self._alias = alias
        self._queue = queue
        self._context = context
        self._record = earlier.attempt(context.worker, list(args), kwargs)
        self.result = self._result_in(JobState.RUNNING)  #: as `TaskContext` and signals have it
        task = self.result.task
        first = [TaskContext(task_result=self.result)] if task.takes_context else []
        #: the arguments of the function
        self.args: list[Any] = [*first, *self.result.args]
        self.function: Callable[..., Any] = task.func

    def returned(self, value: object) -> dict[str, Any]:
        """Note what the function returned; return the record, which is the result of the job.

        Raises:
            TypeError: The value is not JSON.
            PayloadError: It is too long, or has a number that is none in JSON.
        """
        self._record = record = self._record.returned(plain(value))
        written = encode(record.to_json())  # here, so that a failure is one of the attempt
        if len(written) > self._queue.max_payload:
            raise PayloadError(
                f"the arguments and the result of task {self._context.task!r} are {len(written):,} "
                f"bytes, over the limit of {self._queue.max_payload:,}: return a reference to the "
                f"data, or raise max_payload in OPTIONS"
            )
        self.result = self._result_in(JobState.DONE)
        return self._record.to_json()

    def raised(self, error: BaseException) -> bool:
        """Keep what the function raised for the next attempt; return whether this was the last."""
        kind = type(error)
        path = f"{kind.__module__}.{kind.__qualname__}"
        self._record = self._record.failed(path, "".join(format_exception(error)))
        self.result = self._result_in(JobState.FAILED)
        context = self._context
        for record in (self._record, replace(self._record, args=[], kwargs={})):
            try:
                context.progress_nowait(0.0, FAILED_ATTEMPT, **record.to_json())
                break
            except PayloadError:  # the arguments are nearly as long as a payload may be
                continue
        rules = self._queue.tasks[context.task].spec.options.retry
        return not isinstance(judge(error, rules, context.attempt, 0.0, 0.0), RunAgain)

    def _result_in(self, state: JobState) -> TaskResult[..., Any]:
        args, kwargs, using = split(self._record.args, self._record.kwargs)
        record = replace(self._record, args=args, kwargs=kwargs)
        found = Found(self._context.task, state, record, using)
        return result_of(self._context.job_id, self._alias, found)


def sync_runner(alias: str, queue: Queue, sender: type) -> Callable[..., dict[str, Any]]:
    """Return the function that workers run in a thread for tasks made with `def`."""

    def run(context: Context[object], /, *args: object, **kwargs: object) -> dict[str, Any]:
        close_old_connections()  # a connection of the thread may have died since its last task
        try:
            earlier = Record()
            if context.attempt > 1:
                earlier = queue.sync.call(lambda core: last_record(core, context.job_id))
            attempt = Attempt(alias, queue, context, earlier, args, kwargs)
            task_started.send_robust(sender, task_result=attempt.result)
            try:
                value = attempt.function(*attempt.args, **attempt.result.kwargs)
                record = attempt.returned(value)
            except BaseException as error:
                if attempt.raised(error):
                    task_finished.send_robust(sender, task_result=attempt.result)
                raise
            task_finished.send_robust(sender, task_result=attempt.result)
            return record
        finally:
            close_old_connections()

    return run


def async_runner(
    alias: str, queue: Queue, sender: type
) -> Callable[..., Coroutine[Any, Any, dict[str, Any]]]:
    """Return the function that workers run on the event loop for tasks made with `async def`."""

    async def run(context: Context[object], /, *args: object, **kwargs: object) -> dict[str, Any]:
        async with _fresh_connections():
            earlier = Record()
            if context.attempt > 1:
                earlier = await last_record(core_of(queue), context.job_id)
            attempt = Attempt(alias, queue, context, earlier, args, kwargs)
            await task_started.asend_robust(sender, task_result=attempt.result)
            try:
                value = await attempt.function(*attempt.args, **attempt.result.kwargs)
                record = attempt.returned(value)
            except Exception as error:  # noqa: BLE001  # raised again, without the frames of asgiref
                traceback = error.__traceback__
                if attempt.raised(error):
                    await task_finished.asend_robust(sender, task_result=attempt.result)
                raise error.with_traceback(traceback) from error.__cause__
            await task_finished.asend_robust(sender, task_result=attempt.result)
            return record

    return run


@asynccontextmanager
async def _fresh_connections() -> AsyncGenerator[None, None]:
    # Django's models use one thread of this loop for all asynchronous code.
    await _close_old_connections()
    try:
        yield
    except BaseException as error:  # noqa: BLE001  # as above
        traceback = error.__traceback__
        await _close_old_connections()
        # asgiref raises it in its thread too, for `sys.exc_info()`, and so adds frames.
        raise error.with_traceback(traceback) from error.__cause__
    else:
        await _close_old_connections()


_close_old_connections = sync_to_async(close_old_connections, thread_sensitive=True)
