"""`Depends`: what a parameter of a task gets from a function, in place of the caller."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin, overload

from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from contextlib import (
        _AsyncGeneratorContextManager,  # pyright: ignore[reportPrivateUsage]  # of the decorators
        _GeneratorContextManager,  # pyright: ignore[reportPrivateUsage]
    )

    from aiostreamq.model.functions.lifespan import Lifespan

T = TypeVar("T")

#: How long a value lives: as long as one run of a job, or as long as the worker process.
Scope = Literal["job", "worker"]

_SCOPES = get_args(Scope)
_NOT_BY_NAME = {
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.VAR_KEYWORD,
}


class Dependency:
    """The result of `Depends(...)`: the function that makes a value, and how long that lives."""

    __slots__ = ("function", "name", "scope", "use_cache")

    def __init__(self, function: Callable[..., object], scope: Scope, *, use_cache: bool) -> None:
        self.function = function
        self.name = name_of_dependency(function)  #: for messages
        self.scope: Scope = scope
        self.use_cache = use_cache

    def __repr__(self) -> str:
        return f"Depends({self.name})"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> object:
            if name.startswith("__"):
                raise AttributeError(name)
            raise UsageError(
                f"Depends({self.name}) stands for a value that only a worker provides: if you call "
                f"the task directly, pass the value yourself"
            )


@overload
def Depends(dependency: "Lifespan[T]", /, *, scope: Scope = "job", use_cache: bool = True) -> T: ...
@overload
def Depends(
    dependency: "Callable[..., _AsyncGeneratorContextManager[T]]",
    /,
    *,
    scope: Scope = "job",
    use_cache: bool = True,
) -> T: ...
@overload
def Depends(
    dependency: "Callable[..., _GeneratorContextManager[T]]",
    /,
    *,
    scope: Scope = "job",
    use_cache: bool = True,
) -> T: ...
@overload
def Depends(
    dependency: Callable[..., AsyncIterator[T]],
    /,
    *,
    scope: Scope = "job",
    use_cache: bool = True,
) -> T: ...
@overload
def Depends(
    dependency: Callable[..., Iterator[T]], /, *, scope: Scope = "job", use_cache: bool = True
) -> T: ...
@overload
def Depends(
    dependency: Callable[..., Awaitable[T]], /, *, scope: Scope = "job", use_cache: bool = True
) -> T: ...
@overload
def Depends(
    dependency: Callable[..., T], /, *, scope: Scope = "job", use_cache: bool = True
) -> T: ...
def Depends(  # noqa: N802  # it stands where a type or a value stands, as in FastAPI
    dependency: Callable[..., object], /, *, scope: Scope = "job", use_cache: bool = True
) -> Any:
    """Declare that a parameter gets its value from *dependency*, whenever a worker runs the task.

    As the default value of the parameter, or in its annotation: `Annotated[T, Depends(get_t)]`.

    Args:
        dependency: A `def` or `async def`, which may yield the value once and clean up after
            that; a function decorated with `contextlib.contextmanager` or `asynccontextmanager`; a
            class; or a lifespan of the queue, for its state. Its parameters may be dependencies
            too, and one may be annotated Context.
        scope: "job" for a value of one run, or "worker" for one that all jobs of a worker process
            share. A lifespan always has the scope "worker".
        use_cache: Whether all that depend on it within the scope share one value. Always true of
            the scope "worker".

    Raises:
        UsageError: *dependency* cannot be called, or an option is invalid.
    """
    if not callable(dependency):
        kind = type(dependency).__qualname__
        raise UsageError(
            f"Depends was given an object of type {kind!r}: give it a function, without calling it"
        )
    name = name_of_dependency(dependency)
    try:
        hash(dependency)
    except TypeError:
        raise UsageError(f"Depends({name}): it cannot be hashed: wrap it in a function") from None
    if scope not in _SCOPES:
        raise UsageError(f"Depends({name}, scope={scope!r}): the scopes are 'job' and 'worker'")
    if scope == "worker" and not use_cache:
        raise UsageError(
            f"Depends({name}, use_cache=False): a worker makes a value of the scope 'worker' once"
        )
    return Dependency(dependency, scope, use_cache=use_cache)


def dependencies_in(
    whose: str, signature: inspect.Signature, hints: Mapping[str, object]
) -> dict[str, Dependency]:
    """Return the parameters that are dependencies, by name.

    Args:
        whose: The function, for messages.
        signature: Its signature.
        hints: Its resolved annotations.

    Raises:
        UsageError: One cannot be passed by name, or its annotation holds several.
    """
    found: dict[str, Dependency] = {}
    for parameter in signature.parameters.values():
        dependency = dependency_of(whose, parameter, hints.get(parameter.name))
        if dependency is None:
            continue
        if parameter.kind in _NOT_BY_NAME:
            raise UsageError(
                f"{whose}: parameter {parameter.name!r} is a dependency and cannot be passed by "
                f"name: make it an ordinary or a keyword-only parameter"
            )
        found[parameter.name] = dependency
    return found


def dependency_of(whose: str, parameter: inspect.Parameter, hint: object) -> Dependency | None:
    """Return the dependency of a parameter; its default value comes before its annotation."""
    if type(parameter.default) is Dependency:
        return parameter.default
    found = [one for one in _metadata(hint) if type(one) is Dependency or one is Depends]
    if Depends in found or parameter.default is Depends:
        raise UsageError(
            f"{whose}: parameter {parameter.name!r}: write Depends(function), not Depends"
        )
    if len(found) > 1:
        raise UsageError(
            f"{whose}: the annotation of {parameter.name!r} holds {len(found)} Depends: leave one"
        )
    return found[0] if found else None


def without_dependencies(signature: inspect.Signature) -> inspect.Signature:
    """Return *signature* without the parameters that are dependencies by their default value.

    Their annotations are for type checkers alone, and need not exist at run time.
    """
    kept = [one for one in signature.parameters.values() if type(one.default) is not Dependency]
    # Most tasks have none.
    return (
        signature if len(kept) == len(signature.parameters) else signature.replace(parameters=kept)
    )


def name_of_dependency(function: object) -> str:
    """Return a name for messages."""
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
    text = name if isinstance(name, str) else type(function).__qualname__
    return text.rpartition("<locals>.")[2]


def _metadata(hint: Any) -> tuple[Any, ...]:
    """Return what the annotation says beside the type."""
    while type(hint).__name__ == "TypeAliasType":  # `type X = ...`, from 3.12 on
        hint = hint.__value__
    return hint.__metadata__ if get_origin(hint) is Annotated else ()
