"""Calls of tasks, with the options of their jobs: what an enqueue takes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from aiostreamq.model.options import Options, TaskOptions, checked_job_id
from aiostreamq.model.record import record
from aiostreamq.model.retry import retries_to_wire

if TYPE_CHECKING:
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.model.time import When

R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)  # what a streaming task yields

# The options that `.using(...)` takes besides those of the task.
_JOB_OPTIONS = ("id", "delay", "at", "expires", "deadline")


@record
class Using:
    """The options of the next jobs, as given with `.using(...)`."""

    options: Options
    id: str | None = None  #: the job's id; None makes one
    #: envelope fields for the worker
    fields: dict[str, object] = field(default_factory=dict[str, object])
    due: "When | None" = None  #: None is now
    expires: "When | None" = None  #: None is never
    deadline: "When | None" = None  #: None is never
    #: whether it has a moment that may be relative to the enqueue
    needs_time: bool = field(init=False)
    has_callbacks: bool = field(init=False)  #: whether jobs are enqueued when it ends
    #: whether `fields` are all the fields of its envelope, unless it inherits some
    is_plain: bool = field(init=False)

    @classmethod
    def of(cls, options: Options) -> "Using":
        """Return the options of the jobs of a task for which none is given."""
        return cls(options, fields=_metadata_fields(options))

    def __post_init__(self) -> None:
        """Compute what each enqueue asks."""
        needs_time = not self.expires is self.deadline is None
        has_callbacks = not self.options.on_success is self.options.on_failure is None
        object.__setattr__(self, "needs_time", needs_time)
        object.__setattr__(self, "has_callbacks", has_callbacks)
        object.__setattr__(self, "is_plain", not (needs_time or has_callbacks))

    def merged(
        self,
        job_id: str | None,
        due: "When | None",
        expires: "When | None",
        deadline: "When | None",
        given: TaskOptions,
    ) -> "Using":
        """Return these options with those that are given in their place."""
        options = self.options.merged(given, _JOB_OPTIONS)
        others = {name: value for name, value in self.fields.items() if name != "tags"}
        fields = others | _metadata_fields(options)
        if "timeout" in given:
            fields["timeout"] = options.timeout or 0  # 0 is none, even if the task has one
        if "result_ttl" in given:
            fields["result_ttl"] = options.result_ttl
        if "retry" in given:
            fields["retry"] = retries_to_wire(options.retry)
        return Using(
            options,
            self.id if job_id is None else checked_job_id(job_id),
            fields,
            self.due if due is None else due,
            self.expires if expires is None else expires,
            self.deadline if deadline is None else deadline,
        )


def _metadata_fields(options: Options) -> dict[str, object]:
    """Return the fields that the envelopes of a task have even if no option is given for a job."""
    fields: dict[str, object] = {}
    if options.headers:
        fields["headers"] = options.headers
    if options.tags:
        fields["tags"] = options.tags
    return fields


# Not frozen: that would triple the cost of making one, and bulk makes thousands.
@dataclass(slots=True)
class Call(Generic[R_co]):
    """A call of a task, ready for `queue.enqueue_many`."""

    spec: "TaskSpec"
    using: Using
    args: tuple[object, ...]
    kwargs: dict[str, object]


class StreamCall(Call[None], Generic[C_co]):
    """A call of a streaming task."""

    __slots__ = ()


class Refusal(Exception):
    """An exception by which middleware refuses one of many calls, of whatever class it is."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def reason_of(error: Exception) -> Exception:
    """Return the exception for the code that enqueues."""
    return error.error if isinstance(error, Refusal) else error
