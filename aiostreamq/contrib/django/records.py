"""The record of a task's runs: what `TaskResult` shows and a job does not keep by itself.

A job that has returned has it as its result, with `return_value`. Each failed attempt sends it
as a report of progress, so that it is there for the next attempt and after the end.
"""

import json
from dataclasses import field, fields, replace
from datetime import UTC, datetime
from typing import Any, cast

from django.conf import settings
from django.tasks.base import TaskError
from django.utils import timezone
from django.utils.json import normalize_json

from aiostreamq import clock
from aiostreamq.model.record import record

#: The message of the report of progress that has the record of a failed attempt.
FAILED_ATTEMPT = "django.tasks: attempt failed"

#: The keyword argument of a job with what `.using(...)` has changed.
USING = "_using"


@record
class Record:
    """The runs of a task so far."""

    args: list[Any] = field(default_factory=list[Any])
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    started_at: str = ""  #: of the first attempt, ISO 8601
    attempted_at: str = ""  #: of the last attempt
    finished_at: str = ""  #: of the last attempt
    worker_ids: list[str] = field(default_factory=list[str])
    errors: list[list[str]] = field(default_factory=list[list[str]])  #: class path, traceback
    return_value: Any = None

    def attempt(self, worker: str, args: list[Any], kwargs: dict[str, Any]) -> "Record":
        """Return the record with an attempt that begins."""
        now = _now()
        return replace(
            self,
            args=args,
            kwargs=kwargs,
            started_at=self.started_at or now,
            attempted_at=now,
            finished_at="",
            worker_ids=[*self.worker_ids, worker],
        )

    def failed(self, path: str, traceback: str) -> "Record":
        """Return the record with the end of an attempt that raised."""
        now = _now()
        return replace(self, finished_at=now, errors=[*self.errors, [path, traceback]])

    def returned(self, value: object) -> "Record":
        """Return the record with the end of an attempt that returned *value*, which is JSON."""
        return replace(self, finished_at=_now(), return_value=value)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object, without what is empty."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in found.items() if value or name == "return_value"}

    @classmethod
    def of_json(cls, found: object) -> "Record":
        """Return the record in *found*; an empty one for what another program wrote."""
        if not isinstance(found, dict):
            return cls()
        known = cast("dict[str, Any]", found)
        empty = cls()
        valid = {
            name: known[name]
            for name in (each.name for each in fields(cls))
            if name in known
            and (name == "return_value" or type(known[name]) is type(getattr(empty, name)))
        }
        return cls(**valid)

    @property
    def task_errors(self) -> list[TaskError]:
        """The errors of the failed attempts."""
        return [TaskError(exception_class_path=one[0], traceback=one[1]) for one in self.errors]


def _now() -> str:
    return datetime.fromtimestamp(clock.wall(), UTC).isoformat()


def local(moment: datetime | None) -> datetime | None:
    """Return *moment* as Django's settings ask for it: naive in local time without `USE_TZ`."""
    if moment is None or settings.USE_TZ or timezone.is_naive(moment):
        return moment
    return timezone.make_naive(moment)


def parsed(moment: str) -> datetime | None:
    """Return a moment of a record; None if there is none."""
    try:
        return datetime.fromisoformat(moment)
    except ValueError:
        return None


def plain(value: object) -> Any:
    """Return *value* as Django's tasks see JSON, with members of enumerations as their values.

    Raises:
        TypeError: It is not JSON.
    """
    return json.loads(json.dumps(normalize_json(value)))
