"""What can be said about a task, and again about one of its jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypedDict, cast, get_args

from aiostreamq.errors import UsageError
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.keys import RESERVED, checked_name
from aiostreamq.model.retry import Retries, Retry, checked_retries
from aiostreamq.model.unknown_options import unknown_option

DEFAULT_LANE = "default"

# Long enough to come back to after lunch, short enough not to fill Redis.
DEFAULT_RESULT_TTL = 3600.0


#: What an enqueue waits for: that Redis has the job, that a replica has it too, or
#: that it is on Redis's disk.
Durability = Literal["memory", "replicated", "fsync"]


class TaskOptions(TypedDict, total=False):
    """The options as `@queue.task(...)` and `.using(...)` take them."""

    timeout: Duration | None
    result_ttl: Duration
    lane: str
    retry: Retry | Sequence[Retry] | None
    durability: Durability


@dataclass(frozen=True, slots=True)
class Options:
    """The settled options of a task."""

    timeout: float | None = None  #: seconds a run may take; None is for ever
    result_ttl: float = DEFAULT_RESULT_TTL  #: seconds the result is kept; 0 keeps none
    lane: str = DEFAULT_LANE  #: the stream its jobs wait in
    retry: Retries = ()  #: when a failed run is followed by another
    durability: Durability | None = None  #: what enqueueing waits for; None is what the queue says

    def with_words(self, words: TaskOptions, beside: Sequence[str] = ()) -> "Options":
        """Return these options with *words* said over them.

        *beside* are the other options that `.using(...)` takes, to be named in an error.

        Raises:
            UsageError: A word is no option, or has a value that cannot be meant.
        """
        # Callers without a type checker may say anything: a `dealy` must not run at once.
        if unknown := words.keys() - TaskOptions.__annotations__.keys():
            known = [*beside, *TaskOptions.__annotations__]
            raise unknown_option("task.using", min(unknown), known)
        changed = self
        if "timeout" in words:
            changed = replace(changed, timeout=_timeout(words["timeout"]))
        if "result_ttl" in words:
            changed = replace(changed, result_ttl=seconds("result_ttl", words["result_ttl"]))
        if "lane" in words:
            changed = replace(changed, lane=checked_lane(words["lane"]))
        if "retry" in words:
            changed = replace(changed, retry=checked_retries(words["retry"]))
        if "durability" in words:
            changed = replace(changed, durability=checked_durability(words["durability"]))
        return changed


def _timeout(value: Duration | None) -> float | None:
    if value is None:
        return None
    found = seconds("timeout", value)
    if found == 0:
        raise UsageError("timeout=0 would stop every run at once; leave it out for no limit")
    return found


def checked_durability(word: str) -> Durability:
    """Return *word*, or raise UsageError where it is none of the three."""
    if word not in get_args(Durability):
        raise UsageError(f"durability={word!r} is not known: use 'memory', 'replicated' or 'fsync'")
    return cast("Durability", word)


def checked_lane(name: str) -> str:
    """Return *name*, or raise UsageError where it could not be a lane's."""
    if name in RESERVED:
        raise UsageError(
            f"lane {name!r} is reserved for jobs that workers hand on: use another name"
        )
    return checked_name("lane", name)


def checked_job_id(job_id: str) -> str:
    """Return *job_id*, or raise UsageError where it could not be a key or a line of a notice."""
    is_text = isinstance(job_id, str)  # pyright: ignore[reportUnnecessaryIsInstance]  # a row has an int
    if not (is_text and 0 < len(job_id) <= 256 and job_id.isprintable() and " " not in job_id):
        raise UsageError(
            f"job id {job_id!r} is not usable: use a string of 1 to 256 printable characters "
            f"without spaces" + ("" if is_text else ", as in str(id)")
        )
    return job_id
