"""The settings of a backend: one entry of Django's `TASKS`, checked, with its queue."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from django.conf import settings
from django.core import checks
from django.tasks import DEFAULT_TASK_QUEUE_NAME
from django.tasks.exceptions import InvalidTaskBackend

from aiostreamq.errors import AioStreamQError, UsageError
from aiostreamq.model.options import Options, TaskOptions
from aiostreamq.model.unknown_options import unknown_option
from aiostreamq.queue import Queue
from aiostreamq.store.connection.connector import connector_for

#: The name of the queue in Redis, if `OPTIONS` gives none.
DEFAULT_NAME = "django"

# The bands of priorities, with the share of each while all have jobs. Workers read a few lanes
# cheaply, and 201 priorities are more than a project needs.
BANDS = {"high": 16, "": 4, "low": 1}

_OF_QUEUE = (
    "strict_priority",
    "max_payload",
    "enqueue_timeout",
    "durability",
    "max_length",
    "max_bytes",
    "when_full",
)
_OF_TASKS = ("timeout", "retry", "result_ttl")
_KNOWN = ("url", "name", "on_commit", *_OF_QUEUE, *_OF_TASKS)


def lane_of(queue_name: str, priority: int) -> str:
    """Return the lane of the tasks of a Django queue with this priority."""
    band = "high" if priority > 0 else "low" if priority < 0 else ""
    return _lane(queue_name, band)


def _lane(queue_name: str, band: str) -> str:
    return f"{queue_name}:{band}" if band else queue_name


class BackendSettings:
    """One entry of `TASKS`, checked."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        """Check it.

        Raises:
            UsageError: A setting is invalid.
        """
        options = dict(params.get("OPTIONS", {}))
        if unknown := options.keys() - set(_KNOWN):
            raise unknown_option("OPTIONS", min(unknown), _KNOWN)
        lanes = _lanes(params.get("QUEUES", [DEFAULT_TASK_QUEUE_NAME]))
        of_queue = {name: options[name] for name in _OF_QUEUE if name in options}
        name = options.get("name", DEFAULT_NAME)
        #: the queue; it connects at its first use
        self.queue = Queue(options.get("url"), name=name, lanes=lanes, **of_queue)
        of_tasks = {name: options[name] for name in _OF_TASKS if name in options}
        #: the options of each task
        self.task_options = cast("TaskOptions", of_tasks)
        Options().merged(self.task_options)
        #: the database whose transaction an enqueue waits for; None if it does not wait
        self.on_commit: str | None = _database(options.get("on_commit", False))


def _lanes(queues: object) -> dict[str, int]:
    if isinstance(queues, str) or not isinstance(queues, Sequence | set | frozenset):
        raise UsageError(f"QUEUES={queues!r} is not a list of names: write ['default', 'mail']")
    names = cast("Sequence[str]", queues)
    if not names:
        raise UsageError(
            "QUEUES=[] allows any name, but workers must know which queues to read: name each "
            "queue, or leave QUEUES out for 'default'"
        )
    lanes = {_lane(name, band): share for name in names for band, share in BANDS.items()}
    if len(lanes) < len(BANDS) * len(names):
        raise UsageError(
            f"QUEUES={queues!r}: a name that ends in ':high' or ':low' is taken by the lane of "
            f"another queue: use another name"
        )
    return lanes


def _database(on_commit: object) -> str | None:
    if on_commit is False or on_commit is None:
        return None
    database = "default" if on_commit is True else on_commit
    if not isinstance(database, str) or database not in settings.DATABASES:
        raise UsageError(
            f"on_commit={on_commit!r} is invalid: use True, False or the name of one of DATABASES "
            f"({', '.join(map(repr, settings.DATABASES))})"
        )
    return database


# Django makes the objects of backends again in each thread, and again when tests change `TASKS`.
_known: dict[str, tuple[Mapping[str, Any], BackendSettings]] = {}
_lock = threading.Lock()


def settings_of(alias: str, params: Mapping[str, Any]) -> BackendSettings:
    """Return the settings of the backend *alias*, with its queue; the same in each thread.

    Raises:
        InvalidTaskBackend: They are invalid. `manage.py check` shows that too.
    """
    known = _known.get(alias)
    if known is not None and known[0] == params:
        return known[1]
    with _lock:
        known = _known.get(alias)
        if known is None or known[0] != params:
            try:
                known = (params, BackendSettings(params))
            except UsageError as error:
                raise InvalidTaskBackend(f"TASKS[{alias!r}]: {error}") from error
            _known[alias] = known
        return known[1]


def problems(alias: str, params: Mapping[str, Any]) -> Iterator[checks.CheckMessage]:
    """Yield what is wrong with an entry of `TASKS`, as Django's system checks show it."""
    try:
        BackendSettings(params)
        connector_for(params.get("OPTIONS", {}).get("url"))
    except (AioStreamQError, TypeError, ValueError) as error:
        yield checks.Error(f"TASKS[{alias!r}]: {error}", id="aiostreamq.E001")
