"""How links are opened: from a URL, from a ready client, or in memory."""

import asyncio
import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from aiostreamq.errors import QueueUnavailable
from aiostreamq.store.connection.address import (
    RedisSource,
    address_of,
    checked_source,
    is_unix,
    no_url,
    pool_for,
)
from aiostreamq.store.connection.link import CommandError, Link, LinkLost, SocketLink
from aiostreamq.store.connection.redis_errors import is_forbidden
from aiostreamq.store.connection.sentinel import MasterAddress, discovery_for
from aiostreamq.store.connection.server import MEMORY, Server, server_of

if TYPE_CHECKING:
    from redis.asyncio.connection import ConnectionPool
    from redis.exceptions import AuthenticationError

    from aiostreamq.store.connection.in_memory import MemoryServer

DEFAULT_URL = "redis://localhost:6379"

# The prefix of the names of our connections in CLIENT LIST.
CLIENT_NAME = "aiostreamq:"

# Seconds; opening a connection includes TLS and authentication.
CONNECT_TIMEOUT = 5.0

# Seconds without a reply before a link is given up, unless its reads block.
REPLY_TIMEOUT = 10.0

# Options for the parts of redis-py that are not used: pools, retries, pushes.
_NOT_OURS = (
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "event_dispatcher",
    # Sent by ourselves: redis-py reports its refusal like an outage.
    "client_name",
)

# The role prefix of the connections that other workers look for: a worker that takes another
# for dead closes the connection on which it reads.
READER = "reader:"

# The codes of errors for which redis-py has a class and drops the code.
_CODES = {
    "NoPermissionError": "NOPERM",
    "ReadOnlyError": "READONLY",
    "OutOfMemoryError": "OOM",
    "NoScriptError": "NOSCRIPT",
}


#: Called with the role of a connection and the error when it is lost; and when it is regained
#: with None and the seconds that this took.
OnOutage = Callable[[str, Exception | None, float], None]


class Connector(Protocol):
    """Opens links to one server."""

    @property
    def is_in_memory(self) -> bool:
        """Whether the server is part of this process."""
        ...

    on_outage: "OnOutage | None"

    @property
    def address(self) -> str:
        """The address for people, without user name and password."""
        ...

    async def open_link(self, role: str, *, reply_timeout: float = REPLY_TIMEOUT) -> Link:
        """Connect; *role* is what CLIENT LIST will show.

        Raises:
            LinkLost: The server cannot be reached now.
            CommandError: It refuses the user name, the password, or a command.
        """
        ...

    async def ask_server(self, link: Link) -> Server:
        """Ask which server *link* leads to."""
        ...

    def redirect(self, host: str, port: int) -> None:
        """Open the next links to another node of the cluster.

        Args:
            host: The host of the node; empty is the one that was connected to last.
            port: The port of the node.
        """
        ...


class RedisConnector:
    """Opens connections as a pool does, but sends commands over links of our own."""

    on_outage: "OnOutage | None" = None

    is_in_memory = False

    def __init__(self, pool: "ConnectionPool") -> None:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._class = pool.connection_class
        self._discovery = discovery_for(pool)
        options = {k: v for k, v in pool.connection_kwargs.items() if k not in _NOT_OURS}
        # Set one by one, so that a release of redis-py cannot change them.
        options |= {
            "protocol": 2,
            "decode_responses": False,
            "socket_timeout": CONNECT_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
        }
        if not options.keys() & {"driver_info", "lib_name", "lib_version"}:
            options |= driver_options()
        if not is_unix(pool):
            options["socket_keepalive"] = True
        self._options = options
        self.address = address_of(pool)
        # A socket file and a service of sentinels lead to one server only.
        self._can_be_redirected = self._discovery is None and not is_unix(pool)
        self._redirection: dict[str, Any] = {}  # host and port, once a cluster has sent others

    def check_options(self) -> None:
        """Refuse options of a URL with which no connection can be made.

        Raises:
            UsageError: One has an invalid value.
        """
        from redis.exceptions import RedisError

        try:
            self._class(**self._options)
        except (AttributeError, RedisError, TypeError, ValueError) as error:
            raise no_url(f"an option behind the ? has an invalid value: {error}") from error

    async def open_link(self, role: str, *, reply_timeout: float = REPLY_TIMEOUT) -> Link:
        """Connect as the pool would."""
        opener = asyncio.current_task()
        cancellations = opener.cancelling() if opener is not None else 0
        link: Link | None = None
        try:
            link = await self._open_link(role, reply_timeout)
            return link  # closed below if this was cancelled
        finally:
            # redis-py may swallow a cancellation during its handshake, and then succeed, or fail.
            # A service whose connections fail would otherwise never end.
            if opener is not None and opener.cancelling() > cancellations:
                if link is not None:
                    link.close()
                raise asyncio.CancelledError

    async def _open_link(self, role: str, reply_timeout: float) -> Link:
        from redis.exceptions import AuthenticationError, RedisError, ResponseError

        redirection = self._redirection
        options: dict[str, Any] = {**self._options, **redirection}
        try:
            if self._discovery is not None:
                options["connection_pool"] = MasterAddress(await self._discovery.find())
            connection = self._class(**options)
            await connection.connect()
        except AuthenticationError as error:
            raise _refusal(error) from error
        except ResponseError as error:
            code = _CODES.get(type(error).__name__, "")
            raise CommandError(f"{code} {error}".lstrip()) from error
        except (RedisError, OSError) as error:
            if not redirection:
                raise LinkLost(f"cannot connect to Redis: {reason_of(error)}") from error
            # Maybe that node is gone. The one of the URL is asked again where the queue is.
            self._redirection = {}
            node = "{host}:{port}".format_map(redirection)
            raise LinkLost(
                f"cannot connect to {node}, where the cluster has this queue: {reason_of(error)}"
            ) from error
        except RuntimeError as error:
            # uvloop raises this if it broke before the first command was sent, asyncio does not.
            if "handler is closed" not in str(error):
                raise
            raise LinkLost(f"cannot connect to Redis: {error}") from error
        # The one private name of redis-py that is used, tested with the oldest and the newest
        # supported release. The connection object is kept because it holds the stream, which
        # closes the socket when it is collected.
        writer = cast("asyncio.StreamWriter", connection._writer)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

        def forget() -> None:
            connection._reader = connection._writer = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

        link = SocketLink(cast("asyncio.Transport", writer.transport), reply_timeout, forget)
        await _introduce(link, role)
        return link

    async def ask_server(self, link: Link) -> Server:
        """Ask which server *link* leads to."""
        try:
            return server_of(cast("bytes", await link.call("INFO", "server")))
        except CommandError:
            # Some hosts forbid INFO. Their servers are not older than 6.2, and may be a cluster.
            return Server(
                (6, 2), "Redis (unknown version)", is_cluster=True, is_version_known=False
            )

    def redirect(self, host: str, port: int) -> None:
        """Open the next links to another node, until it cannot be reached."""
        if self._can_be_redirected:
            last = self._redirection or self._options
            self._redirection = {"host": host or last.get("host", "localhost"), "port": port}


