"""The annotations of a function, each resolved as early as possible.

An annotation may be a string, or contain one, that names something defined further down in its
module: it is resolved when the task is first used. An annotation that can never be resolved is
refused at registration, such as a misspelt name or one imported only for type checkers.
"""

import inspect
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from aiostreamq.errors import UsageError
from aiostreamq.model.functions.callables import Function, annotated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiostreamq.model.functions.type_checking_imports import Bindings, Import

RETURN = "return"  #: in place of a parameter's name: the annotation of the result

_PACKAGE = __name__.partition(".")[0]


class Hints:
    """The annotations of one task's function, by the names of its parameters."""

    def __init__(
        self, whose: str, function: Function, signature: inspect.Signature, known: type
    ) -> None:
        """Resolve what can be resolved now.

        Args:
            whose: The function and its name, for errors.
            function: The function.
            signature: Its signature.
            known: The class of the context: resolved even if only type checkers import it.

        Raises:
            UsageError: An annotation can never be resolved, or is invalid.
        """
        self._whose = whose
        self._scope = _Scope(annotated(function), known)
        self.found: dict[str, object] = {}  #: resolved annotations
        self._late: dict[str, object] = {}  # annotations that name something not defined yet
        for name, annotation in _annotations_of(signature):
            self._look_up(name, annotation)
        if not self._late:
            self._scope.forget()

    @property
    def are_complete(self) -> bool:
        """Whether all annotations are resolved."""
        return not self._late

    def complete(self) -> dict[str, object]:
        """Resolve the remaining annotations, and return all.

        Raises:
            UsageError: An annotation names something that is still undefined.
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
            # A module that is being imported does not have all its attributes yet.
            reason = None if _is_importing(error.obj) else str(error)
        except Exception as error:  # noqa: BLE001  # an annotation may be any expression
            reason = f"{type(error).__name__}: {error}"
        else:
            return
        if reason is not None:
            raise self._refusal(name, annotation, reason)
        self._late[name] = annotation

    def _refusal(self, name: str, annotation: object, reason: str) -> UsageError:
        part = "its result" if name == RETURN else f"argument {name!r}"
        shown = annotation.__qualname__ if isinstance(annotation, type) else annotation
        return UsageError(f"{self._whose}: {part} is annotated {shown}: {reason}")


class _Scope:
    """The namespace in which a function's annotations are evaluated."""

    def __init__(self, function: Function, known: type) -> None:
        found: Any = function
        self._globals: dict[str, object] = getattr(found, "__globals__", {})
        self._type_params: object = getattr(found, "__type_params__", ())
        self._code = getattr(found, "__code__", None)
        self._known = known
        self._locals = _locals_of(found)

    def evaluate(self, annotation: object) -> object:
        """Evaluate *annotation*.

        Raises:
            Exception: Any that its expression raises; NameError if a name is undefined.
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
        """Return why *name* will never be defined, or None if it may be defined later."""
        from aiostreamq.model.functions.type_checking_imports import is_running

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
            f"module {module} does not define {name}: define or import it there; if it is defined "
            f"inside a function, define it before the task"
        )

    def forget(self) -> None:
        """Release the local names."""
        self._locals = {}

    def _add_ours(self, name: str) -> bool:
        """Resolve *name* if it belongs to this package and only type checkers import it."""
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

    def _import(self, name: str, source: "Import") -> bool:
        # Only from loaded modules: an import for type checkers may be circular.
        found: object = sys.modules.get(source.module)
        if source.attribute is not None:
            found = getattr(found, source.attribute, None)
        if found is not None:
            self._locals[name] = found
        return found is not None

    def _bindings(self) -> "Bindings | None":
        # Imported late: most annotations name what is defined.
        from aiostreamq.model.functions.type_checking_imports import bindings_of

        return None if self._code is None else bindings_of(self._code, self._globals)


def _annotations_of(signature: inspect.Signature) -> list[tuple[str, object]]:
    found = [(one.name, one.annotation) for one in signature.parameters.values()]
    found.append((RETURN, signature.return_annotation))
    return [(name, one) for name, one in found if one is not inspect.Signature.empty]


def _locals_of(function: Any) -> dict[str, object]:
    """Return the local names around a function that is defined in a function or a class.

    These are its closure, and the locals of the calls in progress, because a function is usually
    registered next to its definition.
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
    for scope in reversed(scopes):  # the innermost overrides the others
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
