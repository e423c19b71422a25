"""Reads of deliveries: how many to ask for, and what the reply holds.

Redis counts entries, not bytes. A reply that is over `client-output-buffer-limit` is cut, and with
it the connection. How much a server may send is unknown, so it is tried: a read begins small and
grows while replies are short, and is halved when a reply was cut.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from aiostreamq.model.delivery import Delivery, EntryRef
from aiostreamq.store.connection.link import LinkCut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiostreamq.store.connection.link import Reply

# Our own entries have a handful of fields. Lua cannot pass on thousands.
MOST_FIELDS = 64

# Digits of a count that Lua still counts exactly: its numbers are floats.
MOST_DIGITS = 15

# Bytes of a reply. One entry is always asked for.
READ_BYTES = 1_000_000

# Entries of the first read: the longest payloads (of 1 MiB, by default) are then 32 MB, which is
# what Redis may send at least by its own settings.
FIRST = 32

# The share of a read in the average, if its entries were shorter than the average.
WEIGHT = 0.25

_Streams = list[tuple[bytes, list[tuple[bytes, "list[bytes] | None"]]]]


class ReadSize:
    """The size of the next read of one kind."""

    def __init__(self) -> None:
        self.most = FIRST  #: how many entries to ask for at most
        self.average = 0.0  #: bytes of recent entries; it follows longer ones at once

    def note(self, entries: int, size: int) -> None:
        """Note a reply of *size* bytes with *entries*."""
        if not (entries and size):
            return
        found = size / entries
        if found < self.average:
            found = self.average + (found - self.average) * WEIGHT
        self.average = found
        self.most = max(1, min(2 * self.most, int(READ_BYTES / found)))

    def halve(self, asked: int | None = None) -> None:
        """Ask for half: a reply was cut, for which *asked* entries were asked."""
        self.most = max(1, min(self.most, asked or self.most) // 2)


class DeliveryCut(LinkCut):
    """The connection was cut at the payload of one delivery: maybe it is too long to be sent."""

    def __init__(self, entry: EntryRef, message: str) -> None:
        super().__init__(message)
        self.entry = entry  #: the delivery


@dataclass(slots=True)
class Read:
    """The result of one read."""

    deliveries: list[Delivery] = field(default_factory=list[Delivery])
    #: entries that are not jobs
    unreadable: list[EntryRef] = field(default_factory=list[EntryRef])
    #: those of the deliveries whose jobs were cancelled, and must not run
    cancelled: "Sequence[Delivery]" = ()
    #: what was paused when they were delivered, with its end in ms or 0; None is unknown
    paused: "Mapping[str, int] | None" = field(default=None, compare=False)
    #: the entry of `bell` that has woken the worker; empty if none has
    bell: bytes = field(default=b"", compare=False)
    #: whether held jobs may have room under their limits
    has_held: bool = field(default=False, compare=False)
    #: whether there is more, even if there are fewer than were asked for
    has_more: bool = field(default=False, compare=False)


def without_bell(reply: "Reply", bell: bytes) -> "tuple[Reply, bytes]":
    """Return the reply of XREADGROUP without the stream *bell*, and its entry; b"" if none."""
    streams = cast("_Streams", reply or [])
    if streams and streams[-1][0] == bell:
        return cast("Reply", streams[:-1]), streams[-1][1][-1][0]
    return reply, b""


def parse_read(reply: "Reply", places: "Mapping[bytes, int]") -> Read:
    """Turn the reply of XREADGROUP into deliveries.

    Args:
        reply: The reply; None if there was nothing.
        places: The place (from 1) of each stream by its key.
    """
    read = Read()
    for key, entries in cast("_Streams", reply or []):
        place = places[key]
        for entry, fields in entries:
            try:
                read.deliveries.append(_delivery(place, entry, fields))
            except (TypeError, ValueError):
                read.unreadable.append((place, entry))
    return read


def _delivery(place: int, entry: bytes, fields: "list[bytes] | None") -> Delivery:
    if fields is None:
        raise ValueError("the entry was deleted while it was pending")
    # In the order in which enqueue.lua writes them; more fields are rare.
    id_name, job_id, n_name, number, job_name, envelope, *more = fields
    if (id_name, n_name, job_name) != (b"id", b"n", b"job") or len(more) > MOST_FIELDS:
        raise ValueError("these are not the fields of a job")
    n = 1 if number == b"1" else _count(number)
    if not more:
        return Delivery(place, entry, job_id.decode(), n, envelope)
    rest = dict(zip(more[::2], more[1::2], strict=True))
    attempt, deaths = _count(rest.get(b"a", b"1")), len(rest.get(b"d", b"").split())
    permits = rest.get(b"l")
    return Delivery(place, entry, job_id.decode(), n, envelope, attempt, deaths, permits)


def _count(text: bytes) -> int:
    # int() takes more than digits, the scripts do not.
    if not text.isdigit() or len(text) > MOST_DIGITS or text.startswith(b"0"):
        raise ValueError("this is not a count")
    return int(text)
