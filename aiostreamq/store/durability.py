"""A queue whose enqueues wait until a second place has them: a replica, or the disk.

Over a connection of its own, because Redis makes a connection that waits wait
with all that comes after.
"""

import asyncio
from typing import TYPE_CHECKING, cast

from aiostreamq.aio.batching import GroupCommit
from aiostreamq.errors import (
    BrokerError,
    EnqueueNotConfirmed,
    QueueUnavailable,
    UnsupportedServer,
    UsageError,
)
from aiostreamq.store.broker import OPEN_TIMEOUT, Broker
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.connection.reconnecting import ReconnectingLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.keys import Keys
    from aiostreamq.model.options import Durability
    from aiostreamq.store.connection.connector import Connector
    from aiostreamq.store.connection.link import Argument, Link, Reply
    from aiostreamq.store.connection.server import Server

# Milliseconds that Redis is asked to wait in one go: longer than the second that
# appendfsync everysec takes, shorter than the silence after which a link is given
# up. The next call may have to wait for it.
LONGEST_WAIT_MS = 2000

# One question is for any number of calls.
MANY = 1_000_000

# How long what replication_marker.lua writes stays.
KEEP_MS = 60_000

# Of the arguments of enqueue.lua: before the jobs, and for each.
HEAD_ARGUMENTS, JOB_ARGUMENTS = 3, 4

# The scripts that are run here.
WRITERS = ("enqueue", "delay", "replication_marker")

_Question = tuple["asyncio.Future[bool]", float]  # the answer, and when it is of no use any more

_SECOND_PLACE = {"replicated": "by a replica", "fsync": "to be on disk"}


class DurableBroker(Broker):
    """Scripts that write, each followed by a wait for its writes."""

    def __init__(
        self,
        connector: "Connector",
        keys: "Keys",
        lanes: "Sequence[str]",
        durability: "Durability",
    ) -> None:
        if connector.is_in_memory:
            raise UsageError(
                f"durability={durability!r} can not be had of memory://, which has neither "
                f"replicas nor a disk: leave it out there"
            )
        super().__init__(connector, keys, lanes, line=ReconnectingLink(connector, durability))
        self._durability: Durability = durability
        self._confirmer: _Confirmer | None = None  # of the link as it stands

    async def open(self, deadline: float = OPEN_TIMEOUT) -> "Server":
        """Connect, and look whether the server can do this.

        Raises:
            UnsupportedServer: It can not: it is too old, or keeps no append-only file.
        """
        is_new = self._server is None
        server = await super().open(deadline)
        if is_new and self._durability == "fsync":
            try:
                await self._line.persist(
                    lambda link: link.call(*question("fsync", 1)), deadline=deadline
                )
            except CommandError as error:
                self._server = None
                raise _unsupported(server, error) from error
        return server

    async def run(
        self,
        script: str,
        keys: "Sequence[str]",
        arguments: "Sequence[Argument]",
        deadline: float | None = None,
    ) -> "Reply":
        """Run one of SCRIPTS, and wait until its writes are confirmed.

        Raises:
            EnqueueNotConfirmed: The script has run, but *deadline* seconds passed before that.
            QueueUnavailable: *deadline* passed, and it is not known whether it has run.
            CommandError: Redis refused.
        """
        deadline = OPEN_TIMEOUT if deadline is None else deadline
        if self._server is None:
            await self.open(min(deadline, OPEN_TIMEOUT))
        ends = asyncio.get_running_loop().time() + deadline
        has_run = False

        async def attempt(link: "Link") -> "Reply":
            nonlocal has_run
            confirmer = await self._confirmer_on(link)
            # Asked for first, sent last: the question leaves at the end of this turn.
            asked = confirmer.ask(ends)
            ran = await confirmer.sent(self._scripts[script].call(link, keys, arguments))
            places = cast("list[int]", ran)
            if _is_all_full(places, arguments):
                return ran
            has_run = True
            # Where an id was taken, the first yes may be about nothing (replication_marker.lua).
            is_about_writes = all(place < 0 for place in places)
            while True:
                if not await asked:
                    asked = confirmer.ask(ends)
                elif is_about_writes:
                    return ran
                else:
                    is_about_writes = True
                    asked = confirmer.ask(ends)
                    mark = self._scripts["replication_marker"].call(
                        link, [self.keys.confirm], [KEEP_MS]
                    )
                    await confirmer.sent(mark)

        try:
            return await self._line.persist(attempt, repair=self.set_up, deadline=deadline)
        except QueueUnavailable as error:
            if not has_run:
                raise
            raise EnqueueNotConfirmed(
                f"enqueued, but not confirmed {_SECOND_PLACE[self._durability]} within "
                f"{deadline:g} s: enqueue it again with the same id"
            ) from error

    async def _confirmer_on(self, link: "Link") -> "_Confirmer":
        confirmer = self._confirmer
        if confirmer is None or confirmer.link is not link or not confirmer.has_scripts:
            # The question is sent before the script's answer is there. Behind a script
            # that the server has not got it would be about nothing.
            for name in WRITERS:
                await self._scripts[name].load(link)
            self._confirmer = confirmer = _Confirmer(link, self._durability)
        return confirmer


