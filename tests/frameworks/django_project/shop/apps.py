"""Its set-up: it notes the signals of tasks in the database."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.tasks import TaskResult
from django.tasks.signals import task_enqueued, task_finished, task_started


class ShopConfig(AppConfig):
    """The app."""

    name = "tests.frameworks.django_project.shop"

    def ready(self) -> None:
        """Listen."""
        from tests.frameworks.django_project.shop.models import Seen

        def note(name: str) -> Any:
            def receive(sender: type, task_result: TaskResult[..., Any], **_: object) -> None:
                assert sender.__name__ == "AioStreamQBackend"
                if task_result.task.name in {"counted", "counted_async", "fails"}:
                    Seen.objects.create(
                        signal=name,
                        task=task_result.task.name,
                        status=task_result.status,
                        result_id=task_result.id,
                    )

            return receive

        for name, signal in (
            ("enqueued", task_enqueued),
            ("started", task_started),
            ("finished", task_finished),
        ):
            signal.connect(note(name), weak=False)
