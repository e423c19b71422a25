"""A task: its name and options, and its function if that is known."""

import inspect
from collections.abc import Callable
from dataclasses import field
from typing import Literal, get_args

import orjson

from aiostreamq.errors import UsageError
from aiostreamq.model.envelope import encode_head
from aiostreamq.model.functions.signature import TaskSignature
from aiostreamq.model.options import Options
from aiostreamq.model.record import record

#: Where a `def` task can run. An `async def` always runs on the event loop.
Place = Literal["thread", "process"]


@record
class TaskSpec:
    """A task as clients and workers know it."""

    name: str
    options: Options = field(default_factory=Options)
    function: Callable[..., object] | None = None  #: None if only the name is known
    signature: TaskSignature | None = None  #: None if only the name is known
    is_async: bool = True
    executor: Place = "thread"  #: the pool that runs it, unless it is async
    is_stream: bool = False  #: whether it is an async generator, whose values are streamed
    #: the name as JSON, for outcomes: encoded once rather than for each job
    name_json: bytes = field(init=False)
    #: the bytes that all its envelopes begin with
    head: bytes = field(init=False)
    #: milliseconds that Redis keeps the result; 0 keeps none
    keep_ms: int = field(init=False)
    #: the same, or None for the event loop
    pool: Place | None = field(init=False)
    #: whether its jobs need nothing but a slot of a worker
    is_plain: bool = field(init=False)
    #: whether its jobs run one after the other
    is_ordered: bool = field(init=False)
    #: the limits of its jobs, as Redis knows them, without the values of their keys
    limit_names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Compute what every job of the task needs."""
        object.__setattr__(self, "name_json", orjson.dumps(self.name))
        object.__setattr__(self, "head", encode_head(self.name))
        object.__setattr__(self, "keep_ms", milliseconds(self.options.result_ttl))
        is_on_loop = self.is_async or self.is_stream
        object.__setattr__(self, "pool", None if is_on_loop else self.executor)
        object.__setattr__(self, "is_plain", is_on_loop and not self.options.limits)
        limits = self.options.limits
        object.__setattr__(self, "is_ordered", bool(limits) and limits[0].kind == "o")
        object.__setattr__(self, "limit_names", self._names_of_limits())

    def _names_of_limits(self) -> frozenset[str]:
        if not self.options.limits:
            return frozenset()
        # Imported at the first use: most tasks have none.
        from aiostreamq.model.limits import named

        return frozenset(named(limit, self.name) for limit in self.options.limits)


# Seconds, about a hundred years. Redis refuses expiries beyond 64 bits.
LONGEST = 3e9


def milliseconds(seconds: float) -> int:
    """Return *seconds* in ms for a Redis expiry; only 0 becomes 0."""
    return max(1, int(min(seconds, LONGEST) * 1000)) if seconds else 0


def checked_executor(
    name: str, executor: Place | None, function: Callable[..., object], *, is_async: bool
) -> Place:
    """Return where the function of task *name* runs; None is a thread.

    Raises:
        UsageError: The function cannot run there.
    """
    if executor is None:
        return "thread"
    if executor not in get_args(Place):
        raise UsageError(f"task {name!r}: unknown executor {executor!r}: use 'thread' or 'process'")
    if is_async:
        raise UsageError(
            f"task {name!r} is an `async def` and runs on the event loop: leave "
            f"executor={executor!r} out, or make it a `def`"
        )
    if executor == "process":
        _refuse_unimportable(name, function)
    return executor


def _refuse_unimportable(name: str, function: Callable[..., object]) -> None:
    if inspect.ismethod(function) and not isinstance(function.__self__, type):
        raise UsageError(
            f"task {name!r}: a process cannot access the object that this method is bound to: "
            f"create the object in a `def` at the top of a module, and register that"
        )
    module = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if not module or not qualname or "<" in qualname:
        raise UsageError(
            f"task {name!r}: a process finds its function by importing it: define it with "
            f"`def` at the top of a module, not inside a function"
        )
    if module == "__main__":
        raise UsageError(
            f"task {name!r}: a process cannot import it from the program that was started "
            f"(__main__): move it into a module that the program imports"
        )
