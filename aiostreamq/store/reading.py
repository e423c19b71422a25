"""Reading from streams: what Redis answers, as deliveries."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from aiostreamq.model.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiostreamq.store.link import Reply


@dataclass(slots=True)
class Read:
    """What one read brought."""

    deliveries: list[Delivery] = field(default_factory=list[Delivery])
    #: entries that are no jobs, as (place of the stream, entry)
    unreadable: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])


def parse_read(reply: "Reply", places: "Mapping[bytes, int]") -> Read:
    """Turn the reply of XREADGROUP into deliveries.

    Args:
        reply: As it came; None where there was nothing.
        places: The place (from 1) of each stream by its key.
    """
    read = Read()
    for key, entries in cast("list[tuple[bytes, list[tuple[bytes, list[bytes] | None]]]]", reply or []):
        place = places[key]
        for entry, fields in entries:
            try:
                # As enqueue.lua writes them, names between the values.
                id_name, job_id, _, number, _, envelope = cast("list[bytes]", fields)
                if id_name != b"id":
                    raise ValueError(id_name)
                read.deliveries.append(
                    Delivery(place, entry, job_id.decode(), int(number), envelope)
                )
            except (TypeError, ValueError):
                read.unreadable.append((place, entry))
    return read
