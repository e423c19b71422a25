"""Parked jobs: they wait until a worker can run their task."""

from typing import TYPE_CHECKING, cast

from aiostreamq.aio.batching import split
from aiostreamq.model.delivery import RetryRequest
from aiostreamq.model.keys import GROUP
from aiostreamq.store.deliveries import SETTLE_LIMIT, Deliveries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import Delivery
    from aiostreamq.store.connection.link import Argument, Link, Reply
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.store.reads import Read

# How many jobs a call unparks: some 2 ms of Redis.
UNPARK_LIMIT = 200


class ParkedJobs:
    """The parked jobs of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._deliveries = Deliveries(queue)
        self._prefix = queue.keys.prefix
        self._tasks = queue.keys.parked
        self._keys = [queue.streams[0], queue.keys.cancelled, queue.keys.paused]

    async def park(self, batch: "Sequence[tuple[Delivery, str]]") -> int:
        """Park deliveries, each with the name of its task; return how many were still ours."""
        parked = 0
        for some in split(batch, SETTLE_LIMIT, lambda one: len(one[0].envelope)):
            arguments: list[Argument] = [GROUP, self._prefix]
            for delivery, task in some:
                arguments += (delivery.stream, delivery.entry, task)
            done = cast("int", await self._queue.run("park", self._queue.streams, arguments))
            if done < len(some):  # the next worker that gets one of those parks it again
                await self._deliveries.requeue_deleted([RetryRequest(one, 0) for one, _ in some])
            parked += done
        return parked

    async def are_any_set_aside(self) -> tuple[bool, bool]:
        """Whether any job is parked, and whether any is held by its limits."""
        held = self._queue.keys.held
        if await self._queue.call("EXISTS", self._tasks, held) == 0:
            return False, False
        # Refused if another program has overwritten the key: no reader must try to unpark then.
        are_parked = await self._queue.call("SCARD", self._tasks) != 0
        return are_parked, await self._queue.call("EXISTS", held) == 1

    async def unpark(self, tasks: "Sequence[str]") -> int:
        """Put all jobs that are parked for *tasks* into their stream; return how many."""
        unparked = 0
        while True:
            reply = await self._queue.run("unpark", self._keys, self._arguments(tasks))
            moved, _, _, has_more = cast("tuple[int, Reply, int, int]", reply)
            unparked += moved
            if not has_more:
                return unparked

    async def release(
        self, link: "Link", consumer: str, count: int, tasks: "Sequence[str]"
    ) -> "Read":
        """Unpark jobs of *tasks*, and deliver them in the same step.

        If other returned jobs wait longer, those are delivered first. Jobs that are unparked and
        find no room in *count* stay with the returned ones.

        Args:
            link: A connection of the caller's own.
            consumer: The worker that gets the deliveries.
            count: How many jobs it has room for.
            tasks: Tasks that it can run.
        """
        arguments = self._arguments(tasks, min(count, UNPARK_LIMIT), consumer)
        reply = await self._queue.run_on(link, "unpark", self._keys, arguments)
        _, streams, has_stops, has_more = cast("tuple[int, Reply, int, int]", reply)
        read = self._deliveries.parse(streams)
        read.has_more = has_more == 1
        if not read.deliveries:
            return read  # and what is paused stays unknown: the script has not asked
        read.paused = {}
        if has_stops:
            await self._deliveries.note_stops(link, read)
        return read

    def _arguments(
        self, tasks: "Sequence[str]", limit: int = UNPARK_LIMIT, consumer: str = ""
    ) -> "list[Argument]":
        return [self._prefix, limit, GROUP, consumer, *tasks]
