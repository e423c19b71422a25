"""The backend of `django.tasks` in one process: its settings, checks and limits."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.core import checks
from django.tasks import TaskResult, task, task_backends
from django.tasks.exceptions import InvalidTask, InvalidTaskBackend, TaskResultDoesNotExist
from django.test import override_settings

from aiostreamq import Retry, Worker
from tests.support.waiting import wait_until

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.frameworks.django_project.settings"
django.setup()

from aiostreamq.contrib.django import AioStreamQBackend  # noqa: E402  # after the set-up
from aiostreamq.contrib.django.backend_settings import lane_of  # noqa: E402
from aiostreamq.contrib.django.serving import register  # noqa: E402
from tests.frameworks.django_project.shop import tasks, views  # noqa: E402

assert views  # system checks import it, and its tasks must not meet wrong settings

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKEND = "aiostreamq.contrib.django.AioStreamQBackend"


def settings(queues: object = None, **options: object) -> dict[str, Any]:
    """Return TASKS with one backend."""
    found: dict[str, Any] = {"BACKEND": BACKEND, "OPTIONS": options}
    return {"default": found if queues is None else found | {"QUEUES": queues}}


def queue_of_default() -> object:
    """Return the queue of the default backend."""
    found = task_backends["default"]
    assert isinstance(found, AioStreamQBackend)
    return found.queue


@pytest.fixture
def backend(redis_url: str) -> Iterator[AioStreamQBackend]:
    """The default backend of the project, on the server of the tests."""
    with override_settings(TASKS=settings(["default", "mail"], url=redis_url)):
        found = task_backends["default"]
        assert isinstance(found, AioStreamQBackend)
        yield found
        found.queue.sync.close()


WRONG = [
    (settings(nmae="a"), "write name="),
    (settings(name="with space"), "with space"),
    (settings(url="http://a"), "Redis URL"),
    (settings(url=7), "7"),
    (settings(max_payload=0), "max_payload"),
    (settings(strict_priority="yes"), "strict_priority"),
    (settings(when_full="wait"), "when_full"),
    (settings(timeout=-1), "timeout"),
    (settings(retry=3), "retry"),
    (settings(result_ttl="soon"), "result_ttl"),
    (settings(on_commit="other"), "on_commit"),
    (settings(on_commit=1), "on_commit"),
    (settings([]), "QUEUES"),
    (settings("default"), "QUEUES"),
    (settings(["with space"]), "with space"),
    (settings([7]), "7"),
    (settings(["a", "a:low"]), "another name"),
]


@pytest.mark.parametrize(("wrong", "says"), WRONG)
def test_wrong_settings_are_system_checks(wrong: dict[str, Any], says: str) -> None:
    """Each wrong setting is an error of `manage.py check`, and of the first use."""
    with override_settings(TASKS=wrong):
        (found,) = checks.run_checks()
        assert found.id == "aiostreamq.E001"
        assert "TASKS['default']" in found.msg
        assert says in found.msg
        if says != "Redis URL":  # the URL is looked at by the first call
            with pytest.raises(InvalidTaskBackend, match="TASKS"):
                _ = queue_of_default()


@pytest.mark.parametrize("options", [{}, {"on_commit": "default"}, {"retry": Retry(3)}])
def test_right_settings_pass(options: dict[str, Any]) -> None:
    """Settings that work raise no check, without a connection."""
    with override_settings(TASKS=settings(url="redis://127.0.0.1:1", **options)):
        assert checks.run_checks() == []


def test_flags() -> None:
    """The backend supports all that Django has a flag for."""
    names = ("defer", "async_task", "get_result", "priority")
    assert all(getattr(AioStreamQBackend, f"supports_{name}") for name in names)


def test_priorities_are_bands(backend: AioStreamQBackend) -> None:
    """Each priority has one of three lanes of its Django queue, which the queue serves."""
    for name in ("default", "mail"):
        lanes = [lane_of(name, priority) for priority in range(-100, 101)]
        assert lanes == [f"{name}:low"] * 100 + [name] + [f"{name}:high"] * 100
        assert set(lanes) <= set(backend.queue.lanes)


def test_invalid_tasks_are_refused(backend: AioStreamQBackend) -> None:
    """A task that no worker could run is refused early."""

    def inner() -> None: ...

    for refused in (
        lambda: task(inner),
        lambda: tasks.add.using(queue_name="unknown"),
        lambda: tasks.add.using(priority=101),
        lambda: task(hidden).enqueue(),
    ):
        with pytest.raises(InvalidTask):
            refused()


def hidden() -> None:
    """Be a function, and not a task."""


@pytest.mark.parametrize("argument", [object(), {1, 2}, threading])
def test_arguments_are_json(backend: AioStreamQBackend, argument: object) -> None:
    """An argument that is not JSON is a TypeError, as with Django's own backends."""
    with pytest.raises(TypeError):
        tasks.counted.enqueue(argument)  # type: ignore[arg-type]  # the mistake


