"""Which server is the master, as sentinels say.

redis-py's own pool keeps its connections to the sentinels, but links are opened
from two event loops (a worker's beat has its own), and it goes on trying a
sentinel that is down for seconds, and one that hangs for ever. So each search
opens connections of its own, asks briefly, and closes them.
"""

from typing import TYPE_CHECKING, Any, cast

from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.connection import ConnectionPool
    from redis.asyncio.sentinel import SentinelConnectionPool

# Seconds that one sentinel may take to answer: they do nothing else.
ASK_TIMEOUT = 1.0


class Sentinels:
    """Finds the master that a client of redis-py's Sentinel would find."""

    def __init__(self, pool: "SentinelConnectionPool") -> None:
        """Take over whom *pool* asks, and for what.

        Raises:
            UsageError: It leads to replicas.
        """
        theirs = cast("Any", pool)
        if not theirs.is_master:
            raise UsageError("replicas take no jobs: give the queue Sentinel(...).master_for(...)")
        self._service: str = theirs.service_name
        self._manager = theirs.sentinel_manager
        # Who has answered last is asked first, so that one that hangs is not waited for again.
        self._addresses = [_address(sentinel) for sentinel in self._manager.sentinels]

    async def find(self) -> tuple[str, int]:
        """Return the master's host and port.

        Raises:
            RedisError: No sentinel knows one now.
        """
        sentinels = self._sentinels()
        try:
            found: tuple[str, int] = await sentinels.discover_master(self._service)
            self._addresses = [_address(sentinel) for sentinel in sentinels.sentinels]
            return found
        finally:
            for sentinel in sentinels.sentinels:
                await sentinel.aclose()

    def _sentinels(self) -> Any:  # a Sentinel, whose types redis-py leaves open
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
        # The address that clients reach the master by, where this redis-py knows of one.
        forced = getattr(self._manager, "_force_master_ip", None)
        more = {"force_master_ip": forced} if forced else {}
        return Sentinel(self._addresses, least, sentinel_kwargs=options, **more)


class MasterAddress:
    """What redis-py's connections ask a pool for, where the search is over."""

    is_master = True
    check_connection = False

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    async def get_master_address(self) -> tuple[str, int]:
        """Where to connect to."""
        return self._address


def discovery_for(pool: "ConnectionPool") -> Sentinels | None:
    """Return the way to the master where sentinels know it; None for a fixed address."""
    from redis.asyncio.sentinel import SentinelConnectionPool

    return Sentinels(pool) if isinstance(pool, SentinelConnectionPool) else None


def _address(sentinel: "Redis") -> tuple[str, int]:
    options = sentinel.connection_pool.connection_kwargs
    return options["host"], options["port"]
