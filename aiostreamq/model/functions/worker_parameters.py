"""The parameters that the worker fills in: the context, and dependencies."""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from aiostreamq.errors import UsageError
from aiostreamq.model.functions.context_parameter import context_parameter
from aiostreamq.model.functions.dependency import dependencies_in

if TYPE_CHECKING:
    from aiostreamq.model.functions.dependency_plan import Plan, Replacements

Arguments = Sequence[object]
Keywords = Mapping[str, object]

_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


class WorkerParameters:
    """The parameters of one task that callers leave out."""

    def __init__(
        self, task: str, whole: inspect.Signature, hints: Mapping[str, object], context_type: type
    ) -> None:
        """Find them.

        Args:
            task: The name of the task.
            whole: The signature of its function.
            hints: The annotations that are resolved.
            context_type: The class of the context.

        Raises:
            UsageError: The worker cannot fill one of them in.
        """
        whose = f"task {task!r}"
        self._task = task
        self._whole = whole
        self._context_type = context_type
        #: name and position of the context parameter; the position is None if it is keyword-only
        self.context_name, self._context_place = context_parameter(
            whose, whole, hints, context_type
        )
        self._dependencies = dependencies_in(whose, whole, hints)
        #: how the dependencies are provided; None if there are none
        self.plan = self.plan_with(None) if self._dependencies else None
        self._is_place_only = (
            self.context_name is not None
            and whole.parameters[self.context_name].kind is inspect.Parameter.POSITIONAL_ONLY
        )

    @property
    def names(self) -> "set[str | None]":
        """Their names."""
        return {self.context_name, *self._dependencies}

    def plan_with(self, replaced: "Replacements | None") -> "Plan":
        """Return how the dependencies are provided, with other functions in place of some.

        Raises:
            UsageError: A dependency cannot be provided.
        """
        # Imported late: most tasks have no dependencies.
        from aiostreamq.model.functions.dependency_plan import PlanBuilder

        builder = PlanBuilder(self._task, self._context_type, replaced)
        return builder.build(self._dependencies)

    def refuse_given(self, kwargs: Keywords) -> None:
        """Raise UsageError if one of them is among the arguments of a call."""
        # `**kwargs` would accept it, and it would replace the worker's.
        given = self._dependencies.keys() & kwargs.keys()
        if self.context_name in kwargs and not self._is_place_only:
            given.add(self.context_name or "")
        if given:
            raise UsageError(
                f"invalid call of task {self._task!r}: the worker fills in {min(given)!r}: leave "
                f"it out"
            )

    def refuse_late(self, hints: Mapping[str, object], known: Mapping[str, object]) -> None:
        """Raise UsageError if an annotation that was resolved late holds a dependency.

        Args:
            hints: All annotations.
            known: The parameters that callers give.
        """
        for name in known:
            parameter = self._whole.parameters[name].replace(default=inspect.Parameter.empty)
            alone = inspect.Signature([parameter.replace(kind=parameter.KEYWORD_ONLY)])
            if dependencies_in(f"task {self._task!r}", alone, hints):
                raise UsageError(
                    f"task {self._task!r}: the annotation of {name!r} holds a dependency, and was "
                    f"not defined yet when the task was registered: define it before the task"
                )

    def with_context(
        self, args: Arguments, kwargs: Keywords, context: object
    ) -> tuple[Arguments, Keywords]:
        """Return the arguments with *context* inserted at its parameter."""
        if self.context_name is None:
            return args, kwargs
        place = self._context_place
        if place is not None and self._is_place_only and place > len(args):
            left_out = list(self._whole.parameters.values())[len(args) : place]
            args = [*args, *(parameter.default for parameter in left_out)]
        if place is not None and place <= len(args):
            return [*args[:place], context, *args[place:]], kwargs
        return args, {**kwargs, self.context_name: context}

    def with_values(
        self, args: Arguments, kwargs: Keywords, context: object, values: Keywords
    ) -> tuple[Arguments, Keywords]:
        """Return the arguments with the context and the values of dependencies inserted.

        Args:
            args: The positional arguments.
            kwargs: The keyword arguments.
            context: The context, if there is a parameter for it.
            values: The values of the dependencies, by the names of their parameters.
        """
        # In the order of the parameters, so that each finds the earlier ones in their places.
        for place, (name, parameter) in enumerate(self._whole.parameters.items()):
            if name == self.context_name:
                args, kwargs = self.with_context(args, kwargs, context)
            elif name in values and parameter.kind in _POSITIONAL and place <= len(args):
                args = [*args[:place], values[name], *args[place:]]
            elif name in values:
                kwargs = {**kwargs, name: values[name]}
        return args, kwargs
