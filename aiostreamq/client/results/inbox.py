"""The inbox of one process: a blocking read for the hints of all jobs that it awaits.

A hint says that a job has ended, and usually contains the outcome. It can be lost, because BLPOP
removes an item that it may fail to deliver. So everything that is awaited is looked up again
after each loss of the connection, and regularly.
"""

import asyncio
from typing import TYPE_CHECKING, cast

from aiostreamq import clock
from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.client.results.tickets import HINTED
from aiostreamq.store.connection.blocking_read import BlockingRead

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.client.results.lookups import Lookups
    from aiostreamq.client.results.tickets import Tickets
    from aiostreamq.store.connection.connector import Connector
    from aiostreamq.store.connection.link import Link

# Seconds that one BLPOP blocks. At its end, an idle process also notices that its
# connection has died.
BLOCK = 5

# Seconds between two look-ups of everything that is awaited. Only lost hints wait for it.
SWEEP = 10.0


class Inbox:
    """The inbox of one process, which resolves its tickets."""

    def __init__(
        self, connector: "Connector", key: str, tickets: "Tickets", lookups: "Lookups"
    ) -> None:
        self._key = key
        self._tickets = tickets
        self._lookups = lookups
        self._blocking = BlockingRead(connector, "inbox", BLOCK, replaced=self._start_over)
        self.on_call: Callable[[str], None] | None = None  #: gets the token of a lock; "" for all
        self.listening: OwnTask[None] | None = None  #: None unless something was awaited

    def listen(self) -> None:
        """Begin to read."""
        self._lookups.swept = clock.monotonic()
        self.listening = spawn(self._listen(), "aiostreamq:inbox")

    def close(self) -> None:
        """Stop reading."""
        self._blocking.close()
        if self.listening is not None:
            self.listening.end()

    async def join(self) -> None:
        """Wait until nothing runs after `close`."""
        if self.listening is not None:
            await asyncio.wait([self.listening])

    def abandon(self) -> None:
        """Drop the connection of an event loop that is not running."""
        self._blocking.abandon()

    async def _listen(self) -> None:
        try:
            while True:
                notices = await self._blocking.persist(self._pop)
                if notices is not None:
                    self._take(notices)
                if clock.monotonic() - self._lookups.swept > SWEEP:
                    self._lookups.sweep()
        except Exception as error:  # noqa: BLE001  # whatever it is, the waits get it
            # Redis refused, or the queue was closed: no outcome will come any more.
            self.listening = None
            self._tickets.fail(error)

    async def _pop(self, link: "Link") -> bytes | None:
        reply = await link.call("BLPOP", self._key, BLOCK)
        return None if reply is None else cast("list[bytes]", reply)[1]

    def _take(self, notices: bytes) -> None:
        by_id = self._tickets.by_id
        for line in notices.split(b"\n"):
            job_id, _, outcome = line.partition(b" ")
            if not job_id:
                self._take_mark(outcome.decode(errors="replace"))
                continue
            # Another program may push anything here: it will match no id of ours.
            ticket = by_id.get(job_id.decode(errors="replace"))
            if ticket is None:
                continue  # no handle of this job is left
            if outcome:
                ticket.resolve(outcome, HINTED)
            else:  # the outcome was too long for a hint: fetch it
                self._lookups.add(ticket)

    def _take_mark(self, mark: str) -> None:
        kind, is_call, token = mark.partition(" ")
        if not is_call:
            self._lookups.give_up(mark)
        elif kind == "lock" and self.on_call is not None:
            self.on_call(token)

    def _start_over(self) -> None:
        self._lookups.start_over()
        if self.on_call is not None:
            self.on_call("")
