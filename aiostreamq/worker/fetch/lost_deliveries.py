"""Finding deliveries that Redis has sent to this worker and that never arrived.

This happens with a half-open connection: it was replaced here, while a read that it had sent still
waits at Redis and is served before the others. A look once per lease finds them.
"""

import asyncio
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.logs import get_logger
from aiostreamq.model.english import counted
from aiostreamq.model.outcome import encode_unreadable
from aiostreamq.store.connection.link import LinkCut, LinkLost
from aiostreamq.store.reads import DeliveryCut

if TYPE_CHECKING:
    from aiostreamq.model.delivery import EntryRef
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.deliveries import Deliveries
    from aiostreamq.store.reads import Read, ReadSize
    from aiostreamq.worker.protocols import Holdings, Runs

logger = get_logger("aiostreamq.worker")


class LostDeliveries:
    """Asks Redis which deliveries this worker should have."""

    def __init__(
        self,
        deliveries: "Deliveries",
        consumer: str,
        dispatcher: "Runs",
        holdings: "Holdings",
        lease: float,
        size: "ReadSize",
    ) -> None:
        """Prepare to look.

        Args:
            deliveries: The deliveries of the queue.
            consumer: The worker's name.
            dispatcher: Its slots bound what is asked for.
            holdings: The deliveries that are known here.
            lease: Seconds between two looks.
            size: How many payloads one reply may have.
        """
        self.is_look_due = False
        self._deliveries = deliveries
        self._consumer = consumer
        self._dispatcher = dispatcher
        self._holdings = holdings
        self._lease = lease
        self._size = size
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None  # rings when a look is due

    def set_alarm(self) -> None:
        """Have the next look be due in a lease."""
        self.is_look_due = False
        self._alarm = self._loop.call_later(clock.lease_pause(self._lease), self._ring)

    def _ring(self) -> None:
        self.is_look_due = True
        self._dispatcher.progress.wake()  # nothing else wakes the reader while all slots are taken

    @property
    def seconds_left(self) -> float:
        """Seconds until the next look. A read must not wait for longer."""
        assert self._alarm is not None
        return self._alarm.when() - clock.of_loop(self._loop)

    def close(self) -> None:
        """Look no more."""
        if self._alarm is not None:
            self._alarm.cancel()

    async def look(self, link: "Link") -> "Read | None":
        """Return what this worker was sent and does not know of; None if that is nothing."""
        # Only the ids first, as the payloads of all running jobs could be large. A job that is
        # settled in the meantime may look unknown here; `read_unknown` handles that.
        pending = await self._deliveries.pending_own(link, self._consumer, self._most_own())
        if pending <= self._holdings.keys():
            return None
        read = await self.read_unknown(link)
        if not (read.deliveries or read.unreadable):
            return None
        logger.warning(
            "recovered deliveries that were sent to this worker and never arrived: %s",
            counted(len(read.deliveries), "job"),
        )
        return read

    async def read_unknown(self, link: "Link") -> "Read":
        """Read what this worker was sent and does not know of.

        None of it can be known, or have been settled, by the time it is returned:

        - What was known when the question went out is left out, whatever has
          become of it. It may have been settled between Redis's answer and now;
          then it is known no more, and yet must not run again.
        - What Redis sent before the question, but was not known then, has been
          lost. Nothing is just arriving: the coroutine of the reader does all reading,
          one after the other, and what a read brings is known in the same turn.
        - Deliveries that Redis is about to send to another reader under this name
          are not in the answer.
        """
        known, at_once = self._holdings.keys(), self._size.most
        try:
            return await self._deliveries.read_own(
                link, self._consumer, self._most_own(), known, at_once
            )
        except DeliveryCut:
            raise  # if that happens again and again, it is too long: see `drop`
        except LinkCut as error:
            self._size.halve()
            raise LinkLost(str(error)) from error

    async def drop(self, entry: "EntryRef") -> None:
        """Move a delivery to the dead letters whose payload Redis cannot send."""
        logger.error(
            "moved to the dead letters, as Redis cuts the connection when it sends the job: its "
            "payload may be over client-output-buffer-limit; raise that, and replay the job"
        )
        outcome = encode_unreadable(
            "Redis cannot send the payload: it may be over client-output-buffer-limit"
        )
        await self._deliveries.dead_letter_unreadable([entry], outcome, self._consumer)

    async def requeue(self, lost: "Read") -> None:
        """Give the deliveries of *lost* to other workers."""
        await self._deliveries.requeue(lost.deliveries)
        lost.deliveries = []

    def _most_own(self) -> int:
        """How many to ask for, to see at least some that are not known here."""
        return len(self._holdings.keys()) + 4 * self._dispatcher.concurrency
