"""The options of a task, which can be overridden for one of its jobs, and the limits of a queue."""

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Literal, TypedDict, cast, get_args

from aiostreamq.errors import UsageError
from aiostreamq.model.callbacks import BoundCall
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.keys import RESERVED, checked_name
from aiostreamq.model.metadata import NO_HEADERS, checked_tags, joined_headers
from aiostreamq.model.record import record
from aiostreamq.model.retry import Retries, Retry, checked_retries
from aiostreamq.model.unknown_options import unknown_option

if TYPE_CHECKING:
    from aiostreamq.model.limits import HoldRule, Limit, Ordered
    from aiostreamq.model.unique import Debounce, KeepLatest, Key, Rule, Throttle, Unique

DEFAULT_LANE = "default"

#: The options that take a rule about keys.
RULE_OPTIONS = ("unique", "throttle", "debounce", "keep_latest")

# Long enough to return to after lunch, short enough not to fill Redis.
DEFAULT_RESULT_TTL = 3600.0


#: The point up to which an enqueue waits: Redis has the job, a replica has it too, or it is on
#: Redis's disk.
Durability = Literal["memory", "replicated", "fsync"]


class TaskOptions(TypedDict, total=False):
    """The keyword arguments of `@queue.task(...)` and `.using(...)`."""

    timeout: Duration | None
    result_ttl: Duration
    lane: str
    retry: Retry | Sequence[Retry] | None
    durability: Durability
    headers: Mapping[str, str]
    tags: Sequence[str]
    on_success: BoundCall | None
    on_failure: BoundCall | None
    unique: "Unique | None"
    throttle: "Throttle | None"
    debounce: "Debounce | None"
    keep_latest: "KeepLatest | None"
    limits: "Sequence[Limit]"
    ordered: "Key | Ordered"


@record
class Options:
    """The options of a task, checked and converted."""

    timeout: float | None = None  #: seconds a run may take; None means no limit
    result_ttl: float = DEFAULT_RESULT_TTL  #: seconds the result is kept; 0 keeps none
    lane: str = DEFAULT_LANE  #: the stream its jobs wait in
    retry: Retries = ()  #: when a failed run is followed by another
    durability: Durability | None = None  #: what an enqueue waits for; None is the queue's
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)  #: travel with the job
    tags: tuple[str, ...] = ()  #: by which the job can be listed
    on_success: BoundCall | None = None  #: enqueued when the job is done
    on_failure: BoundCall | None = None  #: enqueued when the job fails
    unique: "Rule | None" = None  #: whether another job of the same key keeps a job from the queue
    #: how many may run at once, or start in a time; the order of its jobs comes first
    limits: "tuple[HoldRule, ...]" = ()

    def merged(self, overrides: TaskOptions, others: Sequence[str] = ()) -> "Options":
        """Return these options with *overrides* applied.

        *others* are the other options that `.using(...)` takes, to be listed in an error.

        Raises:
            UsageError: An option is unknown or invalid.
        """
        # Callers without a type checker may pass anything: a `dealy` must not run at once.
        if unknown := overrides.keys() - TaskOptions.__annotations__.keys():
            known = [*others, *TaskOptions.__annotations__]
            raise unknown_option("task.using", min(unknown), known)
        changed = self
        if "timeout" in overrides:
            changed = replace(changed, timeout=_timeout(overrides["timeout"]))
        if "result_ttl" in overrides:
            changed = replace(changed, result_ttl=seconds("result_ttl", overrides["result_ttl"]))
        if "lane" in overrides:
            changed = replace(changed, lane=checked_lane(overrides["lane"]))
        if "retry" in overrides:
            changed = replace(changed, retry=checked_retries(overrides["retry"]))
        if "durability" in overrides:
            changed = replace(changed, durability=checked_durability(overrides["durability"]))
        if "headers" in overrides:
            changed = replace(changed, headers=joined_headers(self.headers, overrides["headers"]))
        if "tags" in overrides:
            changed = replace(changed, tags=checked_tags(overrides["tags"]))
        rules = {name: rule for name, rule in overrides.items() if name in RULE_OPTIONS}
        if rules:
            # Imported at the first use: most programs have no such tasks.
            from aiostreamq.model.unique import ruled

            changed = replace(changed, unique=ruled(self.unique, rules))
        return _with_rarer(changed, overrides)


