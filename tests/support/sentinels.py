"""Redis Sentinel: real processes that watch a master and promote its replica."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from tests.support.redis_server import RedisServer, RedisServerError, find_executable
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

#: What the sentinels call the master.
SERVICE = "main"

#: Milliseconds without an answer until a sentinel takes a server for down.
DOWN_AFTER_MS = 1_000


class SentinelServer(RedisServer):
    """One sentinel.

    Args:
        master_port: Where its master listens at first.
        quorum: How many sentinels must agree that the master is down.
    """

    def __init__(self, master_port: int, quorum: int) -> None:
        super().__init__()
        self._config = self._directory / "sentinel.conf"
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self._directory}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {master_port} {quorum}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 3000",
        ]
        self._config.write_text("\n".join(lines) + "\n")

    def _command_line(self) -> list[str]:
        return [find_executable(), str(self._config), "--sentinel"]


class Sentinels:
    """A master, its replica, and three sentinels, all on the loopback interface."""

    def __init__(self) -> None:
        self.master = _server()
        self.replica = _server("--replicaof", "127.0.0.1", str(self.master.port))
        self._sentinels = [SentinelServer(self.master.port, 2) for _ in range(3)]

    @property
    def ports(self) -> list[int]:
        """Where the sentinels listen."""
        return [sentinel.port for sentinel in self._sentinels]

    @property
    def sentinels(self) -> list[RedisServer]:
        """The sentinels themselves."""
        return list(self._sentinels)

    def swap(self) -> None:
        """Take the replica for the master: it was promoted."""
        self.master, self.replica = self.replica, self.master

    def is_promoted(self) -> bool:
        """Whether the master is one: replicas refuse WAIT."""
        # In the moment of the promotion the sentinels have it close all connections.
        with contextlib.suppress(OSError, RedisServerError):
            self.master.ask("WAIT", "0", "1")
            return True
        return False

    def is_replicating(self) -> bool:
        """Whether the replica follows the master and every sentinel knows all others."""
        with contextlib.suppress(OSError, RedisServerError):
            for sentinel in self._sentinels:
                sentinel.ask("SENTINEL", "CKQUORUM", SERVICE)
            return self.master.ask("WAIT", "1", "100") == "1"
        return False

    def __enter__(self) -> Self:
        self.master.start()
        self.replica.start()
        _wait_for_replica(self.master)
        for sentinel in self._sentinels:
            sentinel.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for server in (*self._sentinels, self.master, self.replica):
            server.close()


def _server(*extra: str) -> RedisServer:
    # Without the delay a replica has its first copy at once.
    return RedisServer("--repl-diskless-sync-delay", "0", *extra, appendonly=True)


def _wait_for_replica(master: RedisServer) -> None:
    deadline = time.monotonic() + PATIENCE
    while master.ask("WAIT", "1", "200") != "1":
        assert time.monotonic() < deadline, "the replica does not follow its master"
