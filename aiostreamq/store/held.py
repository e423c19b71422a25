"""Held jobs: they wait in Redis until their limits have room."""

from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.aio.batching import split
from aiostreamq.logs import get_logger
from aiostreamq.model.delivery import RetryRequest
from aiostreamq.model.keys import ADMITTED, GROUP
from aiostreamq.store.deliveries import SETTLE_LIMIT, Deliveries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import Delivery, HeldSubmission
    from aiostreamq.store.connection.link import Argument, Link, Reply
    from aiostreamq.store.durability import ConfirmedRunner
    from aiostreamq.store.queue import QueueStore
    from aiostreamq.store.reads import Read

logger = get_logger("aiostreamq.store")

# How many jobs one call admits: some 2 ms of Redis.
ADMIT_LIMIT = 150


class Admitted(NamedTuple):
    """The answer to a look for held jobs."""

    read: "Read"
    wait: float | None  #: seconds until this worker must look again; None if unknown
    has_more: bool  #: whether there may be more that has room now
    loss: bytes  #: what another program has deleted: b"rules", b"backlogs", or nothing


class Hold(NamedTuple):
    """A delivery that must wait for room under its limits."""

    delivery: "Delivery"
    backlog: str  #: the name of the backlog
    costs: str  #: a number for each limit, with spaces between; empty for 1 each


class Quiet(NamedTuple):
    """A time in which a rate lets nothing pass."""

    token: str  #: of the rate
    until_ms: int  #: its end, in ms since 1970
    span_ms: int  #: how long it may be from now, whatever the clock says
    job_id: str  #: of the job that asks for it


class HeldJobs:
    """The held jobs of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._deliveries = Deliveries(queue)
        keys = queue.keys
        self._prefix = keys.prefix
        self._keys = [keys.ready, keys.stream(ADMITTED), keys.cancelled, keys.paused]
        self._limits, self._due = keys.limits, keys.due

    async def enqueue(
        self,
        jobs: "Sequence[HeldSubmission]",
        inbox: str,
        deadline: float,
        confirmed: "ConfirmedRunner | None" = None,
    ) -> set[int]:
        """Put new jobs into their backlogs; return the places (from 0) of those whose id is taken.

        Args:
            jobs: The jobs, as many as one call may have.
            inbox: The inbox of this process, for the jobs that are awaited.
            deadline: Seconds after which to stop trying.
            confirmed: Runs the script and waits for its writes; None waits for nothing.

        Raises:
            QueueUnavailable: *deadline* passed; each job may or may not be in.
            EnqueueNotConfirmed: The jobs are in, but were not confirmed in time.
            BrokerError: Redis refused.
        """
        arguments: list[Argument] = [self._prefix, inbox]
        for job in jobs:
            arguments += (job.job_id, job.mark, job.backlog, job.costs, job.envelope)
        keys = self._keys[:1]
        if confirmed is None:
            reply = await self._queue.run("enqueue_held", keys, arguments, deadline)
        else:
            reply = await confirmed.run("enqueue_held", keys, arguments, deadline, len(jobs))
        return {place - 1 for place in cast("list[int]", reply)}

    async def hold(self, batch: "Sequence[Hold]") -> int:
        """Have deliveries wait in their backlogs; return how many were still ours."""
        held = 0
        for some in split(batch, SETTLE_LIMIT, lambda one: len(one.delivery.envelope)):
            arguments: list[Argument] = [GROUP, self._prefix]
            for delivery, backlog, costs in some:
                arguments += (delivery.stream, delivery.entry, backlog, costs)
            done = cast("int", await self._queue.run("hold", self._queue.streams, arguments))
            if done < len(some):  # the next worker that gets one of those holds it again
                await self._deliveries.requeue_deleted(
                    [RetryRequest(one.delivery, 0) for one in some]
                )
            held += done
        return held

    async def quiet(self, quiets: "Sequence[Quiet]") -> int:
        """Have rates let nothing pass for a time; return how many do so for longer than before."""
        arguments: list[Argument] = [self._prefix]
        for one in quiets:
            arguments += one
        return cast("int", await self._queue.run("quiet_limits", [self._limits], arguments))

    async def charge(self, delivery: "Delivery", token: str, cost: float) -> bool:
        """Set what a running job takes of a rate; return False if it has left its worker.

        Repeats until Redis answers.
        """
        arguments: list[Argument] = [self._prefix, token, f"{cost:.12g}"]
        arguments += (delivery.job_id, delivery.entry)
        return await self._queue.run("charge_rate", [self._due], arguments) == 1

    async def admit(
        self,
        link: "Link",
        consumer: str,
        count: int,
        bell: bytes,
        lanes: "Sequence[str]",
        tasks: "Sequence[str]",
        *,
        has_rules: bool = False,
    ) -> Admitted:
        """Deliver held jobs whose limits have room.

        Args:
            link: A connection of the caller's own.
            consumer: The worker that gets the deliveries.
            count: How many jobs it has free slots for; with 0 it leaves the next look to others.
            bell: The entry that has woken it; empty if none has.
            lanes: The lanes that it serves, and that are not paused.
            tasks: The tasks with limits that it may run.
            has_rules: Whether its code has limits. Then nothing is admitted if Redis does not
                know their rules any more.
        """
        count = min(count, ADMIT_LIMIT)
        arguments: list[Argument] = [GROUP, self._prefix, consumer, count, bell]
        arguments += (f" {' '.join(lanes)} ", int(has_rules), *tasks)
        reply = await self._queue.run_on(link, "admit", self._keys, arguments)
        streams, wait_ms, has_more, has_stops, trouble, loss = cast(
            "tuple[Reply, int, int, int, list[bytes], bytes]", reply
        )
        for error in trouble:
            logger.error("jobs wait for the repair of a key: %s", error.decode(errors="replace"))
        read = self._deliveries.parse(streams)
        if read.deliveries:
            read.paused = {}
            if has_stops:
                await self._deliveries.note_stops(link, read)
        return Admitted(read, None if wait_ms < 0 else wait_ms / 1000, has_more == 1, loss)