class MemoryConnector:
    """Opens links to a server in this process."""

    is_in_memory = True
    address = "in this process"
    on_outage: "OnOutage | None" = None

    def __init__(self, server: "MemoryServer") -> None:
        self._server = server

    async def open_link(self, role: str, *, reply_timeout: float = REPLY_TIMEOUT) -> Link:
        """Make a link; it cannot fail."""
        del role, reply_timeout  # these links are not listed, and never go silent
        return self._server.new_link()

    async def ask_server(self, link: Link) -> Server:
        """Return the server in memory."""
        del link
        return MEMORY

    def redirect(self, host: str, port: int) -> None:
        """Do nothing: there is one node only."""


def connector_for(where: RedisSource) -> Connector:
    """Return the connector for a URL, a client, its pool, or the environment (None).

    Raises:
        UsageError: It is something else, the URL is invalid, or an extra is missing.
    """
    if where is None:
        where = os.environ.get("AIOSTREAMQ_URL") or os.environ.get("REDIS_URL") or DEFAULT_URL
    known = checked_source(where)
    if isinstance(known, str) and known.startswith("memory://"):
        from aiostreamq.store.connection.in_memory import MemoryServer

        return MemoryConnector(MemoryServer.named(known.removeprefix("memory://")))
    connector = RedisConnector(pool_for(known))
    if isinstance(known, str):
        connector.check_options()
    return connector


@cache
def driver_options() -> dict[str, Any]:
    """Return the option with the name and the version that redis-py sends of itself.

    Without it, a new redis-py reads the version from its metadata for each connection, which blocks
    the event loop for up to a millisecond.
    """
    import redis

    try:
        from redis.driver_info import DriverInfo
    except ImportError:  # an older redis-py, which reads it once
        return {}
    return {"driver_info": DriverInfo(lib_version=redis.__version__)}


def import_client() -> None:
    """Import redis-py and what it needs now, instead of with the first connection."""
    import_module("redis.asyncio")


async def _introduce(link: Link, role: str) -> None:
    """Set the name that CLIENT LIST shows."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await link.call("CLIENT", "SETNAME", CLIENT_NAME + role)
    except TimeoutError as error:
        link.close()
        raise LinkLost(f"cannot connect to Redis: no reply for {CONNECT_TIMEOUT:g} s") from error
    except CommandError as error:
        # The name is only for people to read, unless it is that of a reader.
        if not is_forbidden(error) or role.startswith(READER):
            link.close()
            raise
    except BaseException:
        link.close()
        raise


def unreachable(error: BaseException, after: float) -> QueueUnavailable:
    """Return the error for a caller whose deadline of *after* seconds has passed."""
    return QueueUnavailable(
        f"Redis could not be reached within the {after:g} s of this call: {reason_of(error)}"
    )


def reason_of(error: BaseException) -> str:
    """Return the message of *error*, or its kind if it has none."""
    message = str(error)
    if message:
        return message
    return "no reply in time" if isinstance(error, TimeoutError) else type(error).__name__


def _refusal(error: "AuthenticationError") -> CommandError:
    """Return the error as a link would raise it: redis-py drops its code."""
    code = "NOAUTH" if "required" in str(error) else "WRONGPASS"
    return CommandError(f"{code} {error}")