class _Confirmer:
    """Asks over one link whether what was sent has been confirmed, for all who ask at once.

    Redis keeps the link waiting meanwhile; what is sent then runs afterwards, and
    the next question is about all of it.
    """

    def __init__(self, link: "Link", durability: "Durability") -> None:
        self.link = link
        self.has_scripts = True  #: until the server says otherwise
        self._durability: Durability = durability
        self._questions = GroupCommit[_Question](self._ask, MANY)

    def ask(self, ends: float) -> "asyncio.Future[bool]":
        """Ask about all that is sent up to the end of this turn of the loop.

        Args:
            ends: Loop time when the answer is of no use any more.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._questions.add((answer, ends))
        return answer

    async def sent(self, reply: "asyncio.Future[Reply]") -> "Reply":
        """Wait for the reply to a script, and note where the server has not got it."""
        try:
            return await reply
        except CommandError as error:
            if error.code == "NOSCRIPT":
                self.has_scripts = False
            raise

    async def _ask(self, questions: "list[_Question]") -> None:
        left = max(ends for _, ends in questions) - asyncio.get_running_loop().time()
        wait_ms = max(1, min(int(left * 1000), LONGEST_WAIT_MS))  # 0 would be for ever
        try:
            reply = await self.link.call(*question(self._durability, wait_ms))
        except BrokerError as error:
            for answer, _ in questions:
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # whoever has gone need not be told
            return
        count = cast("int", reply[0] if isinstance(reply, list) else reply)
        for answer, _ in questions:
            if not answer.done():
                answer.set_result(count > 0)


def question(durability: "Durability", wait_ms: int) -> "tuple[Argument, ...]":
    """The command that waits for the writes of its connection."""
    if durability == "fsync":
        return "WAITAOF", 1, 0, wait_ms
    return "WAIT", 1, wait_ms


def _is_all_full(places: "list[int]", arguments: "Sequence[Argument]") -> bool:
    """Whether an enqueue found no room for any of its jobs: there is nothing to wait for."""
    jobs = (len(arguments) - HEAD_ARGUMENTS) // JOB_ARGUMENTS
    return len(places) == jobs and all(place < 0 for place in places)


def _unsupported(server: "Server", error: CommandError) -> Exception:
    told = str(error)
    if "unknown command" in told:
        return UnsupportedServer(
            f"durability='fsync' needs Redis 7.2 or newer to tell what is on disk, and this is "
            f"{server.name}: set `appendonly yes` and `appendfsync always` there, and leave "
            f"durability out"
        )
    if "appendonly" in told:
        return UnsupportedServer(
            f"durability='fsync' needs `appendonly yes`, which {server.name} is not set to"
        )
    return error
