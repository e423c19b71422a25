"""Events of a running job: progress reports, and the chunks of a stream.

The events of one delivery are numbered from 1. An entry of the stream `events:<id>` holds
those that the worker sent together, as a JSON array; its id consists of the number of the
delivery and that of its last event. So an id shows a reader its position, what it has missed,
and that another delivery has begun. In the array a chunk is an array of one value, and
everything else is an object:

    [["Once"],[" upon"],{"kind":"progress","fraction":0.4,"message":"writing","meta":{}}]
"""

import re
from collections.abc import Callable, Mapping
from typing import ClassVar, Generic, Literal, NamedTuple, TypeVar, Union, cast

import orjson

from aiostreamq.errors import UsageError
from aiostreamq.model.delivery import Delivery
from aiostreamq.model.record import record
from aiostreamq.model.values.plain_json import encode

C_co = TypeVar("C_co", covariant=True)

# 15 digits: Lua's numbers are floats, and larger ones would be inexact.
_ID = r"([0-9]{1,15})-([0-9]{1,15})"


@record
class Progress:
    """The progress of a job, as its task reports it."""

    kind: ClassVar[Literal["progress"]] = "progress"
    id: str  #: pass it to `events(after=...)` to continue after this event
    fraction: float  #: 0 to 1
    message: str  #: for people; may be empty
    meta: dict[str, object]  #: other data of the report


@record
class Chunk(Generic[C_co]):
    """One value that a streaming task has yielded."""

    kind: ClassVar[Literal["chunk"]] = "chunk"
    id: str  #: pass it to `events(after=...)` to continue after this event
    value: C_co


@record
class Restarted:
    """The job runs again from the start: events of the earlier run are void."""

    kind: ClassVar[Literal["restarted"]] = "restarted"
    id: str  #: pass it to `events(after=...)` to continue after this event
    delivery: int  #: number of the new delivery


@record
class Lost:
    """Events were dropped before you read them: only the latest are kept."""

    kind: ClassVar[Literal["lost"]] = "lost"
    id: str  #: pass it to `events(after=...)` to continue after this event
    count: int  #: number of missing events


#: One of the events that `job.events()` yields.
Event = Union[Progress, Chunk[C_co], Restarted, Lost]  # noqa: UP007  # `|` takes no type variable here at run time


class Emission(NamedTuple):
    """Events of one delivery that are sent to Redis together."""

    delivery: Delivery
    last: int  #: number of its last event
    floor: int  #: entries whose last event has a lower number can be dropped
    keep_ms: int  #: how long all events of the job are kept from now on
    task: str  #: name of the task
    events: bytes  #: a JSON array; empty if only the time to keep is set


class Entry(NamedTuple):
    """An entry of a stream of events."""

    number: int  #: number of the delivery
    last: int  #: number of its last event
    task: str  #: name of the task
    events: bytes  #: a JSON array

    @property
    def place(self) -> tuple[int, int]:
        """The sort key of entries in a stream."""
        return self.number, self.last


def encode_progress(fraction: float, message: str, meta: Mapping[str, object]) -> bytes:
    """Return a progress report as JSON.

    Raises:
        UsageError: *fraction* is not between 0 and 1.
        PayloadError: *meta* cannot be written as JSON.
    """
    if not 0 <= fraction <= 1:
        raise UsageError(f"progress({fraction!r}): give the fraction that is done, from 0 to 1")
    report = {"kind": "progress", "fraction": fraction, "message": message, "meta": meta}
    return encode(report)


def encode_chunk(value: bytes) -> bytes:
    """Return a chunk whose *value* is JSON already."""
    return b"[%b]" % value


class Position:
    """The position of one reader among the events of a job."""

    __slots__ = ("number", "seq")

    def __init__(self, after: str | None = None) -> None:
        """Begin after the event *after*, or with the first one.

        Raises:
            UsageError: *after* is not the id of an event.
        """
        self.number = self.seq = 0  #: the delivery and the event that were read last
        if after is not None:
            is_text = isinstance(after, str)  # pyright: ignore[reportUnnecessaryIsInstance]
            if not is_text or (found := re.fullmatch(_ID, after)) is None:
                raise UsageError(f"after={after!r} is not an event id: pass the `id` of an event")
            self.number, self.seq = int(found[1]), int(found[2])

    def read(self, entry: Entry, restore: Callable[[object], object]) -> list[Event[object]]:
        """Return the new events of *entry*, with events for a gap or a restart before them."""
        number, last = entry.number, entry.last
        items = _items(entry.events)
        first = last - len(items) + 1
        events: list[Event[object]] = []
        if number != self.number:
            if self.number:
                events.append(Restarted(f"{number}-0", number))
            self.number, self.seq = number, 0
        if first > self.seq + 1:
            events.append(Lost(f"{number}-{first - 1}", first - 1 - self.seq))
            self.seq = first - 1
        for seq, item in enumerate(items[self.seq + 1 - first :], self.seq + 1):
            if type(item) is list:
                events.append(Chunk(f"{number}-{seq}", restore(cast("list[object]", item)[0])))
            elif (report := _progress(f"{number}-{seq}", item)) is not None:
                events.append(report)
        self.seq = max(self.seq, last)
        return events


def _items(events: bytes) -> list[object]:
    try:
        items = orjson.loads(events)
    except orjson.JSONDecodeError:
        return []
    return cast("list[object]", items) if type(items) is list else []


def _progress(event_id: str, item: object) -> Progress | None:
    """Parse a progress report; return None for kinds of events that this version does not know."""
    if type(item) is not dict:
        return None
    report = cast("dict[str, object]", item)
    if report.get("kind") != "progress":
        return None
    fraction, message, meta = report.get("fraction"), report.get("message"), report.get("meta")
    if not isinstance(fraction, int | float) or type(message) is not str or type(meta) is not dict:
        return None
    return Progress(event_id, float(fraction), message, cast("dict[str, object]", meta))
