"""A Redis of the benchmark's own: a free port, a private folder, nothing kept."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

#: What this side asks while it watches; not part of anybody's work.
_WATCHING = frozenset(
    {"info", "scan", "pttl", "client", "config", "flushall", "script", "function"}
)

#: Commands that no script can call, so each of them is one round trip.
_CLIENT_ONLY = frozenset(
    {"eval", "evalsha", "evalsha_ro", "fcall", "fcall_ro", "xreadgroup", "blpop", "brpop", "blmpop"}
)

#: How long to wait for jobs whose bodies have run to be settled.
SETTLE_SECONDS = 60.0

#: Each side of a connection count logs in under its own name.
USERS = ("worker", "client")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Redis's own counters at one moment."""

    when: float
    cpu_seconds: float
    #: Commands executed, those called by scripts among them.
    commands: int
    #: Commands that were round trips for certain.
    client_calls: int
    #: Reads from sockets: one for each command or pipeline that fits a read.
    socket_reads: int
    used_memory: int

    def __sub__(self, earlier: "Snapshot") -> "Snapshot":
        """Return what happened between two snapshots."""
        return Snapshot(
            self.when - earlier.when,
            self.cpu_seconds - earlier.cpu_seconds,
            self.commands - earlier.commands,
            self.client_calls - earlier.client_calls,
            # Reading the later snapshot is in its own count.
            self.socket_reads - earlier.socket_reads - 1,
            self.used_memory - earlier.used_memory,
        )


class NotSettled(Exception):
    """Jobs whose bodies have run left no result behind."""


class Server:
    """A running Redis and the questions asked of it."""

    def __init__(self, port: int) -> None:
        self.url = f"redis://127.0.0.1:{port}"
        self._port = port
        # RESP2 answers alike in every redis-py.
        self._redis: Any = redis.Redis(port=port, protocol=2, decode_responses=True)

    @property
    def version(self) -> str:
        """Return the server's version."""
        return self._redis.info("server")["redis_version"]

    def url_for(self, user: str) -> str:
        """Return a URL whose connections can be told apart by their user."""
        return f"redis://{user}:x@127.0.0.1:{self._port}"

    def wait_ready(self) -> None:
        """Return when the server answers."""
        for _ in range(500):
            try:
                self._redis.ping()
            except redis.ConnectionError:
                time.sleep(0.01)
            else:
                return
        raise RuntimeError("redis-server did not start")

    def allow_users(self) -> None:
        """Create the users of :meth:`url_for`, with all rights and any password."""
        for user in USERS:
            self._redis.execute_command("ACL", "SETUSER", user, "on", "nopass", "~*", "&*", "+@all")

    def flush(self) -> None:
        """Forget all keys and scripts, so each measurement starts from nothing."""
        self._redis.flushall()
        self._redis.script_flush()
        if int(self.version.split(".")[0]) >= 7:
            self._redis.function_flush()

    def snapshot(self) -> Snapshot:
        """Return the counters as they are now."""
        info = self._redis.info("all")
        calls: dict[str, int] = {}
        for key, stats in info.items():
            if key.startswith("cmdstat_"):
                name = key.removeprefix("cmdstat_").partition("|")[0]
                calls[name] = calls.get(name, 0) + stats["calls"]
        return Snapshot(
            when=time.perf_counter(),
            cpu_seconds=info["used_cpu_user"] + info["used_cpu_sys"],
            commands=sum(n for name, n in calls.items() if name not in _WATCHING),
            client_calls=sum(n for name, n in calls.items() if name in _CLIENT_ONLY),
            socket_reads=info["total_reads_processed"],
            used_memory=info["used_memory"],
        )

    def count_settled(self, pattern: str) -> int:
        """Return how many keys match *pattern* and have a time to live."""
        settled = 0
        cursor = -1
        while cursor:
            cursor, keys = self._redis.scan(max(cursor, 0), match=pattern, count=2000)
            pipeline = self._redis.pipeline(transaction=False)
            for key in keys:
                pipeline.pttl(key)
            settled += sum(ttl > 0 for ttl in pipeline.execute())
        return settled

    def wait_settled(self, pattern: str, jobs: int) -> Snapshot:
        """Wait until *jobs* results are stored and return the counters just then.

        The counters are read before the results are counted, so that the
        counting is in nobody's figures.
        """
        deadline = time.perf_counter() + SETTLE_SECONDS
        while True:
            # Long enough for the last batch of a quick worker to be settled;
            # the first look is then the only one.
            time.sleep(0.3)
            snapshot = self.snapshot()
            settled = self.count_settled(pattern)
            if settled >= jobs:
                return snapshot
            if time.perf_counter() > deadline:
                raise NotSettled(f"only {settled} of {jobs} results were stored")

    def connections(self) -> dict[str, int]:
        """Return how many connections each user has, by CLIENT LIST."""
        users = [client["user"] for client in self._redis.client_list()]
        return {user: users.count(user) for user in USERS}


@contextmanager
def running_server() -> Generator[Server]:
    """Start a server, give it, and take it away again."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise SystemExit("there is no redis-server on PATH; install Redis 7 or newer")
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder:
        port = _free_port()
        options = {
            "--bind": "127.0.0.1",
            "--port": str(port),
            "--dir": folder,
            "--save": "",
            "--appendonly": "no",
            "--maxclients": "10000",
            "--logfile": "redis.log",
        }
        command = [binary, *(word for pair in options.items() for word in pair)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            server = Server(port)
            server.wait_ready()
            yield server
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
