"""A task: its name and options, and its function if that is known."""

from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from aiostreamq.model.envelope import encode_head
from aiostreamq.model.executor_kind import Place
from aiostreamq.model.functions.signature import TaskSignature
from aiostreamq.model.options import Options


@dataclass(frozen=True, slots=True)
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

    def __post_init__(self) -> None:
        """Compute what every job of the task needs."""
        object.__setattr__(self, "name_json", orjson.dumps(self.name))
        object.__setattr__(self, "head", encode_head(self.name))
        object.__setattr__(self, "keep_ms", milliseconds(self.options.result_ttl))
        is_on_loop = self.is_async or self.is_stream
        object.__setattr__(self, "pool", None if is_on_loop else self.executor)


# Seconds, about a hundred years. Redis refuses expiries beyond 64 bits.
LONGEST = 3e9


def milliseconds(seconds: float) -> int:
    """Return *seconds* in ms for a Redis expiry; only 0 becomes 0."""
    return max(1, int(min(seconds, LONGEST) * 1000)) if seconds else 0
