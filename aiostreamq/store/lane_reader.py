"""How a worker is given work: what was returned first, then from the lanes it serves."""

from typing import TYPE_CHECKING, cast

from aiostreamq.model.keys import GROUP, OVERFLOW
from aiostreamq.model.lanes import StrideScheduler
from aiostreamq.store.deliveries import Read

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiostreamq.model.keys import Spillway
    from aiostreamq.store.broker import Broker
    from aiostreamq.store.connection.link import Argument, Link, Reply

# How many one script call delivers: about 1 ms of Redis.
TAKE_LIMIT = 500


class LaneReader:
    """Reads for one worker. One lane is read as it is; several by their weights."""

    def __init__(self, broker: "Broker", weights: "Mapping[str, int]", *, strict: bool) -> None:
        """Prepare to read.

        Args:
            broker: The queue.
            weights: Of the lanes that are served.
            strict: Whether a lane comes only when all weightier ones are empty.
        """
        self._broker = broker
        self._weights = weights
        self._strict = int(strict)
        self.read_only(weights)

    def read_only(self, lanes: "Iterable[str]") -> None:
        """Read only these *lanes*, of those that are served, from the next read on."""
        # Of lanes that have come equally far, the script takes the first.
        chosen = sorted(lanes, key=lambda lane: -self._weights[lane])
        streams = self._broker.streams
        self._places = [self._broker.place_of(lane) for lane in chosen]
        self._streams = [streams[0], *(streams[place - 1] for place in self._places)]
        self._turns = StrideScheduler([self._weights[lane] for lane in chosen])

    async def read(self, link: "Link", consumer: str, count: int, block_ms: int | None) -> Read:
        """Read what is new, about *count* at most.

        Args:
            link: A connection of the caller's own: the read may block it.
            consumer: Whose the deliveries shall be.
            count: How many there is room for.
            block_ms: Milliseconds to wait for something; None does not wait.
        """
        if len(self._places) <= 1:
            return await self._broker.read(link, consumer, count, block_ms, self._streams)
        read = await self._take(link, consumer, min(count, TAKE_LIMIT))
        if block_ms is None or read.deliveries or read.unreadable:
            return read
        # Only to be woken, and so by as little as can be: it takes from all lanes alike.
        return await self._broker.read(link, consumer, 1, block_ms, self._streams)

    async def read_overflow(
        self, link: "Link", consumer: str, count: int, place: "Spillway"
    ) -> Read:
        """Read what other workers had nothing free for; does not wait."""
        streams = [self._broker.keys.stream(OVERFLOW[place])]
        return await self._broker.read(link, consumer, count, None, streams)

    async def _take(self, link: "Link", consumer: str, count: int) -> Read:
        turns, lanes = self._turns, self._places
        arguments: list[Argument] = [GROUP, consumer, count, self._strict]
        for weight, come in zip(turns.weights, turns.passes, strict=True):
            arguments += (weight, repr(come))
        keys = [*self._streams, self._broker.keys.cancelled, self._broker.keys.paused]
        reply = await self._broker.run_on(link, "read_lanes", keys, arguments)
        streams, dry, is_steered = cast("tuple[Reply, list[int], int]", reply)
        read = self._broker.parse(streams)
        read.paused = {}
        if is_steered:
            await self._broker.look_at_steering(link, read)
        places = [delivery.stream for delivery in read.deliveries]
        places += [place for place, _ in read.unreadable]
        turns.note([places.count(place) for place in lanes], dry)
        return read
