"""The schedules that code declares, with `@queue.cron` and `@queue.every`."""

from typing import TYPE_CHECKING

from aiostreamq.client.schedules.given_schedule import Declaration
from aiostreamq.errors import UsageError
from aiostreamq.model.keys import checked_name

if TYPE_CHECKING:
    from aiostreamq.client.call import Call
    from aiostreamq.client.schedules.given_schedule import ScheduleHome, ScheduleOptions
    from aiostreamq.client.task import Enqueuer
    from aiostreamq.model.schedules.definition import Definition
    from aiostreamq.model.task import TaskSpec


class DeclaredSchedules:
    """The schedules that code declares, for the workers that run this code."""

    def __init__(self, queue: "ScheduleHome") -> None:
        self._queue = queue
        self._by_name: dict[str, Declaration] = {}

    def add(
        self,
        name: str | None,
        task: "Enqueuer[..., object] | Call[object]",
        options: "ScheduleOptions",
    ) -> None:
        """Add a schedule; *name* is that of its task by default.

        Raises:
            UsageError: The name is already declared, or an argument is invalid.
            PayloadError: An argument of the call cannot be sent as JSON.
        """
        called = checked_name("schedule", name or task.spec.name)
        if called in self._by_name and not self._is_replaced(self._by_name[called].call.spec):
            raise UsageError(
                f"queue {self._queue.name!r} already has a schedule {called!r}: give one of them "
                f"another name with name='...'"
            )
        self._by_name[called] = Declaration.of(self._queue, task, options)

    def discard(self, name: str) -> None:
        """Remove the schedule *name*."""
        del self._by_name[name]

    def definitions(self) -> "dict[str, Definition]":
        """Return the schedules by name, with encoded arguments, as workers store them.

        Raises:
            PayloadError: A call is too long.
        """
        writer = self._queue.session().enqueuing
        return {name: one.definition(writer) for name, one in self._by_name.items()}

    def _is_replaced(self, spec: "TaskSpec") -> bool:
        """Return whether the task of *spec* was defined again since, and so is its schedule."""
        now = self._queue.spec_of(spec.name)
        return spec.function is not None and now is not None and now is not spec
