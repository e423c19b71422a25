"""Overrides: functions that tests put in the place of dependencies and lifespans."""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.functions.lifespan import Lifespan

if TYPE_CHECKING:
    from aiostreamq.model.functions.dependency_plan import Plan
    from aiostreamq.model.functions.signature import TaskSignature

Function = Callable[..., object]


class Overrides:
    """The overrides of one queue object, in this process."""

    def __init__(self) -> None:
        self._functions: dict[Function, Function] = {}
        self._plans: dict[TaskSignature, Plan] = {}  # as the present overrides make them

    def __bool__(self) -> bool:
        return bool(self._functions)

    def plan_of(self, signature: "TaskSignature", plan: "Plan") -> "Plan":
        """Return *plan*, the plan of a task, with the overrides.

        Raises:
            UsageError: A function in the place of a dependency needs what cannot be provided.
        """
        if not self._functions:
            return plan
        found = self._plans.get(signature)
        if found is None:
            found = self._plans[signature] = signature.filled_in.plan_with(self._functions)
        return found

    def of_lifespan(self, lifespan: Lifespan[object]) -> Lifespan[object]:
        """Return the lifespan to enter in place of *lifespan*, or itself."""
        found = self._functions.get(lifespan)
        return lifespan if found is None else _as_lifespan(found)

    @contextmanager
    def put(
        self, dependency: Function, replacement: Function, signatures: "Iterable[TaskSignature]"
    ) -> "Generator[None]":
        """Put *replacement* in the place of *dependency* while the context is open.

        Args:
            dependency: A dependency, or a lifespan.
            replacement: The other function.
            signatures: The signatures of all tasks with dependencies, to find mistakes now.

        Raises:
            UsageError: *replacement* cannot stand there.
        """
        for one in (dependency, replacement):
            if not callable(one):
                kind = type(one).__qualname__
                raise UsageError(
                    f"queue.override was given an object of type {kind!r}: give it two functions, "
                    f"as in queue.override(get_session, lambda: fake)"
                )
        try:
            hash((dependency, replacement))
        except TypeError as error:
            raise UsageError(f"queue.override: {error}: wrap the object in a function") from None
        if isinstance(dependency, Lifespan):
            _as_lifespan(replacement)
        earlier, changed = self._functions, dict(self._functions)
        changed[cast("Function", dependency)] = replacement
        for signature in signatures:
            signature.filled_in.plan_with(changed)
        self._set(changed)
        try:
            yield
        finally:
            self._set(earlier)

    def _set(self, functions: dict[Function, Function]) -> None:
        self._functions = functions
        self._plans = {}


def _as_lifespan(function: Function) -> Lifespan[object]:
    if isinstance(function, Lifespan):
        return cast("Lifespan[object]", function)
    return Lifespan(function)
