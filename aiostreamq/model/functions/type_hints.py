"""What the annotations of a function mean, each looked up as soon as it can be.

An annotation may be a string, or hold one, that names what is defined further down in its module:
that is looked up when the task is first used. What will never be there is refused when the task
is registered: it is imported for type checkers only, say, or misspelt.
"""

import inspect
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from aiostreamq.errors import UsageError
from aiostreamq.model.functions.callables import Function, annotated
from aiostreamq.model.functions.type_checking_imports import (
    Bindings,
    Import,
    bindings_of,
    is_running,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

RETURN = "return"  #: in place of a parameter's name: the annotation of the result

_PACKAGE = __name__.partition(".")[0]


class Hints:
    """The annotations of one task's function, by the names of its parameters."""

    def __init__(
        self, task: str, function: Function, signature: inspect.Signature, known: type
    ) -> None:
        """Look up what can be looked up.

        Args:
            task: Name of the task, for errors.
            function: The function.
            signature: Its signature.
            known: The class of the context: found also if only type checkers import it.

        Raises:
            UsageError: An annotation can never be looked up, or is invalid.
        """
        self._task = task
        self._scope = _Scope(annotated(function), known)
        self.found: dict[str, object] = {}  #: what is looked up
        self._late: dict[str, object] = {}  # what is not there yet
        for name, annotation in _annotations_of(signature):
            self._look_up(name, annotation)
        if not self._late:
            self._scope.forget()

    @property
    def are_complete(self) -> bool:
        """Whether all annotations are looked up."""
        return not self._late

    def complete(self) -> dict[str, object]:
        """Look up what was not there, and return all.

        Raises:
            UsageError: Something is still missing.
        """
        for name, annotation in list(self._late.items()):
            self._look_up(name, annotation)
            if name not in self.found:
                raise self._refusal(name, annotation, "what it names is not defined yet")
            del self._late[name]
        self._scope.forget()
        return self.found

    def _look_up(self, name: str, annotation: object) -> None:
        try:
            self.found[name] = self._scope.evaluate(annotation)
        except NameError as error:
            reason = self._scope.why_never(error.name or "")
        except AttributeError as error:
            # Modules that import each other are there before all that they define.
            reason = None if _is_importing(error.obj) else str(error)
        except Exception as error:  # noqa: BLE001  # an annotation may be any expression
            reason = f"{type(error).__name__}: {error}"
        else:
            return
        if reason is not None:
            raise self._refusal(name, annotation, reason)
        self._late[name] = annotation

    def _refusal(self, name: str, annotation: object, reason: str) -> UsageError:
        whose = "its result" if name == RETURN else f"argument {name!r}"
        shown = annotation.__qualname__ if isinstance(annotation, type) else annotation
        return UsageError(f"task {self._task!r}: {whose} is annotated {shown}: {reason}")


class _Scope:
    """Where the names in annotations of a function are looked up."""

    def __init__(self, function: Function, known: type) -> None:
        found: Any = function
        self._globals: dict[str, object] = getattr(found, "__globals__", {})
        self._type_params: object = getattr(found, "__type_params__", ())
        self._code = getattr(found, "__code__", None)
        self._known = known
        self._locals = _locals_of(found)

    def evaluate(self, annotation: object) -> object:
        """Return what *annotation* means.

        Raises:
            Whatever the expression in it raises: NameError for what is not there.
        """
        while True:
            try:
                return self._evaluate(annotation)
            except NameError as error:
                if not error.name or not self._add_ours(error.name):
                    raise

    def _evaluate(self, annotation: object) -> object:
        holder = SimpleNamespace(__annotations__={"it": annotation}, __type_params__=())
        holder.__type_params__ = self._type_params
        hints = get_type_hints(holder, self._globals, self._locals, include_extras=True)
        return hints["it"]

    def why_never(self, name: str) -> str | None:
        """Return why *name* will never be there, or None if it may come."""
        bindings = self._bindings()
        if bindings is not None and bindings.is_for_checkers(name):
            return (
                f"only type checkers import {name}: import it, or define it, outside of "
                f"`if TYPE_CHECKING:`"
            )
        if is_running(self._globals) and (bindings is None or bindings.may_define(name)):
            return None
        module = self._globals.get("__name__", "?")
        return (
            f"there is no {name} in module {module}: define or import it there; what is defined "
            f"inside a function must come before the task"
        )

    def forget(self) -> None:
        """Let go of the local names."""
        self._locals = {}

    def _add_ours(self, name: str) -> bool:
        """Find *name* if it is one of this package that only type checkers import."""
        if name in self._locals:
            return False
        bindings = self._bindings()
        if bindings is None and name == self._known.__name__:
            self._locals[name] = self._known
            return True
        source = None if bindings is None else bindings.for_checkers.get(name)
        if source is None or source.module.partition(".")[0] != _PACKAGE:
            return False
        return self._import(name, source)

    def _import(self, name: str, source: Import) -> bool:
        # Only what is loaded: an import for type checkers may lead round in a circle.
        found: object = sys.modules.get(source.module)
        if source.attribute is not None:
            found = getattr(found, source.attribute, None)
        if found is not None:
            self._locals[name] = found
        return found is not None

    def _bindings(self) -> Bindings | None:
        return None if self._code is None else bindings_of(self._code, self._globals)


def _annotations_of(signature: inspect.Signature) -> list[tuple[str, object]]:
    found = [(one.name, one.annotation) for one in signature.parameters.values()]
    found.append((RETURN, signature.return_annotation))
    return [(name, told) for name, told in found if told is not inspect.Signature.empty]


def _locals_of(function: Any) -> dict[str, object]:
    """Return the names around a function that is defined inside another, or inside a class.

    Those that it uses itself, and those of the calls that are under way: mostly it is registered
    right where it is defined.
    """
    qualname = getattr(function, "__qualname__", "")
    if "." not in qualname or not inspect.isfunction(function):
        return {}
    scopes: list[Mapping[str, object]] = []
    frame = inspect.currentframe()
    while frame is not None:
        is_around = qualname.startswith(f"{frame.f_code.co_qualname}.")
        if is_around and frame.f_globals is function.__globals__:
            scopes.append(frame.f_locals)
        frame = frame.f_back
    found: dict[str, object] = {}
    for scope in reversed(scopes):  # the innermost has the last word
        found.update(scope)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not defined yet
            continue
    return found


def _is_importing(value: object) -> bool:
    if not isinstance(value, ModuleType):
        return False
    return bool(getattr(cast("object", value.__spec__), "_initializing", False))