async def test_short_event_loops(backend: AioStreamQBackend) -> None:
    """Calls from many event loops at once, each of one call, all work."""

    def enqueue(number: int) -> str:
        return async_to_sync(tasks.add.aenqueue)(number, 1).id

    async def both(number: int) -> str:
        found = await asyncio.to_thread(enqueue, number)
        return (await tasks.add.aget_result(found)).id

    ids = await asyncio.gather(*(both(number) for number in range(20)))
    assert len(set(ids)) == 20
    loops = [asyncio.to_thread(asyncio.run, tasks.add.aget_result(one)) for one in ids]  # type: ignore[arg-type]  # a coroutine
    assert [one.id for one in await asyncio.gather(*loops)] == ids


def test_results_of_others(backend: AioStreamQBackend) -> None:
    """A job whose task is not one of Django's has no result here."""
    job = backend.queue.sync.enqueue("no.such.task", 1)
    for wrong in (job.id, "unknown", "with space", "ä" * 300):
        with pytest.raises(TaskResultDoesNotExist):
            backend.get_result(wrong)


def test_threads_share_a_queue(backend: AioStreamQBackend) -> None:
    """Django makes a backend in each thread; their queue is the same."""
    found: list[object] = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: found.append(queue_of_default()))
        thread.start()
        thread.join()
    assert found == [backend.queue] * 3


@pytest.mark.may_block("Django reads its settings and modules at their first use")
async def test_ends_of_running_tasks(redis_url: str) -> None:
    """A task that ran out of time has FAILED, with its arguments; so has one that was cancelled."""
    with override_settings(TASKS=settings(["default", "mail"], url=redis_url, timeout="0.5s")):
        backend = task_backends["default"]
        assert isinstance(backend, AioStreamQBackend)
        register(backend, tasks.hangs.module_path)
        async with backend.queue as queue, Worker(queue):
            late = await tasks.hangs.aenqueue("late")
            await wait_until_finished(late)
            stopped = await tasks.hangs.aenqueue("stopped")
            await wait_until(lambda: has_status(stopped, "RUNNING"), "the task to run")
            assert stopped.worker_ids
            await queue.job(stopped.id).cancel()
            await wait_until_finished(stopped)
    for result, error in (
        (late, "builtins.TimeoutError"),
        (stopped, "aiostreamq.errors.JobCancelled"),
    ):
        assert result.status == "FAILED"
        assert [one.exception_class_path for one in result.errors] == [error]
        assert issubclass(result.errors[0].exception_class, Exception)
    assert late.args == ["late"]
    assert late.finished_at is not None


async def has_status(result: TaskResult[..., Any], status: str) -> bool:
    """Refresh a result; return whether it has this status."""
    await result.arefresh()
    return result.status == status


async def wait_until_finished(result: TaskResult[..., Any]) -> None:
    """Wait until a task has failed."""
    await wait_until(lambda: has_status(result, "FAILED"), "the task to end")
