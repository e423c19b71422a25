"""What an exception is, by names, as rules for retries compare it.

By names, because a rule that came with a job has no classes, and an exception that was raised in
another process is not sent. A class has the name under which it was defined, and as many as there
are modules that have it: `aiohttp.ClientError` is defined in `aiohttp.client_exceptions`. Names
are looked up in the modules that are loaded; nothing is imported for it.

Nothing here raises, whatever the classes and modules of users do.
"""

import builtins
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

# As they are in Python itself, past what a metaclass or a property makes of them.
_mro = type.__dict__["__mro__"].__get__
_module = type.__dict__["__module__"].__get__
_qualname = type.__dict__["__qualname__"].__get__
_exceptions = BaseExceptionGroup.__dict__["exceptions"].__get__

Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class Kinds:
    """The names of an exception's class and of all its bases, and those of what it groups."""

    own: Names
    #: of an exception group: one for each class among the exceptions in it, at whatever depth
    leaves: tuple[Names, ...] = ()


def kinds_of(error: BaseException, *, exported: bool = False) -> Kinds:
    """Return what *error* is.

    Args:
        error: An exception.
        exported: Whether to name each class also as the packages around its module have it, for
            those who cannot look it up.
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
    """Return the exception class that is known by *name* in what is loaded, if there is one.

    >>> exception_called("IOError"), exception_called("builtins.KeyError")
    (<class 'OSError'>, <class 'KeyError'>)
    """
    return next(filter(None, map(_as_exception, _found(name, is_lazy=True))), None)


def is_something_else(name: str) -> bool:
    """Whether what is loaded has *name*, and it is no exception class."""
    found = list(_found(name, is_lazy=False))
    return bool(found) and not any(map(_as_exception, found))


def is_well_formed(name: str) -> bool:
    """Whether an exception could be known by *name*.

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
    """Give the names of *kind* in the packages around its module."""
    package, name = _module_of(kind), _qualname(kind)
    while package := package.rpartition(".")[0]:
        path = f"{package}.{name}"
        if any(found is kind for found in _found(path, is_lazy=False)):
            yield path


def _found(name: str, *, is_lazy: bool) -> Iterator[object]:
    """Give what the loaded modules have by *name*, from the longest name of a module on.

    *is_lazy* asks modules that fetch what they export when it is first used, too.
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
    except Exception:  # noqa: BLE001  # a module may be any object of a user's
        return None


def _as_exception(found: object) -> type[BaseException] | None:
    # Its type is asked, and not the object, which may claim anything.
    is_class = issubclass(type(found), type) and issubclass(cast("type", found), BaseException)
    return cast("type[BaseException]", found) if is_class else None
