"""What a task's function takes, read once from its signature."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import cast

from aiostreamq.errors import PayloadError, UsageError
from aiostreamq.model.annotations import Restorer, is_plain
from aiostreamq.model.function import signature_of, style_of, travelling
from aiostreamq.model.hints import RETURN, Hints
from aiostreamq.model.injected import context_parameter
from aiostreamq.model.wire import encode

Arguments = Sequence[object]
Keywords = Mapping[str, object]

_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


class TaskSignature:
    """Checks calls of one function, and carries their values over JSON."""

    def __init__(self, name: str, function: Callable[..., object], context_type: type) -> None:
        """Read *function*; a parameter annotated *context_type* is not the caller's to give.

        Raises:
            UsageError: A parameter cannot be carried, or its annotation can never be looked up.
        """
        self._name = name
        self._function = function
        #: the signature with the parameter for the context
        self.whole = signature = signature_of(name, function)
        self._hints = Hints(name, function, signature, context_type)
        #: how the function gives its result
        self.style = style_of(name, function, self._hints.found.get(RETURN))
        #: the parameter for the context, and its place; None where it takes it by name only
        self.context_name, self.context_place = context_parameter(
            name, signature, self._hints.found, context_type
        )
        self._signature = signature.replace(
            parameters=[p for p in signature.parameters.values() if p.name != self.context_name]
        )
        kinds = [p.kind for p in self._signature.parameters.values()]
        self._is_simple = all(kind in _POSITIONAL for kind in kinds)
        self._most = len(kinds)
        self._fewest = sum(
            p.default is inspect.Parameter.empty for p in self._signature.parameters.values()
        )
        if self._hints.are_complete:
            _ = self._restorers, self._result  # so that a missing extra shows at registration

    @cached_property
    def _restorers(self) -> dict[str, Restorer]:
        hints = self._resolved_hints
        return {
            name: Restorer(hints[name], f"argument {name!r} of task {self._name!r}")
            for name in self._signature.parameters
            if name in hints and not is_plain(hints[name])
        }

    @cached_property
    def _result(self) -> Restorer | None:
        annotation = travelling(self._function, self._resolved_hints.get(RETURN))
        if is_plain(annotation):
            return None
        return Restorer(annotation, f"the result of task {self._name!r}")

    @cached_property
    def _resolved_hints(self) -> dict[str, object]:
        return self._hints.complete()

    def write_arguments(self, args: Arguments, kwargs: Keywords) -> tuple[Arguments, Keywords]:
        """Return the arguments as orjson can write them.

        Raises:
            UsageError: The function could not be called so.
            PayloadError: An argument is not what its annotation says.
        """
        # Most calls can be seen to fit without binding them, which costs 5 µs.
        if kwargs or not self._is_simple or not self._fewest <= len(args) <= self._most:
            self._check(args, kwargs)
        if not self._restorers:
            return args, kwargs
        return self._each(args, kwargs, lambda restorer, value: restorer.write(value))

    def _check(self, args: Arguments, kwargs: Keywords) -> None:
        # Where it would fit into **names, it would take the place of the worker's.
        if self.context_name in kwargs and not self._takes_context_by_place_only:
            raise UsageError(
                f"task {self._name!r} cannot be called so: the worker fills in "
                f"{self.context_name!r}: leave it out"
            )
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(f"task {self._name!r} cannot be called so: {error}") from None

    def check_stored(self, args: Arguments, kwargs: Keywords) -> None:
        """Check arguments as they are in an envelope.

        Raises:
            UsageError: The function could not be called so.
            PayloadError: An argument is not of its annotated type.
        """
        self._check(args, kwargs)
        self.restore_arguments(args, kwargs)

    def restore_arguments(self, args: Arguments, kwargs: Keywords) -> tuple[Arguments, Keywords]:
        """Return the arguments as the function's annotations want them.

        Raises:
            PayloadError: An argument is not of its annotated type.
        """
        if not self._restorers:
            return args, kwargs
        return self._each(args, kwargs, lambda restorer, value: restorer.restore(value))

    def _each(
        self, args: Arguments, kwargs: Keywords, change: Callable[[Restorer, object], object]
    ) -> tuple[Arguments, Keywords]:
        bound = self._signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            restorer = self._restorers.get(name)
            if restorer is None:
                continue
            match self._signature.parameters[name].kind:
                case inspect.Parameter.VAR_POSITIONAL:
                    values = cast("tuple[object, ...]", value)
                    bound.arguments[name] = tuple(change(restorer, one) for one in values)
                case inspect.Parameter.VAR_KEYWORD:
                    named = cast("dict[str, object]", value)
                    bound.arguments[name] = {k: change(restorer, one) for k, one in named.items()}
                case _:
                    bound.arguments[name] = change(restorer, value)
        return bound.args, bound.kwargs

    def write_result(self, value: object) -> bytes:
        """Return what the function returned as JSON.

        Raises:
            PayloadError: It can not be written.
        """
        if self._result is not None:
            return encode(self._result.write(value))
        return b"null" if value is None else encode(value)

    def restore_result(self, value: object) -> object:
        """Return the result as the function's annotation says.

        Raises:
            PayloadError: It is not of that type.
        """
        return value if self._result is None else self._result.restore(value)

    def with_context(
        self, args: Arguments, kwargs: Keywords, context: object
    ) -> tuple[Arguments, Keywords]:
        """Return the arguments with *context* put where the function wants it."""
        if self.context_name is None:
            return args, kwargs
        place = self.context_place
        if place is not None and self._takes_context_by_place_only and place > len(args):
            left_out = list(self.whole.parameters.values())[len(args) : place]
            args = [*args, *(parameter.default for parameter in left_out)]
        if place is not None and place <= len(args):
            return [*args[:place], context, *args[place:]], kwargs
        return args, {**kwargs, self.context_name: context}

    @cached_property
    def _takes_context_by_place_only(self) -> bool:
        if self.context_name is None:
            return False
        return self.whole.parameters[self.context_name].kind is inspect.Parameter.POSITIONAL_ONLY

    def name_of(self, place: int) -> str:
        """What the positional argument at *place* is called."""
        names = list(self._signature.parameters)
        return names[min(place, len(names) - 1)] if names else str(place)


def blame(args: Arguments, kwargs: Keywords, name_of: Callable[[int], str]) -> str:
    """Name the first argument that can not be written, and why."""
    named = [*((name_of(place), value) for place, value in enumerate(args)), *kwargs.items()]
    for name, value in named:
        try:
            encode(value)
        except PayloadError as error:
            return f"argument {name!r}: {error}"
    return "the arguments cannot be written as JSON"
