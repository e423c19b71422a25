"""The tasks of Django as tasks of a queue, for workers.

A worker knows the tasks in the `tasks` modules of the installed apps from its start. A task in
another module is imported when its first job comes: the job is parked for a moment.
"""

import sys
from inspect import iscoroutinefunction
from types import SimpleNamespace
from typing import Any, cast

from django.tasks import task_backends
from django.tasks.base import Task
from django.utils.module_loading import autodiscover_modules

from aiostreamq.contrib.django.attempts import async_runner, sync_runner
from aiostreamq.contrib.django.backend import AioStreamQBackend
from aiostreamq.contrib.django.results import task_called
from aiostreamq.errors import UsageError
from aiostreamq.logs import get_logger
from aiostreamq.queue import Queue
from aiostreamq.telemetry import JobParked, TelemetryEvent

logger = get_logger("aiostreamq.contrib.django")


def serve() -> SimpleNamespace:
    """Register the tasks of all installed apps; return the queue of each backend, by its alias.

    Raises:
        InvalidTaskBackend: The settings of a backend are invalid.
        UsageError: `TASKS` has no backend of this kind.
    """
    autodiscover_modules("tasks")
    queues = {
        alias: _serve(cast("AioStreamQBackend", task_backends[alias]))
        for alias in task_backends
        if isinstance(task_backends[alias], AioStreamQBackend)
    }
    if not queues:
        raise UsageError(
            "TASKS has no backend for this worker: set BACKEND to "
            "'aiostreamq.contrib.django.AioStreamQBackend'"
        )
    return SimpleNamespace(**queues)


def _serve(backend: AioStreamQBackend) -> Queue:
    queue = backend.queue
    for path in _paths(backend.alias):
        register(backend, path)

    def find(event: TelemetryEvent) -> None:
        if isinstance(event, JobParked) and event.task not in queue.tasks:
            _import(backend, event.task)

    queue.on_event(find)
    return queue


def _paths(alias: str) -> set[str]:
    """Return the paths of the tasks that loaded modules define for a backend."""
    return {
        value.module_path
        for name, module in list(sys.modules.items())
        for value in list(getattr(module, "__dict__", {}).values())
        if issubclass(type(value), Task)  # not isinstance: lazy objects would be evaluated
        if value.backend == alias and value.func.__module__ == name
    }


def register(backend: AioStreamQBackend, path: str) -> None:
    """Make the task at *path* one of the queue of *backend*.

    Raises:
        ImportError: There is no such task.
    """
    task = task_called(path)
    make = async_runner if iscoroutinefunction(task.func) else sync_runner
    runner = make(backend.alias, backend.queue, type(backend))
    options: dict[str, Any] = dict(backend.settings.task_options)
    first, *_ = backend.queue.lanes
    backend.queue.task(name=path, lane=first, **options)(runner)


def _import(backend: AioStreamQBackend, path: str) -> None:
    try:
        register(backend, path)
    except Exception as error:  # noqa: BLE001  # the module may raise anything
        logger.warning(
            "cannot import task %r: its jobs stay parked until a worker can: %s", path, error
        )
