"""Reading from streams: what Redis answers, as deliveries."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from aiostreamq.model.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiostreamq.store.connection.link import Argument, Link, Reply


# The fields of our own entries are a handful. Lua could not hand on thousands.
MOST_FIELDS = 64

# Digits of a count that Lua, whose numbers are floats, still counts exactly.
MOST_DIGITS = 15

_Streams = list[tuple[bytes, list[tuple[bytes, "list[bytes] | None"]]]]


@dataclass(slots=True)
class Read:
    """What one read brought."""

    deliveries: list[Delivery] = field(default_factory=list[Delivery])
    #: entries that are no jobs, as (place of the stream, entry)
    unreadable: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    #: those among the deliveries whose jobs were cancelled: not to be run
    cancelled: "Sequence[Delivery]" = ()
    #: what was paused when they were delivered, with its end in ms, 0 for none; None is unknown
    paused: "Mapping[str, int] | None" = field(default=None, compare=False)


def pairs_of(told: "Sequence[bytes]") -> dict[str, str]:
    """A hash, or the fields of an entry, as Redis tells it. Strangers may write what is no text."""
    texts = [part.decode(errors="replace") for part in told]
    return dict(zip(texts[::2], texts[1::2], strict=True))


async def call_both(
    link: "Link",
    command: "tuple[Argument, ...]",
    then: "tuple[Argument, ...]",
    *,
    in_order: bool,
) -> "tuple[Reply, Reply]":
    """Send *command*, which may block, and *then* on its heels: no round trip more.

    Redis carries *then* out after *command*, however long that blocks. What does not
    (memory://) has *in_order* set, and is sent it afterwards.
    """
    first = link.call(*command)
    if in_order:
        return await first, await link.call(*then)
    second = link.call(*then)
    try:
        return await first, await second
    except BaseException:
        # Nobody will ask for it any more, be it an answer or the same trouble.
        if not second.cancelled() and not second.cancel():
            second.exception()
        raise


def parse_read(reply: "Reply", places: "Mapping[bytes, int]") -> Read:
    """Turn the reply of XREADGROUP into deliveries.

    Args:
        reply: As it came; None where there was nothing.
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
    # As enqueue.lua writes them; what follows is rare.
    id_name, job_id, n_name, number, job_name, envelope, *more = fields
    if (id_name, n_name, job_name) != (b"id", b"n", b"job") or len(more) > MOST_FIELDS:
        raise ValueError("these are not the fields of a job")
    n = 1 if number == b"1" else _count(number)
    if not more:
        return Delivery(place, entry, job_id.decode(), n, envelope)
    rest = dict(zip(more[::2], more[1::2], strict=True))
    attempt, deaths = _count(rest.get(b"a", b"1")), len(rest.get(b"d", b"").split())
    return Delivery(place, entry, job_id.decode(), n, envelope, attempt, deaths)


def _count(written: bytes) -> int:
    # What int() takes beyond digits is no number to the scripts.
    if not written.isdigit() or len(written) > MOST_DIGITS or written.startswith(b"0"):
        raise ValueError("this is no count")
    return int(written)
