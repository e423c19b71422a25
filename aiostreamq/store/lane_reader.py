"""Reading for a worker: first what was returned, then the lanes that it serves."""

from collections import Counter
from typing import TYPE_CHECKING, cast

from aiostreamq.model.keys import ADMITTED, GROUP, OVERFLOW
from aiostreamq.model.lanes import StrideScheduler
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.store.parking import ParkedJobs
from aiostreamq.store.reads import Read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiostreamq.model.keys import Spillway
    from aiostreamq.store.connection.link import Argument, Link, Reply
    from aiostreamq.store.queue import QueueStore

# How many jobs one script call delivers: about 1 ms of Redis.
READ_LIMIT = 500

# With more lanes, the script for many costs a read less, or no more if all lanes have jobs.
FEW_LANES = 16

# The reply of the script for many lanes if none of them has more.
ALL_DRY = [-1]

# After this many deliveries of cancelled jobs in a row, those that follow are skipped at once: a
# delivery that its worker discards costs seven times as much.
CANCELLED_IN_A_ROW = 10

# How many entries a call skips: some 2.5 ms of Redis. And how many calls come before a read, so
# that a reader that is to stop does not take long.
SKIP_LIMIT = 400
SKIPS = 25


class LaneReader:
    """Reads for one worker: a single lane with a plain command, several by their weights."""

    def __init__(self, queue: "QueueStore", weights: "Mapping[str, int]", *, strict: bool) -> None:
        """Prepare to read.

        Args:
            queue: The queue.
            weights: The weights of the lanes that are served, by name.
            strict: Whether a lane is read only while all lanes of a greater weight are empty.
        """
        self._bell = ""  # the stream that says when held jobs may be admitted, if that is wanted
        self._queue = queue
        self._deliveries = Deliveries(queue)
        self._parked = ParkedJobs(queue)
        self._weights = weights
        self._strict = int(strict)
        self._cancelled_in_a_row = 0
        self.read_only(weights)

    def read_only(self, lanes: "Iterable[str]") -> None:
        """From the next read on, read only these *lanes* of those that are served."""
        # The script takes the first of the lanes with equal passes.
        chosen = sorted(lanes, key=lambda lane: -self._weights[lane])
        streams = self._queue.streams
        self._places = [self._queue.place_of(lane) for lane in chosen]
        self._streams = [streams[0], *(streams[place - 1] for place in self._places)]
        self._turns = StrideScheduler([self._weights[lane] for lane in chosen])
        are_many = len(chosen) > FEW_LANES
        self._weights_text = _weights_text(self._turns.weights) if are_many else None

    def hear_bell(self) -> None:
        """From the next read on, hear of held jobs that may be admitted."""
        self._bell = self._queue.keys.bell

    async def read(
        self,
        link: "Link",
        consumer: str,
        count: int,
        block_ms: int | None,
        *,
        hears_bell: bool = True,
    ) -> Read:
        """Read what is new, about *count* jobs at most.

        Args:
            link: A connection of the caller's own: the read may block it.
            consumer: The worker that gets the deliveries.
            count: How many jobs there is room for.
            block_ms: Milliseconds to wait for something; None does not wait.
            hears_bell: Whether the worker could admit a held job.
        """
        bell = self._bell if hears_bell else ""
        if self._cancelled_in_a_row >= CANCELLED_IN_A_ROW:
            await self._skip_cancelled(link, consumer)
        if len(self._places) <= 1:
            read = await self._read_plainly(link, consumer, count, block_ms, bell)
        else:
            read = await self._read_by_weight(link, consumer, min(count, READ_LIMIT))
            if block_ms is not None and not (read.deliveries or read.unreadable):
                # A blocking read ignores the weights, so it reads as little as it can.
                read = await self._read_plainly(link, consumer, 1, block_ms, bell)
            elif bell:
                read.has_held = await link.call("EXISTS", self._queue.keys.ready) == 1
        if read.cancelled and len(read.cancelled) == len(read.deliveries):
            self._cancelled_in_a_row += len(read.cancelled)
        else:
            self._cancelled_in_a_row = 0
        return read

    async def _read_plainly(
        self, link: "Link", consumer: str, count: int, block_ms: int | None, bell: str
    ) -> Read:
        streams = self._streams
        if self._bell:
            # An admitted job is delivered in the same step, but not again if its group was lost.
            streams = [*streams, self._queue.keys.stream(ADMITTED)]
        return await self._deliveries.read(link, consumer, count, block_ms, streams, bell)

    async def _skip_cancelled(self, link: "Link", consumer: str) -> None:
        """Drop the entries of cancelled jobs that come next; a job behind them waits for that."""
        keys = [self._queue.keys.cancelled, *self._streams]
        arguments = [GROUP, consumer, self._queue.keys.prefix, SKIP_LIMIT]
        for _ in range(SKIPS):
            reply = await self._queue.run_on(link, "skip_cancelled", keys, arguments)
            _, has_more = cast("tuple[int, int]", reply)
            if not has_more:
                self._cancelled_in_a_row = 0
                return

    async def read_overflow(
        self, link: "Link", consumer: str, count: int, place: "Spillway"
    ) -> Read:
        """Read jobs for which other workers had no thread, process or slot; does not wait."""
        streams = [self._queue.keys.stream(OVERFLOW[place])]
        return await self._deliveries.read(link, consumer, count, None, streams)

    async def read_parked(
        self, link: "Link", consumer: str, count: int, tasks: "Sequence[str]"
    ) -> Read:
        """Read jobs of *tasks* that other workers have parked; does not wait."""
        return await self._parked.release(link, consumer, count, tasks)

    async def _read_by_weight(self, link: "Link", consumer: str, count: int) -> Read:
        turns, places = self._turns, self._places
        arguments: list[Argument] = [GROUP, consumer, count, self._strict]
        if self._weights_text is None:
            for weight, lane_pass in zip(turns.weights, turns.passes, strict=True):
                arguments += (weight, repr(lane_pass))
            script = "read_lanes"
        else:
            passes = " ".join(map(repr, turns.passes)) if any(turns.passes) else ""
            arguments += (self._weights_text, passes)
            script = "read_many_lanes"
        keys = [*self._streams, self._queue.keys.cancelled, self._queue.keys.paused]
        reply = await self._queue.run_on(link, script, keys, arguments)
        streams, dry, has_stops = cast("tuple[Reply, list[int], int]", reply)
        read = self._deliveries.parse(streams)
        read.paused = {}
        if has_stops:
            await self._deliveries.note_stops(link, read)
        if dry == ALL_DRY:
            turns.reset()
            return read
        found = Counter([delivery.stream for delivery in read.deliveries])
        found.update(place for place, _ in read.unreadable)
        turns.note([found[place] for place in places], frozenset(dry))
        return read


def _weights_text(weights: "Sequence[int]") -> str:
    """Return weights as the script for many lanes takes them."""
    some = weights[:1] if len(set(weights)) == 1 else weights
    return " ".join(map(str, some))
