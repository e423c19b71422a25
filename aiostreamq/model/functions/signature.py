"""What a task's function takes, read once from its signature."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import orjson

from aiostreamq.errors import PayloadError, UsageError
from aiostreamq.model.functions.callables import signature_of, style_of, travelling
from aiostreamq.model.functions.context_parameter import context_parameter
from aiostreamq.model.functions.type_hints import RETURN, Hints
from aiostreamq.model.values.annotations import depth_of, is_open, is_plain, told
from aiostreamq.model.values.codec import ValueCodec, Written
from aiostreamq.model.values.masking import pointer
from aiostreamq.model.values.plain_json import (
    FLAT,
    encode,
    encode_flat,
    fault_in,
    holds_tuple,
    refusal,
)

Arguments = Sequence[object]
Keywords = Mapping[str, object]
#: arguments as they can be written, and JSON Pointers to the secrets in their envelope
Call = tuple[Arguments, Keywords, Sequence[str]]

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
        kinds_by_name = {p.kind: p.name for p in self._signature.parameters.values()}
        #: the parameter that takes all other names, if there is one
        self._rest = kinds_by_name.get(inspect.Parameter.VAR_KEYWORD)
        self._is_simple = all(kind in _POSITIONAL for kind in kinds)
        self._most = len(kinds)
        self._fewest = sum(
            p.default is inspect.Parameter.empty for p in self._signature.parameters.values()
        )
        if self._hints.are_complete:
            _ = self._restorers, self._result  # so that a missing extra shows at registration

    @cached_property
    def _restorers(self) -> dict[str, ValueCodec]:
        hints = self._resolved_hints
        return {
            name: ValueCodec(hints[name], f"argument {name!r} of task {self._name!r}")
            for name in self._signature.parameters
            if name in hints and not is_plain(hints[name])
        }

    @cached_property
    def _result_hint(self) -> object:
        return travelling(self._function, self._resolved_hints.get(RETURN, Any))

    @cached_property
    def _result(self) -> ValueCodec | None:
        if is_plain(self._result_hint):
            return None
        return ValueCodec(self._result_hint, f"the result of task {self._name!r}")

    @cached_property
    def _resolved_hints(self) -> dict[str, object]:
        return self._hints.complete()

    @cached_property
    def _closed(self) -> dict[str, int]:
        """The plain parameters that say all of their values, and how deep those are."""
        hints = {name: self._resolved_hints.get(name, Any) for name in self._signature.parameters}
        return {
            name: depth_of(hint)
            for name, hint in hints.items()
            if is_plain(hint) and not is_open(hint)
        }

    @cached_property
    def _is_closed_deep(self) -> bool:
        return any(depth > 1 for depth in self._closed.values())

    def _refuse_tuples(self, args: Arguments, kwargs: Keywords) -> None:
        """Refuse tuples as values of annotations by which they would not arrive as such."""
        named = [(self.name_of(place), value) for place, value in enumerate(args)]
        for name, value in [*named, *kwargs.items()]:
            parameter = name if name in self._signature.parameters else self._rest
            if parameter in self._closed and holds_tuple(value, self._closed[parameter]):
                fault = fault_in(value, allow_tuples=False)
                what = f"argument {name!r} of task {self._name!r}"
                raise PayloadError(f"{what}: expected {self.expected_of(name)}, and {fault}")

    def _hint_of(self, name: str) -> object:
        if name not in self._signature.parameters and self._rest is not None:
            name = self._rest
        return self._resolved_hints.get(name, Any)

    def expected_of(self, name: str) -> str | None:
        """What the annotation of the parameter *name* says of all its values, if it does."""
        hint = self._hint_of(name)
        return None if is_open(hint) else told(hint)

    def write_arguments(self, args: Arguments, kwargs: Keywords, *, is_flat: bool = False) -> Call:
        """Return the arguments as `encode` can write them.

        *is_flat* says that all are words and numbers.

        Raises:
            UsageError: The function could not be called so.
            PayloadError: An argument is not what its annotation says.
        """
        # Most calls can be seen to fit without binding them, which costs 5 µs.
        if kwargs or not self._is_simple or not self._fewest <= len(args) <= self._most:
            self._check(args, kwargs)
        if (
            not is_flat
            and self._closed
            and (
                self._is_closed_deep
                or tuple in map(type, args)
                or (kwargs and tuple in map(type, kwargs.values()))
            )
        ):
            self._refuse_tuples(args, kwargs)
        if not self._restorers:
            return args, kwargs, ()
        return self._written(args, kwargs, ValueCodec.write)

    def _written(
        self, args: Arguments, kwargs: Keywords, write: Callable[[ValueCodec, object], Written]
    ) -> Call:
        secrets: dict[int, Sequence[str]] = {}

        def noted(restorer: ValueCodec, value: object) -> object:
            written = write(restorer, value)
            secrets[id(written.json)] = written.secrets  # the call holds on to it
            return written.json

        args, kwargs = self._each(args, kwargs, noted)
        places: list[tuple[tuple[str, str | int], object]] = [
            *((("args", place), one) for place, one in enumerate(args)),
            *((("kwargs", name), one) for name, one in kwargs.items()),
        ]
        found = [pointer(at) + place for at, one in places for place in secrets.get(id(one), ())]
        return args, kwargs, found

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

    def write_stored(self, args: Arguments, kwargs: Keywords) -> Call:
        """Do the same for arguments each of which is a value or the JSON of one.

        Raises:
            UsageError: The function could not be called so.
            PayloadError: An argument is not what its annotation says.
        """
        self._check(args, kwargs)
        return self._written(args, kwargs, _write_stored)

    def restore_arguments(self, args: Arguments, kwargs: Keywords) -> tuple[Arguments, Keywords]:
        """Return the arguments as the function's annotations want them.

        Raises:
            PayloadError: An argument is not of its annotated type.
        """
        if not self._restorers:
            return args, kwargs
        return self._each(args, kwargs, lambda restorer, value: restorer.restore(value))

    def _each(
        self, args: Arguments, kwargs: Keywords, change: Callable[[ValueCodec, object], object]
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
            PayloadError: It would not arrive as an equal value of the same type.
        """
        if value is None and self._result is None:
            return b"null"
        if self._result is not None:
            return encode(self._result.write(value).json)
        try:
            if type(value) in FLAT:
                return encode_flat(value)
            written = encode(value)
        except PayloadError as error:
            expected = None if self._is_result_open else told(self._result_hint)
            reason = refusal(error, expected, "annotate what the task returns")
            raise PayloadError(f"the result of task {self._name!r}: {reason}") from error
        if not self._is_result_open and holds_tuple(value, self._result_depth):
            expected, fault = told(self._result_hint), fault_in(value, allow_tuples=False)
            raise PayloadError(
                f"the result of task {self._name!r}: expected {expected}, and {fault}"
            )
        return written

    @cached_property
    def _result_depth(self) -> int:
        return depth_of(self._result_hint)

    @cached_property
    def _is_result_open(self) -> bool:
        return is_open(self._result_hint)

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
        parameters = self._signature.parameters.values()
        names = [p.name for p in parameters if p.kind in _POSITIONAL]
        names += [p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL]
        return names[min(place, len(names) - 1)] if names else str(place)


def _write_stored(restorer: ValueCodec, value: object) -> Written:
    if fault_in(value) is not None:
        return restorer.write(value)
    restored = restorer.restore(value)
    try:
        return restorer.write(restored)
    except PayloadError:  # written by a release that did not ask; it can be restored
        return Written(orjson.Fragment(encode(value)))
