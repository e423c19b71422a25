"""Its views."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, cast

from asgiref.sync import async_to_sync
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.tasks import Task, TaskResult, default_task_backend
from django.tasks.exceptions import TaskResultDoesNotExist
from django.views.decorators.csrf import csrf_exempt

from tests.frameworks.django_project.shop import more, tasks
from tests.frameworks.django_project.shop.models import Order


def as_json(result: TaskResult[..., Any]) -> JsonResponse:
    """Return all that a result has."""
    is_done = result.status == "SUCCESSFUL"
    return JsonResponse(
        {
            "id": result.id,
            "task": result.task.module_path,
            "priority": result.task.priority,
            "queue_name": result.task.queue_name,
            "run_after": result.task.run_after,
            "backend": result.backend,
            "status": result.status,
            "enqueued_at": result.enqueued_at,
            "started_at": result.started_at,
            "finished_at": result.finished_at,
            "last_attempted_at": result.last_attempted_at,
            "args": result.args,
            "kwargs": result.kwargs,
            "errors": [[e.exception_class_path, e.traceback] for e in result.errors],
            "worker_ids": result.worker_ids,
            "attempts": result.attempts,
            "return_value": result.return_value if is_done else None,
        }
    )


def called(name: str, request: HttpRequest) -> tuple[Task[..., Any], list[Any], dict[str, Any]]:
    """Return the task and the arguments of a request."""
    body = json.loads(request.body)
    found: Task[..., Any] = getattr(tasks, name, None) or getattr(more, name)
    if using := body.get("using"):
        if "run_after" in using:
            using["run_after"] = datetime.fromisoformat(using["run_after"])
        found = found.using(**using)
    return found, body.get("args", []), body.get("kwargs", {})


@csrf_exempt
def enqueue(request: HttpRequest, name: str) -> HttpResponse:
    """Enqueue a call."""
    task, args, kwargs = called(name, request)
    return as_json(task.enqueue(*args, **kwargs))


@csrf_exempt
async def aenqueue(request: HttpRequest, name: str) -> HttpResponse:
    """Enqueue a call in an event loop."""
    task, args, kwargs = called(name, request)
    return as_json(await task.aenqueue(*args, **kwargs))


@csrf_exempt
def bridged(request: HttpRequest, name: str) -> HttpResponse:
    """Enqueue a call in an event loop that asgiref makes for it."""
    task, args, kwargs = called(name, request)
    return as_json(async_to_sync(task.aenqueue)(*args, **kwargs))


def result(request: HttpRequest, result_id: str) -> HttpResponse:
    """Show a result."""
    backend = request.GET.get("backend")
    found = default_task_backend if backend is None else _backend(backend)
    try:
        return as_json(found.get_result(result_id))
    except TaskResultDoesNotExist:
        return HttpResponse("no such result", status=404)


async def aresult(request: HttpRequest, result_id: str) -> HttpResponse:
    """Show a result."""
    backend = request.GET.get("backend")
    found = default_task_backend if backend is None else _backend(backend)
    try:
        return as_json(await found.aget_result(result_id))
    except TaskResultDoesNotExist:
        return HttpResponse("no such result", status=404)


def _backend(alias: str) -> Any:
    from django.tasks import task_backends

    return task_backends[alias]


@csrf_exempt
def order(request: HttpRequest) -> HttpResponse:
    """Make an order and have it shipped, unless it fails in between."""
    return _order(request)


@csrf_exempt
async def aorder(request: HttpRequest) -> HttpResponse:
    """Do the same in a view that is asynchronous: the transaction is not."""
    from asgiref.sync import sync_to_async

    return await sync_to_async(_order)(request)


def _order(request: HttpRequest) -> HttpResponse:
    body = cast("dict[str, Any]", json.loads(request.body))
    state: dict[str, Any] = {}
    try:
        with transaction.atomic():
            made = Order.objects.create(item=body["item"])
            shipping = tasks.ship.enqueue(made.pk)
            state["id"] = shipping.id
            state["enqueued_before_commit"] = shipping.enqueued_at is not None
            if body.get("fails"):
                raise RuntimeError("no")
    except RuntimeError:
        state["rolled_back"] = True
    return JsonResponse(state)
