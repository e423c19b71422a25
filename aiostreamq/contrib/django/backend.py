"""The backend of `django.tasks`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async
from django.db import transaction
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.base import Task, TaskResult, TaskResultStatus
from django.tasks.exceptions import InvalidTask
from django.tasks.signals import task_enqueued
from django.utils import timezone

from aiostreamq.client.ended_job_info import enqueued_at
from aiostreamq.client.ids import new_job_id
from aiostreamq.contrib.django.backend_settings import (
    BackendSettings,
    lane_of,
    problems,
    settings_of,
)
from aiostreamq.contrib.django.records import USING, local, plain
from aiostreamq.contrib.django.results import find, result_of, task_called

if TYPE_CHECKING:
    from django.core import checks

    from aiostreamq.client.task import Enqueuer
    from aiostreamq.queue import Queue

P = ParamSpec("P")
R = TypeVar("R")


class AioStreamQBackend(BaseTaskBackend):
    """Enqueues Django's tasks as jobs of a queue in Redis, and finds their results.

    As in `TASKS = {"default": {"BACKEND": "aiostreamq.contrib.django.AioStreamQBackend"}}`.
    Workers run with `aiostreamq run aiostreamq.contrib.django.worker:queue`.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self._params = params

    @property
    def settings(self) -> BackendSettings:
        """The settings of the backend.

        Raises:
            InvalidTaskBackend: They are invalid.
        """
        return settings_of(self.alias, self._params)

    @property
    def queue(self) -> Queue:
        """The queue, for all that `django.tasks` has no name for. All threads share it.

        Raises:
            InvalidTaskBackend: The settings of the backend are invalid.
        """
        return self.settings.queue

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:  # noqa: ARG002  # as the base has it
        """Return what is wrong with the settings, for Django's system checks."""
        return list(problems(self.alias, self._params))

    def enqueue(
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]
    ) -> TaskResult[P, R]:
        """Enqueue a call, or have it enqueued when the transaction is committed.

        Returns:
            The result, which is READY. If it waits for a commit, its `enqueued_at` is None.

        Raises:
            InvalidTask: The task cannot be found by its path, or is invalid.
            TypeError: An argument is not JSON.
            As `Task.enqueue` of aiostreamq.
        """
        result = self._result(task, args, kwargs)
        database = self.settings.on_commit
        if database is None:
            self._send(result)
        else:
            transaction.on_commit(partial(self._send, result), using=database)
        return result

    def _send(self, result: TaskResult[..., Any]) -> None:
        call = self._call(result)
        self.queue.sync.enqueue(call, *result.args, **_arguments(result))
        _note_enqueued(result)
        task_enqueued.send(type(self), task_result=result)

    async def aenqueue(
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]
    ) -> TaskResult[P, R]:
        """Enqueue a call, in any event loop. As `enqueue`."""
        if self.settings.on_commit is not None:
            # The transaction belongs to the thread for code that is not asynchronous.
            return await sync_to_async(self.enqueue, thread_sensitive=True)(task, args, kwargs)
        result = self._result(task, args, kwargs)
        call = self._call(result).bind(*result.args, **_arguments(result))
        await self.queue.sync.enqueue_from_loop(call)
        _note_enqueued(result)
        await task_enqueued.asend(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult[..., Any]:
        """Return what is known about a job.

        Raises:
            TaskResultDoesNotExist: There is no such job, or its result has expired.
            BrokerError: Redis refused.
        """
        found = self.queue.sync.call(partial(find, job_id=str(result_id)))
        return result_of(str(result_id), self.alias, found)

    async def aget_result(self, result_id: str) -> TaskResult[..., Any]:
        """Return what is known about a job, in any event loop. As `get_result`."""
        look = partial(find, job_id=str(result_id))
        found = await self.queue.sync.call_from_loop(look)
        return result_of(str(result_id), self.alias, found)

    def _result(
        self, task: Task[P, R], args: list[Any], kwargs: dict[str, Any]
    ) -> TaskResult[P, R]:
        """Return the result of a call that is about to be enqueued."""
        self.validate_task(task)
        _check_path(task)
        return TaskResult(
            task=task,
            id=new_job_id(),
            status=TaskResultStatus.READY,
            enqueued_at=None,
            started_at=None,
            finished_at=None,
            last_attempted_at=None,
            args=plain(list(args)),
            kwargs=plain(dict(kwargs)),
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )

    def _call(self, result: TaskResult[..., Any]) -> Enqueuer[..., object]:
        task, at = result.task, result.task.run_after
        if at is not None and timezone.is_naive(at):
            at = timezone.make_aware(at)
        options = self.settings.task_options.copy()
        options["lane"] = lane_of(task.queue_name, task.priority)
        return self.queue.named(task.module_path).using(id=result.id, at=at, **options)


def _check_path(task: Task[..., Any]) -> None:
    path = task.module_path
    try:
        found = task_called(path)
    except ImportError as error:
        raise InvalidTask(f"{path!r} must be the task, so that workers find it: {error}") from error
    if found.func != task.func:
        raise InvalidTask(f"{path!r} is another task: give each its own name")


def _arguments(result: TaskResult[..., Any]) -> dict[str, Any]:
    """Return the keyword arguments of the job, with what `.using(...)` has changed."""
    task, defined = result.task, task_called(result.task.module_path)
    using: dict[str, Any] = {}
    if task.priority != defined.priority:
        using["priority"] = task.priority
    if task.queue_name != defined.queue_name:
        using["queue_name"] = task.queue_name
    if task.run_after is not None:
        using["run_after"] = task.run_after.isoformat()
    return {**result.kwargs, USING: using} if using else result.kwargs


def _note_enqueued(result: TaskResult[..., Any]) -> None:
    object.__setattr__(result, "enqueued_at", local(enqueued_at(result.id)))
