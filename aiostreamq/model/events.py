"""What a job says while it runs: reports of progress, and the chunks of a stream.

The events of one delivery are numbered from 1. An entry of the stream `events:<id>` holds
those that left the worker together, as a JSON array; its id is the number of the
delivery and that of its last event. So ids say where a reader is, what it has missed,
and that another delivery has begun. In the array a chunk is an array of one value, and
everything else an object:

    [["Once"],[" upon"],{"kind":"progress","fraction":0.4,"message":"writing","meta":{}}]
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, NamedTuple, TypeVar, Union, cast

import orjson

from aiostreamq.errors import UsageError
from aiostreamq.model.delivery import Delivery
from aiostreamq.model.values.plain_json import encode

C_co = TypeVar("C_co", covariant=True)

# Digits that Lua, whose numbers are floats, still counts exactly.
_ID = re.compile(r"([0-9]{1,15})-([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job has got, as its task says."""

    kind: ClassVar[Literal["progress"]] = "progress"
    id: str  #: `events(after=...)` goes on behind it
    fraction: float  #: 0 to 1
    message: str  #: for people; may be empty
    meta: dict[str, object]  #: whatever else was said


@dataclass(frozen=True, slots=True)
class Chunk(Generic[C_co]):
    """One value that a streaming task has yielded."""

    kind: ClassVar[Literal["chunk"]] = "chunk"
    id: str  #: `events(after=...)` goes on behind it
    value: C_co


@dataclass(frozen=True, slots=True)
class Restarted:
    """The job runs again, from its start: what an earlier run has said counts no more."""

    kind: ClassVar[Literal["restarted"]] = "restarted"
    id: str  #: `events(after=...)` goes on behind it
    delivery: int  #: number of the delivery that follows


@dataclass(frozen=True, slots=True)
class Lost:
    """Events were dropped before they were read here: only the latest are kept."""

    kind: ClassVar[Literal["lost"]] = "lost"
    id: str  #: `events(after=...)` goes on behind it
    count: int  #: how many are missing


#: What `job.events()` gives.
Event = Union[Progress, Chunk[C_co], Restarted, Lost]  # noqa: UP007  # `|` takes no type variable here at run time


class Emission(NamedTuple):
    """What one delivery says at once, on its way to Redis."""

    delivery: Delivery
    last: int  #: number of its last event
    floor: int  #: entries whose last event has a lower number can be dropped
    keep_ms: int  #: how long all that the job has said is kept from now on
    task: str  #: name of the task
    events: bytes  #: a JSON array; empty where only the time is to be set


class Entry(NamedTuple):
    """An entry of a stream of events."""

    number: int  #: of the delivery
    last: int  #: number of its last event
    task: str  #: name of the task
    events: bytes  #: a JSON array

    @property
    def place(self) -> tuple[int, int]:
        """What orders the entries of a stream."""
        return self.number, self.last


def encode_progress(fraction: float, message: str, meta: Mapping[str, object]) -> bytes:
    """Write a report.

    Raises:
        UsageError: *fraction* is none.
        PayloadError: *meta* cannot travel.
    """
    if not 0 <= fraction <= 1:
        raise UsageError(f"progress({fraction!r}) is no fraction: say how much is done, 0 to 1")
    told = {"kind": "progress", "fraction": fraction, "message": message, "meta": meta}
    return encode(told)


def encode_chunk(value: bytes) -> bytes:
    """Write a chunk whose value is JSON already."""
    return b"[%b]" % value


class Position:
    """How far one reader has got in what a job says."""

    __slots__ = ("number", "seq")

    def __init__(self, after: str | None = None) -> None:
        """Begin behind the event *after*, or with the first there is.

        Raises:
            UsageError: That is no id of an event.
        """
        self.number = self.seq = 0  #: the delivery and the event that were read last
        if after is not None:
            is_text = isinstance(after, str)  # pyright: ignore[reportUnnecessaryIsInstance]
            if not is_text or (found := _ID.fullmatch(after)) is None:
                raise UsageError(f"{after!r} is no id of an event: pass on the `id` of one")
            self.number, self.seq = int(found[1]), int(found[2])

    def read(self, entry: Entry, restore: Callable[[object], object]) -> list[Event[object]]:
        """Return what is new in *entry*, with what must be known of it: gaps, another run."""
        number, last = entry.number, entry.last
        items = _items(entry.events)
        first = last - len(items) + 1
        told: list[Event[object]] = []
        if number != self.number:
            if self.number:
                told.append(Restarted(f"{number}-0", number))
            self.number, self.seq = number, 0
        if first > self.seq + 1:
            told.append(Lost(f"{number}-{first - 1}", first - 1 - self.seq))
            self.seq = first - 1
        for seq, item in enumerate(items[self.seq + 1 - first :], self.seq + 1):
            if type(item) is list:
                told.append(Chunk(f"{number}-{seq}", restore(cast("list[object]", item)[0])))
            elif (report := _progress(f"{number}-{seq}", item)) is not None:
                told.append(report)
        self.seq = max(self.seq, last)
        return told


def _items(events: bytes) -> list[object]:
    try:
        items = orjson.loads(events)
    except orjson.JSONDecodeError:
        return []
    return cast("list[object]", items) if type(items) is list else []


def _progress(event_id: str, item: object) -> Progress | None:
    """Read a report; what is none is for readers of a later version."""
    if type(item) is not dict:
        return None
    told = cast("dict[str, object]", item)
    if told.get("kind") != "progress":
        return None
    fraction, message, meta = told.get("fraction"), told.get("message"), told.get("meta")
    if not isinstance(fraction, int | float) or type(message) is not str or type(meta) is not dict:
        return None
    return Progress(event_id, float(fraction), message, cast("dict[str, object]", meta))
