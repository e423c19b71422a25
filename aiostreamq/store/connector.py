"""How links are opened: from a URL, from a ready client, or in memory."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from aiostreamq.errors import QueueUnavailable, UsageError
from aiostreamq.store.discovery import Found, discovery_for
from aiostreamq.store.link import CommandError, Link, LinkLost, SocketLink
from aiostreamq.store.memory import MemoryLink, MemoryServer
from aiostreamq.store.redaction import fault_of, without_passwords
from aiostreamq.store.server import MEMORY, Server, server_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from redis.asyncio import Redis
    from redis.asyncio.connection import ConnectionPool
    from redis.exceptions import AuthenticationError

#: A URL, a ready client, or None for the environment's.
Where: TypeAlias = "str | Redis | None"

DEFAULT_URL = "redis://localhost:6379"

# What the names of our connections begin with in CLIENT LIST.
CLIENT_NAME = "aiostreamq:"

# Seconds; opening a connection includes TLS and authentication.
CONNECT_TIMEOUT = 5.0

# Seconds without a reply before a link that is not blocking is given up.
REPLY_TIMEOUT = 10.0

# redis-py options that are for its own way of talking: pools, retries, pushes.
_NOT_OURS = ("maint_notifications_config", "maint_notifications_pool_handler", "event_dispatcher")


class Connector(Protocol):
    """Opens links to one server."""

    @property
    def is_local(self) -> bool:
        """Whether the server is part of this process."""
        ...

    @property
    def address(self) -> str:
        """Where the server is, for people, without user name and password."""
        ...

    async def open_link(self, role: str, *, reply_timeout: float = REPLY_TIMEOUT) -> Link:
        """Connect; *role* is what CLIENT LIST will show.

        Raises:
            LinkLost: The server can not be reached now.
            CommandError: It refuses the user name or password.
        """
        ...

    async def ask_server(self, link: Link) -> Server:
        """Learn which server *link* leads to."""
        ...

    def redirect(self, host: str, port: int) -> None:
        """Open the next links to another node of the cluster.

        Args:
            host: Its host; empty is the one that was connected to last.
            port: Its port.
        """
        ...


class RedisConnector:
    """Opens links with a pool's way of connecting, but not its way of talking."""

    is_local = False

    def __init__(self, pool: "ConnectionPool") -> None:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._class = pool.connection_class
        self._discovery = discovery_for(pool)
        options = {k: v for k, v in pool.connection_kwargs.items() if k not in _NOT_OURS}
        # Named one by one, so that no release of redis-py decides them for us.
        options |= {
            "protocol": 2,
            "decode_responses": False,
            "socket_timeout": CONNECT_TIMEOUT,
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
            "health_check_interval": 0,
        }
        if not _is_unix(pool):
            options["socket_keepalive"] = True
        self._options = options
        self.address = _address(pool)
        # A socket file and a sentinel's service lead to one server only.
        self._can_be_redirected = self._discovery is None and not _is_unix(pool)
        self._redirection: dict[str, Any] = {}  # host and port, once a cluster has told others

    async def open_link(self, role: str, *, reply_timeout: float = REPLY_TIMEOUT) -> Link:
        """Connect as the pool would."""
        from redis.exceptions import AuthenticationError, RedisError

        redirection = self._redirection
        options: dict[str, Any] = {
            **self._options,
            **redirection,
            "client_name": CLIENT_NAME + role,
        }
        try:
            if self._discovery is not None:
                options["connection_pool"] = Found(await self._discovery.find())
            connection = self._class(**options)
            await connection.connect()
        except AuthenticationError as error:
            raise _refusal(error) from error
        except (RedisError, OSError) as error:
            if not redirection:
                raise LinkLost(f"cannot connect to Redis: {reason_of(error)}") from error
            # Maybe that node has gone. The one of the URL is asked again where the queue is.
            self._redirection = {}
            node = "{host}:{port}".format_map(redirection)
            raise LinkLost(
                f"cannot connect to {node}, where the cluster has this queue: {reason_of(error)}"
            ) from error
        except RuntimeError as error:
            # What uvloop says where asyncio says nothing: it broke before the first word went out.
            if "handler is closed" not in str(error):
                raise
            raise LinkLost(f"cannot connect to Redis: {error}") from error
        # The one private name of redis-py that is used, tested at both ends of
        # the supported range. The connection object stays as the keeper of the
        # stream: were that collected, it would close the socket.
        writer = cast("asyncio.StreamWriter", connection._writer)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

        def forget() -> None:
            connection._reader = connection._writer = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

        return SocketLink(cast("asyncio.Transport", writer.transport), reply_timeout, forget)

    async def ask_server(self, link: Link) -> Server:
        """Learn which server *link* leads to."""
        try:
            return server_of(cast("bytes", await link.call("INFO", "server")))
        except CommandError:
            # Some hosted servers forbid INFO. They are not older than 6.2, and may be a cluster.
            return Server((6, 2), "Redis (version not told)", is_cluster=True)

    def redirect(self, host: str, port: int) -> None:
        """Open the next links to another node, until it can not be reached any more."""
        if self._can_be_redirected:
            last = self._redirection or self._options
            self._redirection = {"host": host or last.get("host", "localhost"), "port": port}


