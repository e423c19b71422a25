"""The signature of a task's function: checks calls, and converts their values."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, cast

import orjson

from aiostreamq.errors import PayloadError, UsageError
from aiostreamq.model.functions.callables import signature_of, style_of, travelling
from aiostreamq.model.functions.dependency import without_dependencies
from aiostreamq.model.functions.result_type import ResultType
from aiostreamq.model.functions.type_hints import RETURN, Hints
from aiostreamq.model.functions.worker_parameters import WorkerParameters
from aiostreamq.model.values.codec import ValueCodec, Written
from aiostreamq.model.values.masking import pointer
from aiostreamq.model.values.plain_annotations import depth_of, is_open, is_plain, shown
from aiostreamq.model.values.plain_json import encode, fault_in, holds_tuple

Arguments = Sequence[object]
Keywords = Mapping[str, object]
#: arguments ready to be written, and JSON Pointers to the secrets in their envelope
Call = tuple[Arguments, Keywords, Sequence[str]]

_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


class TaskSignature:
    """Checks calls of one function, and converts their values to and from JSON.

    It has many methods, as a call has several forms, and each is read and written here.
    """

    def __init__(self, name: str, function: Callable[..., object], context_type: type) -> None:
        """Inspect *function*; callers do not pass a parameter annotated *context_type*.

        Raises:
            UsageError: A parameter's type is not supported, or its annotation can never be
                resolved.
        """
        self._name = name
        #: the signature including the context parameter
        self.whole = signature = signature_of(f"task {name!r}", function)
        bare = without_dependencies(signature)
        self._hints = Hints(f"task {name!r}", function, bare, context_type)
        #: how the function gives its result
        self.style = style_of(name, function, self._hints.found.get(RETURN))
        #: the parameters that callers leave out
        self.filled_in = WorkerParameters(name, signature, self._hints.found, context_type)
        # Attributes, because each job asks for them.
        self.context_name = self.filled_in.context_name  #: of the context parameter, or None
        self.plan = self.filled_in.plan  #: how dependencies are provided; None if there are none
        left_out = self.filled_in.names
        self._signature = signature.replace(
            parameters=[p for p in signature.parameters.values() if p.name not in left_out]
        )
        kinds = [p.kind for p in self._signature.parameters.values()]
        kinds_by_name = {p.kind: p.name for p in self._signature.parameters.values()}
        #: name of the `**kwargs` parameter, if there is one
        self._rest = kinds_by_name.get(inspect.Parameter.VAR_KEYWORD)
        fewest = sum(
            p.default is inspect.Parameter.empty for p in self._signature.parameters.values()
        )
        is_simple = all(kind in _POSITIONAL for kind in kinds)
        #: how many arguments by position are right without a look at their names
        self._right_counts = range(fewest, len(kinds) + 1) if is_simple else range(0)
        result = ResultType(
            name, lambda: travelling(function, self._resolved_hints.get(RETURN, Any))
        )
        # Attributes, because a method that passes the call on would cost each job a call.
        self.write_result = result.write  #: return a result as JSON
        self.restore_result = result.restore  #: convert it to the type of the annotation
        if self._hints.are_complete:
            _ = self._codecs  # so that a missing extra shows at registration
            result.prepare()  # for the same reason

    @cached_property
    def _codecs(self) -> dict[str, ValueCodec]:
        hints = self._resolved_hints
        return {
            name: ValueCodec(hints[name], f"argument {name!r} of task {self._name!r}")
            for name in self._signature.parameters
            if name in hints and not is_plain(hints[name])
        }

    @cached_property
    def bare_counts(self) -> range:
        """How many positional arguments, all strings and numbers, can be written as they are."""
        counts = self._right_counts
        return range(0) if self._codecs else range(max(1, counts.start), counts.stop)

    @cached_property
    def _resolved_hints(self) -> dict[str, object]:
        if self._hints.are_complete:
            return self._hints.found
        hints = self._hints.complete()
        self.filled_in.refuse_late(hints, self._signature.parameters)
        return hints

    @cached_property
    def _closed(self) -> dict[str, int]:
        """Parameters whose plain annotation describes their values fully, with its depth."""
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
        """Refuse tuples for annotations with which they would arrive as lists."""
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
        """Return the annotation of parameter *name* as text; None if it allows anything."""
        hint = self._hint_of(name)
        return None if is_open(hint) else shown(hint)

    def write_arguments(self, args: Arguments, kwargs: Keywords) -> Call:
        """Return the arguments in a form that `encode` can write.

        Raises:
            UsageError: The arguments do not fit the function.
            PayloadError: An argument does not match its annotation.
        """
        # Binding costs 5 µs; counting the arguments is enough for most calls.
        if kwargs or len(args) not in self._right_counts:
            self._check(args, kwargs)
        if self._closed and (
            self._is_closed_deep
            or tuple in map(type, args)
            or (kwargs and tuple in map(type, kwargs.values()))
        ):
            self._refuse_tuples(args, kwargs)
        if not self._codecs:
            return args, kwargs, ()
        return self._written(args, kwargs, ValueCodec.write)

    def _written(
        self, args: Arguments, kwargs: Keywords, write: Callable[[ValueCodec, object], Written]
    ) -> Call:
        secrets: dict[int, Sequence[str]] = {}

        def noted(codec: ValueCodec, value: object) -> object:
            written = write(codec, value)
            secrets[id(written.json)] = written.secrets  # `args` keeps it alive, so ids are unique
            return written.json

        args, kwargs = self._each(args, kwargs, noted)
        places: list[tuple[tuple[str, str | int], object]] = [
            *((("args", place), one) for place, one in enumerate(args)),
            *((("kwargs", name), one) for name, one in kwargs.items()),
        ]
        found = [pointer(at) + place for at, one in places for place in secrets.get(id(one), ())]
        return args, kwargs, found

    def _check(self, args: Arguments, kwargs: Keywords) -> None:
        self.filled_in.refuse_given(kwargs)
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise UsageError(f"invalid call of task {self._name!r}: {error}") from None

    def write_stored(self, args: Arguments, kwargs: Keywords) -> Call:
        """Do the same as `write_arguments` for arguments that are values or the JSON of values.

        Raises:
            UsageError: The arguments do not fit the function.
            PayloadError: An argument does not match its annotation.
        """
        self._check(args, kwargs)
        return self._written(args, kwargs, _write_stored)

    def restore_arguments(self, args: Arguments, kwargs: Keywords) -> tuple[Arguments, Keywords]:
        """Return the arguments converted to the types that the function's annotations name.

        Raises:
            PayloadError: An argument is not of its annotated type.
        """
        if not self._codecs:
            return args, kwargs
        return self._each(args, kwargs, lambda codec, value: codec.restore(value))

    def read_arguments(self, args: Arguments, kwargs: Keywords) -> tuple[Arguments, Keywords]:
        """Do the same as `restore_arguments` for JSON that a person has written.

        Plain annotations are checked too, if pydantic is installed: "7" for an int becomes 7.

        Raises:
            UsageError: The arguments do not fit the function.
            PayloadError: An argument is not of its annotated type.
        """
        self._check(args, kwargs)

        def read(name: str, value: object) -> object:
            known = name if name in self._signature.parameters else self._rest
            codec = self._all_codecs.get(known) if known is not None else None
            return value if codec is None else codec.restore(value)

        read_args = [read(self.name_of(place), value) for place, value in enumerate(args)]
        return read_args, {name: read(name, value) for name, value in kwargs.items()}

    @cached_property
    def _all_codecs(self) -> dict[str, ValueCodec]:
        codecs = dict(self._codecs)
        for name in self._signature.parameters.keys() & self._resolved_hints.keys() - codecs.keys():
            with suppress(UsageError):  # pydantic is missing or cannot do it: it stays unchecked
                what = f"argument {name!r} of task {self._name!r}"
                codecs[name] = ValueCodec(self._resolved_hints[name], what)
        return codecs

    def by_name(
        self, args: Arguments, kwargs: Keywords
    ) -> tuple[dict[str, object], dict[str, object]]:
        """Return the arguments of a call, and the defaults of others, by parameter.

        Raises:
            UsageError: The arguments do not fit the function.
        """
        self._check(args, kwargs)
        bound = self._signature.bind(*args, **kwargs)
        given = dict(bound.arguments)
        bound.apply_defaults()
        return given, {name: one for name, one in bound.arguments.items() if name not in given}

    def comparable(self, name: str, value: object) -> object:
        """Return an argument as it is sent, but the same for all sets that are equal.

        Raises:
            PayloadError: It does not match its annotation.
        """
        return self._changed(name, value, ValueCodec.comparable)

    def _each(
        self, args: Arguments, kwargs: Keywords, change: Callable[[ValueCodec, object], object]
    ) -> tuple[Arguments, Keywords]:
        bound = self._signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            bound.arguments[name] = self._changed(name, value, change)
        return bound.args, bound.kwargs

    def _changed(
        self, name: str, value: object, change: Callable[[ValueCodec, object], object]
    ) -> object:
        """Return what *change* makes of an argument, or of each in `*args` or `**kwargs`."""
        codec = self._codecs.get(name)
        if codec is None:
            return value
        match self._signature.parameters[name].kind:
            case inspect.Parameter.VAR_POSITIONAL:
                values = cast("tuple[object, ...]", value)
                return tuple(change(codec, one) for one in values)
            case inspect.Parameter.VAR_KEYWORD:
                named = cast("dict[str, object]", value)
                return {key: change(codec, one) for key, one in named.items()}
            case _:
                return change(codec, value)

    def with_context(
        self, args: Arguments, kwargs: Keywords, context: object
    ) -> tuple[Arguments, Keywords]:
        """Return the arguments with *context* inserted at its parameter."""
        return self.filled_in.with_context(args, kwargs, context)

    def name_of(self, place: int) -> str:
        """Return the name of the positional argument at index *place*."""
        parameters = self._signature.parameters.values()
        names = [p.name for p in parameters if p.kind in _POSITIONAL]
        names += [p.name for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL]
        return names[min(place, len(names) - 1)] if names else str(place)


def _write_stored(codec: ValueCodec, value: object) -> Written:
    if fault_in(value) is not None:
        return codec.write(value)
    restored = codec.restore(value)
    try:
        return codec.write(restored)
    except PayloadError:  # written by a release that did not check; it can be restored
        return Written(orjson.Fragment(encode(value)))
