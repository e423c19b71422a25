"""A task as both sides need it: its name, its options, and its function where it is known."""

from collections.abc import Callable
from dataclasses import dataclass, field

from aiostreamq.model.options import Options
from aiostreamq.model.signature import TaskSignature


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What is known about a task."""

    name: str
    options: Options = field(default_factory=Options)
    function: Callable[..., object] | None = None  #: None where only the name is known here
    signature: TaskSignature | None = None  #: None where only the name is known here
    is_async: bool = True
