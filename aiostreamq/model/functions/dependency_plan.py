"""The plan by which a worker provides the dependencies of a task, made when it is registered.

A plan is a list of steps. Each makes one value, from the values of steps before it.
"""

import inspect
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.functions.callables import called, signature_of
from aiostreamq.model.functions.context_parameter import context_parameter
from aiostreamq.model.functions.dependency import (
    Dependency,
    Scope,
    dependencies_in,
    name_of_dependency,
    without_dependencies,
)
from aiostreamq.model.functions.lifespan import Lifespan
from aiostreamq.model.functions.type_hints import Hints
from aiostreamq.model.record import record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

Function = Callable[..., object]

#: Functions that overrides put in place of others.
Replacements = Mapping[Function, Function]

#: How a step makes its value: by a call on the event loop, by one in a thread, by a call that is
#: awaited, by a context manager of either kind, or as the state of a lifespan.
Style = Literal["plain", "threaded", "awaited", "context", "async_context", "state"]

#: In place of the number of a step: the context of the run.
CONTEXT = -1

_REST = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


@record
class Step:
    """One value, and the way to make it."""

    name: str  #: for messages
    function: Function  #: what is called; for a context, it returns the manager
    style: Style
    scope: Scope
    inputs: tuple[tuple[str, int], ...]  #: names of parameters, and numbers of steps
    key: Function  #: the dependency, by which values are shared


@record
class Plan:
    """The steps for one task, in an order in which they can be taken."""

    steps: tuple[Step, ...]
    targets: tuple[tuple[str, int], ...]  #: parameters of the task, and numbers of steps
    needs_context: bool  #: whether a step needs the context of the run

    @property
    def has_worker_scope(self) -> bool:
        """Whether a value lives as long as the worker."""
        return any(step.scope == "worker" for step in self.steps)


class PlanBuilder:
    """Finds the steps of one plan."""

    def __init__(self, task: str, context: type, replaced: Replacements | None = None) -> None:
        """Prepare.

        Args:
            task: The name of the task, for messages.
            context: The class of the context.
            replaced: The overrides.
        """
        self._task = task
        self._context = context
        self._replaced = replaced or {}
        self._steps: list[Step] = []
        self._cached: dict[tuple[Function, Scope], int] = {}

    def build(self, wanted: Mapping[str, Dependency]) -> Plan:
        """Return the plan for the parameters of the task.

        Raises:
            UsageError: A dependency cannot be provided.
        """
        targets = tuple((name, self._add(one, "job", ())) for name, one in wanted.items())
        return Plan(tuple(self._steps), targets, _has_context(self._steps))

    def _add(self, dependency: Dependency, scope: Scope, path: tuple[Function, ...]) -> int:
        """Add the steps for a dependency of something of *scope*; return the number of the last."""
        given = dependency.function
        if type(given) is Lifespan:
            state = cast("Lifespan[object]", given)
            step = Step(state.name, state, "state", "worker", (), state)
            return self._keep(state, "worker", step)
        function = self._replaced.get(given, given)
        if scope == "worker" and dependency.scope == "job":
            raise UsageError(
                f"task {self._task!r}: dependency {name_of_dependency(path[-1])!r} has the scope "
                f"'worker' and depends on {dependency.name!r}, which has the scope 'job': write "
                f"Depends({dependency.name}, scope='worker')"
            )
        if function in path:
            names = [name_of_dependency(one) for one in (*path[path.index(function) :], function)]
            raise UsageError(
                f"task {self._task!r}: dependencies depend on each other: {' -> '.join(names)}"
            )
        found = self._cached.get((function, dependency.scope))
        if found is not None and dependency.use_cache:
            return found
        inputs = self._inputs(function, dependency.scope, path)
        name = name_of_dependency(function)
        opener, style = _style_of(function)
        step = Step(name, opener, style, dependency.scope, inputs, function)
        return self._keep(function, dependency.scope, step)

    def _keep(self, key: Function, scope: Scope, step: Step) -> int:
        if step.style == "state" and (key, scope) in self._cached:
            return self._cached[key, scope]
        self._steps.append(step)
        self._cached[key, scope] = len(self._steps) - 1
        return len(self._steps) - 1

    def _inputs(
        self, function: Function, scope: Scope, path: tuple[Function, ...]
    ) -> tuple[tuple[str, int], ...]:
        whose = f"task {self._task!r}: dependency {name_of_dependency(function)!r}"
        signature = signature_of(whose, function)
        hints = _hints_of(whose, function, signature, self._context)
        wanted = dependencies_in(whose, signature, hints)
        context_name, _ = context_parameter(whose, signature, hints, self._context)
        inputs: list[tuple[str, int]] = []
        for name, parameter in signature.parameters.items():
            if name in wanted:
                inputs.append((name, self._add(wanted[name], scope, (*path, function))))
            elif name == context_name:
                _check_context(whose, parameter, scope)
                inputs.append((name, CONTEXT))
            elif parameter.default is parameter.empty and parameter.kind not in _REST:
                raise UsageError(
                    f"{whose} has the parameter {name!r}, which is neither a dependency nor the "
                    f"context: give it Depends(...) or a default value"
                )
        return tuple(inputs)


def _has_context(steps: list[Step]) -> bool:
    return any(number == CONTEXT for step in steps for _, number in step.inputs)


def _check_context(whose: str, parameter: inspect.Parameter, scope: Scope) -> None:
    if scope == "worker":
        raise UsageError(
            f"{whose} has the scope 'worker' and the parameter {parameter.name!r} for the context: "
            f"a context belongs to one job"
        )
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise UsageError(f"{whose}: the context {parameter.name!r} cannot be passed by name")


def _hints_of(
    whose: str, function: Function, signature: inspect.Signature, context: type
) -> Mapping[str, object]:
    """Return the annotations of the parameters that may be dependencies, or the context."""
    bare = without_dependencies(signature).replace(return_annotation=signature.empty)
    asked = bare.parameters.values()
    initializer: Any = function.__init__ if isinstance(function, type) else function
    hints = Hints(whose, cast("Function", initializer), bare, context)
    if any(one.default is one.empty and one.name not in hints.found for one in asked):
        return hints.complete() if not hints.are_complete else hints.found
    return hints.found


def _style_of(function: Function) -> tuple[Function, Style]:
    """Return what a step calls, and how."""
    if isinstance(function, type):
        return function, "plain"  # most are quick, and some belong to the event loop
    code = called(function)
    if inspect.isasyncgenfunction(code):
        opener = asynccontextmanager(cast("Callable[..., AsyncGenerator[object]]", function))
        return opener, "async_context"
    if inspect.isgeneratorfunction(code):
        return contextmanager(cast("Callable[..., Generator[object]]", function)), "context"
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(code):
        return function, "awaited"
    return function, _DECORATED.get(getattr(function, "__code__", None), "threaded")


@asynccontextmanager
async def _async_example() -> "AsyncGenerator[None]":
    yield


@contextmanager
def _example() -> "Generator[None]":
    yield


# The decorators of contextlib return functions that share their code.
_DECORATED: dict[object, Style] = {
    cast("Any", _async_example).__code__: "async_context",
    cast("Any", _example).__code__: "context",
}