class MemoryConnector:
    """Opens links to a server in this process."""

    is_local = True
    address = "in this process"

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    async def open_link(self, role: str, *, reply_timeout: float = REPLY_TIMEOUT) -> Link:
        """Make a link; there is nothing that could fail."""
        del role, reply_timeout  # nobody lists these links, and none goes silent
        return MemoryLink(self._server)

    async def ask_server(self, link: Link) -> Server:
        """The one there is."""
        del link
        return MEMORY

    def redirect(self, host: str, port: int) -> None:
        """Never called: there is no other node."""


def connector_for(where: Where) -> Connector:
    """Return the connector for a URL, a ready client, or the environment (None).

    Raises:
        UsageError: The URL can not be meant, or an extra is missing.
    """
    if where is None:
        where = os.environ.get("AIOSTREAMQ_URL") or os.environ.get("REDIS_URL") or DEFAULT_URL
    if not isinstance(where, str):
        return RedisConnector(where.connection_pool)
    if where.startswith("memory://"):
        return MemoryConnector(MemoryServer.named(where.removeprefix("memory://")))
    from redis.asyncio import ConnectionPool

    if (fault := fault_of(where)) is not None:
        raise _no_url(fault)
    from_url = cast("Callable[[str], ConnectionPool]", ConnectionPool.from_url)  # pyright: ignore[reportUnknownMemberType]  # its **kwargs have no types
    try:
        return RedisConnector(from_url(where))
    except ValueError as error:
        raise _no_url(without_passwords(str(error))) from None


def _no_url(why: str) -> UsageError:
    return UsageError(
        "this is no Redis URL: write redis://host:6379/0, rediss://..., unix:///path/to/socket "
        f"or memory:// ({why})"
    )


def import_client() -> None:
    """Import redis-py now, and what it needs, rather than with the first connection."""
    import_module("redis.asyncio")


def unreachable(error: BaseException, after: float) -> QueueUnavailable:
    """The error for a caller whose deadline of *after* seconds has passed."""
    return QueueUnavailable(f"Redis was not to be reached for {after:g} s: {reason_of(error)}")


def reason_of(error: BaseException) -> str:
    """What *error* says, or what it is where it says nothing."""
    told = str(error)
    if told:
        return told
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__


def _refusal(error: "AuthenticationError") -> CommandError:
    """The error as a link would have given it: redis-py takes its code away."""
    code = "NOAUTH" if "required" in str(error) else "WRONGPASS"
    return CommandError(f"{code} {error}")


def _address(pool: "ConnectionPool") -> str:
    options = cast("dict[str, object]", pool.connection_kwargs)
    database = f"database {options.get('db') or 0}"
    if _is_unix(pool):
        return f"{options['path']}, {database}"
    service: str | None = getattr(pool, "service_name", None)
    if service is not None:
        return f"the master that sentinels name for {service!r}, {database}"
    host = str(options.get("host", "localhost"))
    return f"{f'[{host}]' if ':' in host else host}:{options.get('port', 6379)}, {database}"


def _is_unix(pool: "ConnectionPool") -> bool:
    return "path" in pool.connection_kwargs
