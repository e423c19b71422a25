"""Asking sentinels which server is the master.

The pool of redis-py keeps its connections to the sentinels. But links are opened from two event
loops (the heartbeat of a worker has its own), and the pool tries a sentinel that is down for
seconds, and one that hangs for ever. So each search opens connections of its own, asks with a
short timeout, and closes them.
"""

from typing import TYPE_CHECKING, Any, cast

from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.connection import ConnectionPool
    from redis.asyncio.sentinel import SentinelConnectionPool

# Seconds that one sentinel may take to answer: answering is all it does.
ASK_TIMEOUT = 1.0


class Sentinels:
    """Finds the master that a client of redis-py's Sentinel finds."""

    def __init__(self, pool: "SentinelConnectionPool") -> None:
        """Take over the sentinels and the service of *pool*.

        Raises:
            UsageError: The pool leads to replicas.
        """
        theirs = cast("Any", pool)
        if not theirs.is_master:
            raise UsageError("replicas take no jobs: give the queue Sentinel(...).master_for(...)")
        self._service: str = theirs.service_name
        self._manager = theirs.sentinel_manager
        # The one that answered last is asked first, so that one that hangs is waited for once.
        self._addresses = [_address(sentinel) for sentinel in self._manager.sentinels]

    async def find(self) -> tuple[str, int]:
        """Return the master's host and port.

        Raises:
            RedisError: No sentinel knows a master now.
        """
        sentinels = self._sentinels()
        try:
            found: tuple[str, int] = await sentinels.discover_master(self._service)
            self._addresses = [_address(sentinel) for sentinel in sentinels.sentinels]
            return found
        finally:
            for sentinel in sentinels.sentinels:
                await sentinel.aclose()

    def _sentinels(self) -> Any:  # a Sentinel, which redis-py does not type
        from redis.asyncio.retry import Retry
        from redis.asyncio.sentinel import Sentinel
        from redis.backoff import NoBackoff

        options: dict[str, Any] = {
            **self._manager.sentinel_kwargs,
            "socket_timeout": ASK_TIMEOUT,
            "socket_connect_timeout": ASK_TIMEOUT,
            "retry": Retry(NoBackoff(), 0),
        }
        least = self._manager.min_other_sentinels
        # The address by which clients reach the master, if this redis-py has that option.
        forced = getattr(self._manager, "_force_master_ip", None)
        more = {"force_master_ip": forced} if forced else {}
        return Sentinel(self._addresses, least, sentinel_kwargs=options, **more)


class MasterAddress:
    """The part of a pool that connections of redis-py need once the master is found."""

    is_master = True
    check_connection = False

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    async def get_master_address(self) -> tuple[str, int]:
        """Return where to connect to."""
        return self._address


def discovery_for(pool: "ConnectionPool") -> Sentinels | None:
    """Return how to find the master if sentinels know it; None for a fixed address."""
    from redis.asyncio.sentinel import SentinelConnectionPool

    return Sentinels(pool) if isinstance(pool, SentinelConnectionPool) else None


def _address(sentinel: "Redis") -> tuple[str, int]:
    options = sentinel.connection_pool.connection_kwargs
    return options["host"], options["port"]
