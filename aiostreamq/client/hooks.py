"""The hooks of a queue: what an application has it do around all its jobs."""

from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiostreamq.client.call import Call, Using

R = TypeVar("R")

_UNSET = object()


class Hooks:
    """The context variables whose values travel with the jobs of a queue."""

    def __init__(self) -> None:
        self._carried: dict[str, ContextVar[Any]] = {}

    def carry(self, variable: ContextVar[Any]) -> None:
        """Have the values of a variable travel with jobs.

        Raises:
            UsageError: It is not a context variable, or another one has its name.
        """
        if not isinstance(variable, ContextVar):  # pyright: ignore[reportUnnecessaryIsInstance]  # unchecked callers
            raise UsageError(f"queue.carry takes context variables, got {variable!r}")
        if self._carried.setdefault(variable.name, variable) is not variable:
            raise UsageError(
                f"queue.carry: two context variables have the name {variable.name!r}, by which "
                f"their values travel: give one of them another name"
            )

    def carried_values(self) -> dict[str, object]:
        """Return the values of the carried variables that are set here, by name."""
        found = ((name, variable.get(_UNSET)) for name, variable in self._carried.items())
        return {name: value for name, value in found if value is not _UNSET}

    def restore(self, values: "Mapping[str, object]") -> None:
        """Set the carried variables in the context of a job; skip values of other names."""
        for name, value in values.items():
            if (variable := self._carried.get(name)) is not None:
                variable.set(value)

    def applied_to(self, call: "Call[R]") -> "Call[R]":
        """Return a call that is enqueued here, with the values that its job carries."""
        return replace(call, using=self.applied(call.using))

    def applied(self, using: "Using") -> "Using":
        """Return the options of a job that is enqueued here, with the values that it carries."""
        carried = self.carried_values()
        return replace(using, fields={**using.fields, "carried": carried}) if carried else using
