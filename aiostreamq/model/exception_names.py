"""The names of exception classes, by which retry rules are compared with exceptions.

Names rather than classes, because a rule that came with a job holds no classes, and an exception
that was raised in another process is not sent. A class has the name under which it was defined,
and one for each module that exports it: `aiohttp.ClientError` is defined in
`aiohttp.client_exceptions`. Names are looked up in loaded modules; nothing is imported.

Nothing here raises, whatever the classes and modules of users do.
"""

import builtins
import sys
from collections.abc import Iterator
from typing import cast

from aiostreamq.model.record import record

# Python's own descriptors, because a metaclass or a property may override the attributes.
_mro = type.__dict__["__mro__"].__get__
_module = type.__dict__["__module__"].__get__
_qualname = type.__dict__["__qualname__"].__get__
_exceptions = BaseExceptionGroup.__dict__["exceptions"].__get__

Names = frozenset[str]


@record
class Kinds:
    """The names of an exception's class and its bases, and of the exceptions that it groups."""

    own: Names
    #: for an exception group: one for each class among the exceptions in it, at any depth
    leaves: tuple[Names, ...] = ()


def kinds_of(error: BaseException, *, exported: bool = False) -> Kinds:
    """Return the names of *error*.

    Args:
        error: An exception.
        exported: Whether to include the names under which the packages around its module
            export each class, for readers that cannot look them up.
    """
    leaves = _leaf_types(error) if issubclass(type(error), BaseExceptionGroup) else ()
    own = lineage(type(error), exported=exported)
    return Kinds(own, tuple(lineage(leaf, exported=exported) for leaf in leaves))


def lineage(kind: type, *, exported: bool = False) -> Names:
    """Return the names of *kind* and of all its bases."""
    names: set[str] = set()
    for one in _mro(kind):
        names.add(name_of(one))
        if exported:
            names.update(_exported_names(one))
    return frozenset(names)


def name_of(kind: type) -> str:
    """Return the name under which *kind* was defined.

    >>> name_of(ValueError), name_of(Kinds)
    ('ValueError', 'aiostreamq.model.exception_names.Kinds')
    """
    module = _module_of(kind)
    return _qualname(kind) if module == "builtins" else f"{module}.{_qualname(kind)}"


def exception_called(name: str) -> type[BaseException] | None:
    """Return the exception class called *name* in the loaded modules, or None.

    >>> exception_called("IOError"), exception_called("builtins.KeyError")
    (<class 'OSError'>, <class 'KeyError'>)
    """
    return next(filter(None, map(_as_exception, _found(name, is_lazy=True))), None)


def is_something_else(name: str) -> bool:
    """Whether the loaded modules define *name* as something other than an exception class."""
    found = list(_found(name, is_lazy=False))
    return bool(found) and not any(map(_as_exception, found))


def is_well_formed(name: str) -> bool:
    """Whether *name* could be the name of an exception class.

    >>> [
    ...     is_well_formed(name)
    ...     for name in ("a.b.Error", "a.f.<locals>.E", "a:E", "a.E ", "E", "int")
    ... ]
    [True, True, False, False, False, False]
    """
    if "." not in name:
        return _as_exception(getattr(builtins, name, None)) is not None
    return all(part.isidentifier() or part == "<locals>" for part in name.split("."))


def _leaf_types(group: BaseException) -> list[type]:
    """Return the classes of the exceptions in *group*, each once."""
    found: dict[int, type] = {}  # by identity: a metaclass may define equality
    seen: set[int] = set()
    left: list[BaseException] = [group]
    while left:
        error = left.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        if issubclass(type(error), BaseExceptionGroup):
            left.extend(_exceptions(error))
        else:
            found[id(type(error))] = type(error)
    return list(found.values())


def _module_of(kind: type) -> str:
    try:
        module = _module(kind)
    except AttributeError:
        return "?"
    return module if type(module) is str else "?"


def _exported_names(kind: type) -> Iterator[str]:
    """Yield the names of *kind* in the packages around its module."""
    package, name = _module_of(kind), _qualname(kind)
    while package := package.rpartition(".")[0]:
        path = f"{package}.{name}"
        if any(found is kind for found in _found(path, is_lazy=False)):
            yield path


def _found(name: str, *, is_lazy: bool) -> Iterator[object]:
    """Yield what loaded modules define as *name*, the longest module name first.

    With *is_lazy*, modules that load their exports at first use are asked too.
    """
    module, parts = name, list[str]()
    while module:
        module, _, part = module.rpartition(".")
        parts.insert(0, part)
        found: object = sys.modules.get(module or "builtins")
        for one in parts:
            found = None if found is None else _member(found, one, is_lazy=is_lazy)
        if found is not None:
            yield found


def _member(owner: object, name: str, *, is_lazy: bool) -> object:
    try:
        return getattr(owner, name, None) if is_lazy else vars(owner).get(name)
    except Exception:  # noqa: BLE001  # sys.modules may hold any object
        return None


def _as_exception(found: object) -> type[BaseException] | None:
    # By its type: the object's own `__class__` may claim anything.
    is_class = issubclass(type(found), type) and issubclass(cast("type", found), BaseException)
    return cast("type[BaseException]", found) if is_class else None
