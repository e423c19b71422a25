"""The server at the other end: its version, and what it can do."""

from aiostreamq.errors import UnsupportedServer
from aiostreamq.model.record import record

OLDEST = (6, 2)


@record
class Server:
    """The Redis (or Valkey) at the other end."""

    version: tuple[int, ...]  #: of Redis; that of Valkey is the Redis it is compatible with
    name: str  #: for people: "Redis 7.0.15", "Valkey 8.0.1"
    #: whether it is a node of a cluster, which may move a queue to another node at any time
    is_cluster: bool = False
    #: whether the server reported its version; otherwise it is taken for the oldest
    is_version_known: bool = True

    @property
    def takes_script_flags(self) -> bool:
        """Whether a script may start with a `#!lua flags=...` line."""
        return self.version >= (7, 0)


# Runs the scripts as 6.2 does, without the line of flags.
MEMORY = Server((6, 2), "memory")


def facts_of(info: bytes) -> dict[str, str]:
    """Read a reply of INFO."""
    lines = info.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def server_of(info: bytes) -> Server:
    """Read the reply of INFO server.

    Raises:
        UnsupportedServer: It is older than aiostreamq supports.
    """
    facts = facts_of(info)
    version = tuple(int(part) for part in facts.get("redis_version", "0").split(".")[:3])
    valkey = facts.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {facts.get('redis_version', '?')}"
    if version < OLDEST:
        raise UnsupportedServer(
            f"{name} is too old: aiostreamq needs Redis 6.2 or newer, or Valkey"
        )
    # Newer Valkeys have their own name for it.
    mode = facts.get("redis_mode", facts.get("server_mode"))
    return Server(version, name, is_cluster=mode == "cluster")
