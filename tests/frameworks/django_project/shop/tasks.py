"""Its tasks."""

from __future__ import annotations

import asyncio
from typing import Any

from django.db import connection
from django.tasks import TaskContext, task

from tests.frameworks.django_project.shop.models import Order


@task
def add(one: int, two: int) -> int:
    """Return a sum."""
    return one + two


@task
async def add_async(one: int, two: int) -> int:
    """Return a sum."""
    await asyncio.sleep(0)
    return one + two


@task(queue_name="mail", priority=5)
def counted(text: str, *, times: int = 1) -> list[str]:
    """Return a list."""
    return [text] * times


@task
async def counted_async(text: str, *, times: int = 1) -> list[str]:
    """Return a list."""
    return [text] * times


@task
def fails(message: str) -> None:
    """Fail."""
    raise ValueError(message)


@task
async def fails_async(message: str) -> None:
    """Fail."""
    raise ValueError(message)


@task
def returns_no_json() -> Any:
    """Return what JSON cannot represent."""
    return object()


@task(takes_context=True)
def shows(context: TaskContext[..., Any], key: str) -> dict[str, Any]:
    """Return what the context has."""
    result = context.task_result
    return {
        "id": result.id,
        "attempt": context.attempt,
        "key": key,
        "args": result.args,
        "status": result.status,
    }


@task(backend="stubborn", takes_context=True)
def third_time(context: TaskContext[..., Any], until: int) -> list[str]:
    """Fail until this attempt; return the errors of those before."""
    if context.attempt < until:
        raise KeyError(f"attempt {context.attempt}")
    return [error.exception_class_path for error in context.task_result.errors]


@task(backend="stubborn", takes_context=True)
async def third_time_async(context: TaskContext[..., Any], until: int) -> list[str]:
    """Fail until this attempt; return the errors of those before."""
    if context.attempt < until:
        raise KeyError(f"attempt {context.attempt}")
    return [error.exception_class_path for error in context.task_result.errors]


@task(backend="after_commit")
def ship(order_id: int) -> str:
    """Ship an order, which has to be in the database."""
    order = Order.objects.get(pk=order_id)
    order.is_shipped = True
    order.save()
    return order.item


@task
async def ship_async(item: str) -> bool:
    """Use the models asynchronously."""
    order = await Order.objects.acreate(item=item)
    return await Order.objects.filter(pk=order.pk).aexists()


@task
def has_fresh_connection() -> bool:
    """Return whether no connection of an earlier task is left in this thread; open one."""
    was_closed = connection.connection is None
    Order.objects.exists()
    return was_closed


@task
def chains(one: int, two: int) -> str:
    """Enqueue another task."""
    return add.enqueue(one, two).id


@task
async def chains_async(one: int, two: int) -> str:
    """Enqueue another task."""
    return (await add_async.aenqueue(one, two)).id


@task
async def hangs(text: str) -> None:
    """Never end."""
    await asyncio.Event().wait()