def _with_rarer(options: Options, overrides: TaskOptions) -> Options:
    if "limits" in overrides or "ordered" in overrides:
        from aiostreamq.model.limits import checked_limits, checked_order  # at the first use, too

        order = checked_order(overrides.get("ordered"))
        limits = checked_limits(overrides.get("limits", ()))
        options = replace(options, limits=limits if order is None else (order, *limits))
    if "on_success" in overrides:
        options = replace(options, on_success=overrides["on_success"])
    if "on_failure" in overrides:
        options = replace(options, on_failure=overrides["on_failure"])
    return options


def _timeout(value: Duration | None) -> float | None:
    if value is None:
        return None
    found = seconds("timeout", value)
    if found == 0:
        raise UsageError("timeout=0 would stop every run at once; leave it out for no limit")
    return found


def checked_durability(value: str) -> Durability:
    """Return *value*, or raise UsageError if it is not one of the three."""
    if value not in get_args(Durability):
        raise UsageError(f"durability={value!r} is unknown: use 'memory', 'replicated' or 'fsync'")
    return cast("Durability", value)


def checked_lane(name: str) -> str:
    """Return *name*, or raise UsageError if it is not a valid name of a lane."""
    if name in RESERVED:
        raise UsageError(
            f"lane {name!r} is reserved for jobs that workers requeue: use another name"
        )
    return checked_name("lane", name)


def checked_job_id(job_id: str) -> str:
    """Return *job_id*, or raise UsageError if it cannot be part of a key or of a notice."""
    is_text = isinstance(job_id, str)  # pyright: ignore[reportUnnecessaryIsInstance]  # a row has an int
    if not (is_text and 0 < len(job_id) <= 256 and job_id.isprintable() and " " not in job_id):
        raise UsageError(
            f"job id {job_id!r} is invalid: use a string of 1 to 256 printable characters "
            f"without spaces" + ("" if is_text else ", as in str(id)")
        )
    return job_id


@record
class QueuePolicy:
    """The limits and defaults of a queue for all jobs that are enqueued through it."""

    max_payload: int  #: largest size of a call or of a result, in bytes of JSON
    enqueue_timeout: float  #: seconds during which an enqueue is retried while Redis is away
    durability: Durability = "memory"  #: what an enqueue waits for by default
    max_length: int = 0  #: jobs that a lane may hold, running ones included; 0 means no limit
    waits_when_full: bool = False  #: whether a call waits for room, or raises QueueFull
    max_bytes: int = 0  #: bytes of payloads that a lane may hold; 0 means no limit

    @property
    def is_bounded(self) -> bool:
        """Whether a lane can be full."""
        return bool(self.max_length or self.max_bytes)

    def __post_init__(self) -> None:
        """Refuse invalid limits."""
        if type(self.max_payload) is not int or self.max_payload < 1:
            raise UsageError(
                f"max_payload={self.max_payload!r}: use an integer of at least 1, in bytes"
            )


def checked_bound(option: str, most: int | None) -> int:
    """Return *most*, given as *option*, or 0 if it is None; raise UsageError if it is invalid."""
    if most is None:
        return 0
    if type(most) is not int or most < 1:
        raise UsageError(
            f"{option}={most!r} is invalid: use an integer of at least 1, or leave it out"
        )
    return most


def checked_when_full(when_full: str, *, is_bounded: bool) -> bool:
    """Return whether calls wait for room; raise UsageError if *when_full* is invalid."""
    if when_full not in ("raise", "wait"):  # not a set, as the value may be unhashable
        raise UsageError(f"when_full={when_full!r} is unknown: use 'raise' or 'wait'")
    if when_full == "wait" and not is_bounded:
        raise UsageError(
            "when_full='wait' needs Queue(max_length=...) or Queue(max_bytes=...), or no lane is "
            "ever full"
        )
    return when_full == "wait"
