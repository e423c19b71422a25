"""The hooks of a queue: what an application has it do around all its jobs."""

from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from aiostreamq.client.call import Refusal
from aiostreamq.client.middleware import (
    EnqueueCall,
    checked_answer,
    checked_enqueue_middleware,
    checked_middleware,
)
from aiostreamq.errors import UsageError
from aiostreamq.model.metadata import LONGEST_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiostreamq.client.call import Call, Using
    from aiostreamq.client.middleware import EnqueueMiddleware, Middleware
    from aiostreamq.model.task import TaskSpec

R = TypeVar("R")

_UNSET = object()


class Hooks:
    """The context variables whose values travel with the jobs of a queue, and its middleware."""

    def __init__(self) -> None:
        self.middleware: tuple[Middleware, ...] = ()  #: around each run, the outermost first
        self._enqueue_middleware: tuple[EnqueueMiddleware, ...] = ()
        self._carried: dict[str, ContextVar[Any]] = {}

    def wrap_runs(self, middleware: "Middleware") -> None:
        """Add middleware around each run, inside of all that there is.

        Raises:
            UsageError: It is not an `async def` that takes a call and `call_next`.
        """
        self.middleware += (checked_middleware(middleware),)

    def change_calls(self, middleware: "EnqueueMiddleware") -> None:
        """Add middleware that gets each call before it is enqueued, after all that there is.

        Raises:
            UsageError: It is not a `def` that takes a call.
        """
        self._enqueue_middleware += (checked_enqueue_middleware(middleware),)

    def carry(self, variable: ContextVar[Any]) -> None:
        """Have the values of a variable travel with jobs.

        Raises:
            UsageError: It is not a context variable, its name cannot travel, or another one has it.
        """
        if not isinstance(variable, ContextVar):  # pyright: ignore[reportUnnecessaryIsInstance]  # unchecked callers
            raise UsageError(f"queue.carry takes context variables, got {variable!r}")
        name = variable.name
        if not (0 < len(name) <= LONGEST_NAME and name.isprintable()):
            raise UsageError(
                f"queue.carry: the context variable {name!r} has an invalid name: values travel "
                f"by name, so give it one of 1 to {LONGEST_NAME} printable characters"
            )
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
        """Return a call as it is enqueued here.

        Raises:
            Refusal: Middleware refuses it.
            AttributeError: It is not a call.
        """
        given = call.spec, call.using, call.args, call.kwargs
        try:
            using = self.applied(*given, is_bulk=True)
        except Exception as error:
            raise Refusal(error) from error
        return replace(call, using=using)

    def applied(
        self,
        spec: "TaskSpec",
        using: "Using",
        args: "Sequence[object]",
        kwargs: "Mapping[str, object]",
        *,
        is_bulk: bool = False,
    ) -> "Using":
        """Return the options of a job as it is enqueued here.

        Args:
            spec: Its task.
            using: The options that its caller gave.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
            is_bulk: Whether it is one of many that are enqueued together.

        Raises:
            Exception: Any by which middleware refuses it.
        """
        if self._enqueue_middleware:
            call = EnqueueCall(spec.name, tuple(args), kwargs, using, is_bulk)
            for middleware in self._enqueue_middleware:
                call = checked_answer(middleware, middleware(call))
            using = call.asked
        carried = self.carried_values()
        return replace(using, fields={**using.fields, "carried": carried}) if carried else using
