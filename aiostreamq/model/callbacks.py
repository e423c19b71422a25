r"""Callbacks: jobs that are enqueued by the step that ends another job, their parent.

The envelope of the parent has a callback in `on_success` or in `on_failure`:

    {"task": "notify", "lane": "default", "mark": "0",
     "job": "{\"task\":\"notify\",\"args\":[\"done\"]}"}

`job` is the envelope of the callback. It is a string because scripts read it too: Lua would write
an object differently. The script that puts the callback into its lane adds `parent` to it.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, Protocol, cast

from aiostreamq.model.job_state import JobState
from aiostreamq.model.stored import string

#: The ends of a job that a callback is for, as they are part of the callback's id.
End = Literal["success", "failure"]

#: The fields of envelopes that have callbacks, which are also the options.
FIELDS: Final[dict[str, End]] = {"on_success": "success", "on_failure": "failure"}

# WaiterMode.NOBODY and NO_RESULT. Not a set: what is found may be unhashable.
_MARKS = ("0", "2")

# A job that is cancelled or dropped ends without a result and without an error: neither is called.
_FAILURES = frozenset({JobState.FAILED, JobState.TIMED_OUT, JobState.DEAD, JobState.EXPIRED})


class BoundCall(Protocol):
    """A call of a task with its arguments, made with `task.bind(...)`."""

    args: tuple[object, ...]
    kwargs: dict[str, object]


class Callback(NamedTuple):
    """A job for the end of another one, in the order of the script's arguments."""

    when: End
    lane: str
    mark: str  #: a WaiterMode: whether its result is kept
    job: str  #: its envelope, JSON
    task: str = ""  #: the name of its task, to be shown; empty if it is unknown


class Callbacks(NamedTuple):
    """The callbacks of a job."""

    success: Callback | None = None
    failure: Callback | None = None

    def for_end(self, state: JobState | None) -> Callback | None:
        """Return the callback for a job that ends in *state*; None is that it returned."""
        if state is None or state is JobState.DONE:
            return self.success
        return self.failure if state in _FAILURES else None

    @property
    def tasks(self) -> dict[str, str]:
        """The names of their tasks, by option."""
        found = {"on_success": self.success, "on_failure": self.failure}
        return {option: one.task for option, one in found.items() if one is not None}


NO_CALLBACKS = Callbacks()


def read_callbacks(call: Mapping[str, object]) -> Callbacks:
    """Return the callbacks in an envelope.

    Raises:
        ValueError: A callback cannot be read.
    """
    if FIELDS.keys().isdisjoint(call):
        return NO_CALLBACKS
    return Callbacks(*(_callback(option, call.get(option)) for option in FIELDS))


def _callback(option: str, found: object) -> Callback | None:
    if found is None:
        return None
    if type(found) is not dict:
        raise ValueError(f"{option} is not an object")
    fields = cast("dict[str, object]", found)
    lane, mark, job = fields.get("lane"), fields.get("mark", "0"), fields.get("job")
    if type(lane) is not str or type(job) is not str or mark not in _MARKS:
        raise ValueError(f"lane, mark or job of {option} has the wrong type")
    return Callback(FIELDS[option], lane, cast("str", mark), job, string(fields.get("task")))
