"""One queue in Redis: its connection, its keys, and the scripts that change it."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.keys import ADMITTED, GROUP, OVERFLOW, RETURNED, Keys
from aiostreamq.store.connection.clock import ServerClock
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.connection.reconnecting import ReconnectingLink
from aiostreamq.store.scripts import Script, scripts_for
from aiostreamq.store.wrong_type import wrong_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiostreamq.store.connection.connector import Connector
    from aiostreamq.store.connection.link import Argument, Link, Reply
    from aiostreamq.store.connection.server import Server

T = TypeVar("T")

# Seconds that the first connection may take.
OPEN_TIMEOUT = 5.0

# Seconds that the search for a damaged key may take.
SEARCH_TIMEOUT = 2.0


class QueueStore:
    """One queue over one connection; the other classes of this package work through it.

    Five of its attributes are the names and places of its streams, which each call needs.

    Every script recognises what it has done before, so each step may be repeated. When the
    connection breaks a step repeats itself, and cancelling one leaves a state in Redis that the
    next call continues from. The first call opens the connection.
    """

    def __init__(
        self,
        connector: "Connector",
        keys: Keys,
        lanes: "Sequence[str]",
        *,
        link: ReconnectingLink | None = None,
    ) -> None:
        """Prepare to connect.

        Args:
            connector: Opens connections to the server.
            keys: The names of the queue's keys.
            lanes: The names of its lanes.
            link: The connection to use; None makes a new one.
        """
        self.connector = connector
        self.keys = keys
        self.lanes = tuple(lanes)
        #: the lanes and the others
        self.stream_names = (RETURNED, *lanes, *OVERFLOW.values(), ADMITTED)
        self.streams = [keys.stream(name) for name in self.stream_names]
        #: the place of each stream, from 1, by its key
        self.stream_places = {key.encode(): at for at, key in enumerate(self.streams, start=1)}
        self._places = {name: place for place, name in enumerate(self.stream_names, start=1)}
        self.has_limits = False  #: whether there is a worker here that has tasks with limits
        self._link = link or ReconnectingLink(connector, "commands")
        self.clock = ServerClock(self._link)
        self._opening = asyncio.Lock()
        self._server: Server | None = None
        self._scripts: Mapping[str, Script] = {}

    async def open(self, deadline: float = OPEN_TIMEOUT) -> "Server":
        """Connect, check the server and create what is missing; later calls do nothing.

        Args:
            deadline: Seconds after which to stop trying.

        Raises:
            QueueUnavailable: The server cannot be reached.
            UnsupportedServer: It is too old.
        """
        async with self._opening:
            if self._server is None:
                link = self._link
                server = await link.persist(lambda _: link.ask_server(), deadline=deadline)
                await link.persist(self.clock.ask, deadline=deadline)
                self._scripts = scripts_for(server)
                await link.persist(self.create_groups, deadline=deadline)
                self._server = server
        return self._server

    async def create_groups(self, link: "Link") -> int:
        """Create missing streams and groups over *link*; return how many groups were missing."""
        streams = [*self.streams, self.keys.bell] if self.has_limits else self.streams
        return cast("int", await self._scripts["create_groups"].run(link, streams, [GROUP]))

    def close(self, *, is_loop_gone: bool = False) -> None:
        """Close the connection; if its event loop is gone, without touching that loop."""
        (self._link.abandon if is_loop_gone else self._link.close)()

    def over(self, link: ReconnectingLink) -> "QueueStore":
        """Return the same queue over another connection, maybe for another event loop.

        It is open if this one is: what `open` has asked and created is the same for both.
        """
        store = QueueStore(self.connector, self.keys, self.lanes, link=link)
        store._server, store._scripts = self._server, self._scripts
        store.has_limits = self.has_limits
        return store

    def place_of(self, lane: str) -> int:
        """Return the place of *lane* among the streams, from 1.

        Raises:
            UsageError: The queue has no such lane; a job in it would never be read.
        """
        try:
            return self._places[lane]
        except KeyError:
            raise UsageError(
                f"queue {self.keys.queue!r} has no lane {lane!r}: "
                f"name it in Queue(lanes=[...]), so that workers read it"
            ) from None

    def lane_at(self, place: int) -> str | None:
        """Return the lane at a place that `place_of` gave; None if that stream has jobs of all."""
        return self.lanes[place - 2] if 1 < place <= 1 + len(self.lanes) else None

    def is_admitted(self, place: int) -> bool:
        """Whether a place is that of the stream of admitted jobs."""
        return place == len(self.stream_names)

    @property
    def connection_count(self) -> int:
        """How often this has connected: a change shows that there was an outage."""
        return self._link.opened

    async def call(self, *command: "Argument", deadline: float | None = None) -> "Reply":
        """Send one plain command; repeat it as `run` does."""
        try:
            return await self._link.persist(lambda link: link.call(*command), deadline=deadline)
        except CommandError as error:
            await self._raise_if_wrong_type(error, [str(part) for part in command[1:2]], ())
            raise

    async def run(
        self,
        script: str,
        keys: "Sequence[str]",
        arguments: "Sequence[Argument]",
        deadline: float | None = None,
    ) -> "Reply":
        """Run one of SCRIPTS; repeat it until it succeeds or *deadline* seconds have passed.

        Raises:
            QueueUnavailable: *deadline* passed.
            CommandError: Redis refused.
        """
        if self._server is None:
            await self.open(OPEN_TIMEOUT if deadline is None else min(deadline, OPEN_TIMEOUT))
        run = self._scripts[script].run
        try:
            return await self._link.persist(
                lambda link: run(link, keys, arguments),
                repair=self.create_groups,
                deadline=deadline,
            )
        except CommandError as error:
            await self._raise_if_wrong_type(error, keys, arguments)
            raise

    async def _raise_if_wrong_type(
        self, error: CommandError, keys: "Sequence[str]", arguments: "Sequence[Argument]"
    ) -> None:
        """If *error* is about the type of a key, raise it with the name of the key."""
        # A script that knows the key has named it.
        if "WRONGTYPE" in str(error) and self.keys.prefix not in str(error):
            call = partial(self.call, deadline=SEARCH_TIMEOUT)
            prefix = self.keys.prefix
            if found := await wrong_keys(call, prefix, [*keys, *self.streams], arguments):
                raise CommandError(f"key {', '.join(found)}: {error}") from error

    async def run_on(
        self,
        link: "Link",
        script: str,
        keys: "Sequence[str]",
        arguments: "Sequence[Argument]",
    ) -> "Reply":
        """Run one of SCRIPTS once, over a connection of the caller's own."""
        return await self._scripts[script].run(link, keys, arguments)

    def script(self, name: str) -> Script:
        """Return one of SCRIPTS as this server takes it. Only after `open`."""
        return self._scripts[name]

    async def persist(self, attempt: "Callable[[Link], Awaitable[T]]", deadline: float) -> T:
        """Repeat *attempt* over the queue's own connection, as `run` does. Only after `open`.

        Raises:
            QueueUnavailable: *deadline* seconds have passed.
            CommandError: Redis refused.
        """
        return await self._link.persist(attempt, repair=self.create_groups, deadline=deadline)

    async def unblock(self, client_id: int) -> None:
        """End the blocking read of another of our connections."""
        await self.call("CLIENT", "UNBLOCK", client_id, deadline=2)


def pairs_of(reply: "Sequence[bytes]") -> dict[str, str]:
    """Return a hash, or the fields of an entry, as text. Other programs may write other bytes."""
    texts = [part.decode(errors="replace") for part in reply]
    return dict(zip(texts[::2], texts[1::2], strict=True))
