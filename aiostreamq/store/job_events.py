"""The events of running jobs: one stream for each job that sends any."""

from typing import TYPE_CHECKING, cast

from aiostreamq.model.job_events import Emission, Entry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiostreamq.store.connection.link import Argument, Link, Reply
    from aiostreamq.store.queue import QueueStore

# The events of how many jobs one call may append.
EMIT_LIMIT = 100

Place = tuple[int, int]  # of an entry, see `Entry.place`


class EventStreams:
    """The event streams of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue

    async def emit(self, batch: "Sequence[Emission]") -> "list[int]":
        """Append events; return the places (from 0) of those that were refused."""
        arguments: list[Argument] = [self._queue.keys.prefix]
        for delivery, last, floor, keep_ms, task, events in batch:
            arguments += (delivery.job_id, delivery.stream, delivery.entry, delivery.number)
            arguments += (last, floor, keep_ms, task, events)
        refused = await self._queue.run("append_events", self._queue.streams, arguments)
        return [place - 1 for place in cast("list[int]", refused)]

    async def wait(
        self, link: "Link", after: "Mapping[str, Place]", count: int, block_ms: int | None
    ) -> "dict[str, list[Entry]]":
        """Wait until some jobs have new events; return their entries by job.

        Args:
            link: A connection of the caller's own: the read blocks it.
            after: The entry that was read last, by job.
            count: How many entries of each job to read at most.
            block_ms: Milliseconds to wait; None does not wait.
        """
        keys = [self._queue.keys.events(job_id) for job_id in after]
        ids = [f"{number}-{last}" for number, last in after.values()]
        block = () if block_ms is None else ("BLOCK", block_ms)
        reply = await link.call("XREAD", "COUNT", count, *block, "STREAMS", *keys, *ids)
        skip = len(self._queue.keys.events(""))
        streams = cast("list[tuple[bytes, Reply]]", reply or [])
        return {key.decode()[skip:]: _entries(entries) for key, entries in streams}

    async def after(self, job_id: str, place: Place, count: int) -> "list[Entry]":
        """Return the entries of a job after the one at *place*, *count* at most."""
        number, last = place
        key = self._queue.keys.events(job_id)
        reply = await self._queue.call("XRANGE", key, f"({number}-{last}", "+", "COUNT", count)
        return _entries(reply)


def _entries(reply: "Reply") -> list[Entry]:
    entries: list[Entry] = []
    for entry_id, fields in cast("list[tuple[bytes, list[bytes]]]", reply):
        number, _, last = entry_id.partition(b"-")
        known = dict(zip(fields[::2], fields[1::2], strict=True))
        # An entry that another program wrote may have no such fields.
        task, events = known.get(b"t", b""), known.get(b"e", b"")
        entries.append(Entry(int(number), int(last), task.decode(errors="replace"), events))
    return entries
