"""Enqueues that wait until their writes are in a second place: on a replica, or on disk.

They use a connection of their own: while Redis makes a connection wait, it also keeps
everything that is sent over it later waiting.
"""

import asyncio
from typing import TYPE_CHECKING, cast

from aiostreamq import clock
from aiostreamq.aio.batching import GroupCommit
from aiostreamq.errors import (
    BrokerError,
    EnqueueNotConfirmed,
    QueueUnavailable,
    UnsupportedServer,
    UsageError,
)
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.connection.reconnecting import ReconnectingLink
from aiostreamq.store.queue import OPEN_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.options import Durability
    from aiostreamq.store.connection.link import Argument, Link, Reply
    from aiostreamq.store.connection.server import Server
    from aiostreamq.store.queue import QueueStore

# Milliseconds that Redis is asked to wait at a time: longer than the second that
# appendfsync everysec takes, shorter than the silence after which a link is given
# up. The next call may have to wait for it.
LONGEST_WAIT_MS = 2000

# One question is for any number of calls.
MANY = 1_000_000

# How long the key stays that replication_marker.lua writes.
KEEP_MS = 60_000

# The scripts that run here.
WRITERS = ("enqueue", "enqueue_delayed", "enqueue_unique", "replication_marker")

_Question = tuple["asyncio.Future[bool]", float]  # the answer, and when it comes too late

_SECOND_PLACE = {"replicated": "by a replica", "fsync": "to be on disk"}


class ConfirmedRunner:
    """Runs scripts that put jobs in, and waits until their writes are confirmed."""

    def __init__(self, queue: "QueueStore", durability: "Durability") -> None:
        """Prepare.

        Args:
            queue: The queue. Another connection to it is opened here.
            durability: The confirmation to wait for.

        Raises:
            UsageError: The queue is in memory.
        """
        if queue.connector.is_in_memory:
            raise UsageError(
                f"durability={durability!r} is not supported by memory://, which has neither "
                f"replicas nor a disk: leave it out there"
            )
        self._queue = queue.over(ReconnectingLink(queue.connector, durability))
        self._durability: Durability = durability
        self._is_checked = False  # whether the server can do this
        self._confirmer: _Confirmer | None = None  # of the present link

    @property
    def connection_count(self) -> int:
        """How often this has connected: a change shows that there was an outage."""
        return self._queue.connection_count

    async def open(self, deadline: float = OPEN_TIMEOUT) -> None:
        """Connect, and check whether the server can do this; later calls do nothing.

        Raises:
            QueueUnavailable: The server cannot be reached within *deadline* seconds.
            UnsupportedServer: It is too old, or keeps no append-only file.
        """
        if self._is_checked:
            return
        server = await self._queue.open(deadline)
        if self._durability == "fsync":
            try:
                await self._queue.call(*question("fsync", 1), deadline=deadline)
            except CommandError as error:
                raise _unsupported(server, error) from error
        self._is_checked = True

    def close(self, *, is_loop_gone: bool = False) -> None:
        """Close the connection; if its event loop is gone, without touching that loop."""
        self._queue.close(is_loop_gone=is_loop_gone)

    async def run(
        self,
        script: str,
        keys: "Sequence[str]",
        arguments: "Sequence[Argument]",
        deadline: float,
        jobs: int,
    ) -> "Reply":
        """Run a script that puts jobs in, and wait until its writes are confirmed.

        Args:
            script: "enqueue", "enqueue_delayed" or "enqueue_unique".
            keys: The keys of the script.
            arguments: The arguments of the script.
            deadline: Seconds after which to stop trying.
            jobs: How many jobs it is given. It replies with the places of those that it did not
                put in: positive if the id or the key was taken, negative if there was no room.

        Raises:
            EnqueueNotConfirmed: The script has run, but *deadline* passed before a confirmation.
            QueueUnavailable: *deadline* passed, and it is unknown whether the script has run.
            CommandError: Redis refused.
        """
        if not self._is_checked:
            await self.open(min(deadline, OPEN_TIMEOUT))
        ends = clock.monotonic() + deadline
        has_run = False

        async def attempt(link: "Link") -> "Reply":
            nonlocal has_run
            confirmer = await self._confirmer_on(link)
            # The question is asked first, but sent last: at the end of this turn of the loop.
            asked = confirmer.ask(ends)
            reply = await confirmer.sent(self._queue.script(script).call(link, keys, arguments))
            places = cast("list[int]", reply)
            if script == "enqueue_unique":
                places = cast("list[list[int]]", reply)[1]
            no_id_taken = all(place < 0 for place in places)
            if no_id_taken and len(places) == jobs:
                return reply  # all lanes are full: nothing was written
            has_run = True
            await self._confirm(link, confirmer, asked, ends, is_about_writes=no_id_taken)
            return reply

        try:
            return await self._queue.persist(attempt, deadline)
        except QueueUnavailable as error:
            if not has_run:
                raise
            raise EnqueueNotConfirmed(
                f"enqueued, but not confirmed {_SECOND_PLACE[self._durability]} within "
                f"{deadline:g} s: enqueue it again with the same id"
            ) from error

    async def _confirm(
        self,
        link: "Link",
        confirmer: "_Confirmer",
        asked: "asyncio.Future[bool]",
        ends: float,
        *,
        is_about_writes: bool,
    ) -> None:
        """Ask until the answer is yes.

        If an id was taken, the script may have written nothing, and the first yes may be about
        nothing. So a marker is written then, and confirmed (replication_marker.lua).
        """
        while not await asked:
            asked = confirmer.ask(ends)
        if is_about_writes:
            return
        asked = confirmer.ask(ends)
        marker = self._queue.script("replication_marker")
        await confirmer.sent(marker.call(link, [self._queue.keys.confirm], [KEEP_MS]))
        while not await asked:
            asked = confirmer.ask(ends)

    async def _confirmer_on(self, link: "Link") -> "_Confirmer":
        confirmer = self._confirmer
        if confirmer is None or confirmer.link is not link or not confirmer.has_scripts:
            # A question is sent before the reply to its script is known. If the server did not
            # have the script, the answer would be about nothing.
            for name in WRITERS:
                await self._queue.script(name).load(link)
            self._confirmer = confirmer = _Confirmer(link, self._durability)
        return confirmer


