"""Many servers in memory share an interpreter: each script runs on the server it is sent to."""

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from aiostreamq.store.connection.fake_session import INTERPRETER
from aiostreamq.store.connection.in_memory import MemoryServer
from aiostreamq.store.connection.link import CommandError

#: It keeps the functions that it finds, as a script of the package may.
APPEND = """
local call, pcall = redis.call, redis.pcall
pcall('RPUSH', KEYS[1], ARGV[1])
return call('LRANGE', KEYS[1], 0, -1)
"""


def load(server: MemoryServer, source: str) -> str:
    """Send a script; return its hash."""
    sha = server.execute("SCRIPT", "LOAD", source)
    assert isinstance(sha, bytes)
    return sha.decode()


def test_each_on_its_own_server() -> None:
    """The same script and the same key on servers that take turns."""
    servers = [MemoryServer() for _ in range(3)]
    sha = load(servers[0], APPEND)
    for server in servers[1:]:
        load(server, APPEND)
    for turn in range(3):
        for at, server in enumerate(servers):
            expected = [b"%d" % (at + 10 * before) for before in range(turn + 1)]
            assert server.execute("EVALSHA", sha, 1, "k", at + 10 * turn) == expected


def test_types_differ_by_server() -> None:
    """A key has the type that its own server gave it."""
    one, other = MemoryServer(), MemoryServer()
    sha = load(one, "return redis.call(ARGV[1], KEYS[1], ARGV[2], ARGV[3])")
    load(other, "return redis.call(ARGV[1], KEYS[1], ARGV[2], ARGV[3])")
    for _ in range(2):
        assert one.execute("EVALSHA", sha, 1, "k", "RPUSH", "a", "b") in {2, 4}
        assert other.execute("EVALSHA", sha, 1, "k", "HSET", "f", "v") in {0, 1}
        with pytest.raises(CommandError, match=r"^WRONGTYPE"):
            one.execute("EVALSHA", sha, 1, "k", "HSET", "f", "v")


def test_new_server_has_known_scripts() -> None:
    """A newer server has each script that an older one was sent, until a flush."""
    old = MemoryServer()
    sha = load(old, "return 'known'")
    new = MemoryServer()
    assert new.execute("EVALSHA", sha, 0) == b"known"
    new.execute("SCRIPT", "FLUSH")
    with pytest.raises(CommandError, match=r"^NOSCRIPT"):
        new.execute("EVALSHA", sha, 0)
    assert old.execute("EVALSHA", sha, 0) == b"known"


def test_threads() -> None:
    """Threads have servers of their own and share one; nothing is lost or mixed up."""
    threads, calls = 4, 200
    shared = MemoryServer()
    sha = load(shared, APPEND)
    count = load(shared, "return redis.call('INCR', KEYS[1])")
    start = threading.Barrier(threads)

    def work(thread: int) -> None:
        own = MemoryServer()
        start.wait()
        for call in range(calls):
            reply = own.execute("EVALSHA", sha, 1, "k", f"{thread}:{call}")
            assert reply == [f"{thread}:{one}".encode() for one in range(call + 1)]
            shared.execute("EVALSHA", count, 1, "k")

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    assert shared.execute("GET", "k") == b"%d" % (threads * calls)


class Held:
    """Something that Lua holds."""


def test_thread_leaves_nothing() -> None:
    """The interpreter of a thread ends with it, and lets go of all that it holds."""

    def work() -> weakref.ref[Held]:
        server = MemoryServer()
        assert server.execute("EVALSHA", load(server, APPEND), 1, "k", "v") == [b"v"]
        held = Held()
        INTERPRETER.lua.eval("function(held) rawset(_G, 'held', held) end")(held)
        return weakref.ref(held)

    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(work).result()
    gc.collect()
    assert left() is None


def test_many_arguments() -> None:
    """More than Lua has places for on its stack."""
    server = MemoryServer()
    sha = load(server, "return {#KEYS, #ARGV}")
    keys, arguments = [f"k{at}" for at in range(10_000)], [b"x"] * 20_000
    assert server.execute("EVALSHA", sha, 10_000, *keys, *arguments) == [10_000, 20_000]
