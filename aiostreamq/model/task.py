"""A task as both sides need it: its name, its options, and its function where it is known."""

from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from aiostreamq.model.envelope import encode_head
from aiostreamq.model.executor_kind import Place
from aiostreamq.model.functions.signature import TaskSignature
from aiostreamq.model.options import Options


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What is known about a task."""

    name: str
    options: Options = field(default_factory=Options)
    function: Callable[..., object] | None = None  #: None where only the name is known here
    signature: TaskSignature | None = None  #: None where only the name is known here
    is_async: bool = True
    executor: Place = "thread"  #: where it runs, unless it is async
    is_stream: bool = False  #: whether it is an async generator, whose values are streamed
    #: the name as JSON, for the outcomes: written once and not once a job
    name_json: bytes = field(init=False)
    #: what all envelopes of the task begin with
    head: bytes = field(init=False)
    #: milliseconds that Redis keeps the result, 0 for not at all
    keep_ms: int = field(init=False)
    #: whose place a run takes; None if it runs on the event loop
    pool: Place | None = field(init=False)

    def __post_init__(self) -> None:
        """Work out what every job of the task needs."""
        object.__setattr__(self, "name_json", orjson.dumps(self.name))
        object.__setattr__(self, "head", encode_head(self.name))
        object.__setattr__(self, "keep_ms", milliseconds(self.options.result_ttl))
        is_on_loop = self.is_async or self.is_stream
        object.__setattr__(self, "pool", None if is_on_loop else self.executor)


# Seconds: some hundred years. Redis refuses times that its 64 bits do not hold.
LONGEST = 3e9


def milliseconds(seconds: float) -> int:
    """Return *seconds* as Redis takes them for an expiry: 0 only for 0."""
    return max(1, int(min(seconds, LONGEST) * 1000)) if seconds else 0