class _Confirmer:
    """Asks over one link whether what was sent is confirmed, once for all concurrent calls.

    Redis keeps the link waiting until it answers. Commands that are sent in that time run
    afterwards, and the next question is about all of them.
    """

    def __init__(self, link: "Link", durability: "Durability") -> None:
        self.link = link
        self.has_scripts = True  #: until a reply says otherwise
        self._durability: Durability = durability
        self._questions = GroupCommit[_Question](self._ask, MANY)

    def ask(self, ends: float) -> "asyncio.Future[bool]":
        """Ask about everything that is sent up to the end of this turn of the loop.

        Args:
            ends: When the answer comes too late, by `clock.monotonic`.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._questions.add((answer, ends))
        return answer

    async def sent(self, reply: "asyncio.Future[Reply]") -> "Reply":
        """Wait for the reply to a script, and note whether the server has the script."""
        try:
            return await reply
        except CommandError as error:
            if error.code == "NOSCRIPT":
                self.has_scripts = False
            raise

    async def _ask(self, questions: "list[_Question]") -> None:
        left = max(ends for _, ends in questions) - clock.monotonic()
        wait_ms = max(1, min(int(left * 1000), LONGEST_WAIT_MS))  # 0 would be for ever
        try:
            reply = await self.link.call(*question(self._durability, wait_ms))
        except BrokerError as error:
            for answer, _ in questions:
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # the caller may be gone: mark it as retrieved
            return
        count = cast("int", reply[0] if isinstance(reply, list) else reply)
        for answer, _ in questions:
            if not answer.done():
                answer.set_result(count > 0)


def question(durability: "Durability", wait_ms: int) -> "tuple[Argument, ...]":
    """Return the command that waits for the writes of its connection."""
    if durability == "fsync":
        return "WAITAOF", 1, 0, wait_ms
    return "WAIT", 1, wait_ms


def _unsupported(server: "Server", error: CommandError) -> Exception:
    text = str(error)
    if "unknown command" in text:
        return UnsupportedServer(
            f"durability='fsync' needs Redis 7.2 or newer, which knows what is on disk, and this "
            f"is {server.name}: set `appendonly yes` and `appendfsync always` there, and leave "
            f"durability out"
        )
    if "appendonly" in text:
        return UnsupportedServer(
            f"durability='fsync' needs `appendonly yes`, which {server.name} is not set to"
        )
    return error
