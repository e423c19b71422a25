"""`memory://`: the same scripts, run by fakeredis inside this process.

Two things are added. fakeredis answers a blocking read at once, so a link whose blocking read
found nothing waits here until another call has changed one of its keys, and then reads again. And
each reply comes in a later turn of the event loop, as over a network: a program that calls in a
loop does not stop all other tasks.
"""

import asyncio
import sys
from functools import cache
from itertools import count
from typing import ClassVar, TypeVar

from aiostreamq import clock
from aiostreamq.aio.own_tasks import OwnTask, spawn
from aiostreamq.errors import UsageError
from aiostreamq.store.connection.link import Argument, CommandError, LinkLost, Reply

Item = TypeVar("Item")


class MemoryServer:
    """A Redis inside this process."""

    _named: ClassVar[dict[str, "MemoryServer"]] = {}

    def __init__(self) -> None:
        try:
            from aiostreamq.store.connection.fake_session import FakeSession
        except ImportError as error:
            raise UsageError(
                "memory:// needs the extra: pip install 'aiostreamq[memory]'"
            ) from error

        _follow_clock()
        self._session = FakeSession()
        # The links that wait, and for a change of which keys.
        self._waiting: dict[int, tuple[asyncio.Future[bool], frozenset[bytes]]] = {}
        self._numbers = count(1)

    @classmethod
    def named(cls, name: str) -> "MemoryServer":
        """Return the server of that name in this process; without a name, a new one."""
        if not name:
            return cls()
        if name not in cls._named:
            cls._named[name] = cls()
        return cls._named[name]

    def new_link(self) -> "MemoryLink":
        """Return a new link to this server."""
        return MemoryLink(self)

    def next_number(self) -> int:
        """Return the number of a new link, the reply of CLIENT ID."""
        return next(self._numbers)

    def execute(self, *command: Argument) -> Reply:
        """Run one command that does not block.

        Raises:
            CommandError: Redis would have answered with it.
        """
        return self._session.execute(command, set())

    def execute_and_wake(self, *command: Argument) -> Reply:
        """Run one command, and have every link read again that waits for what it changes.

        Raises:
            CommandError: Redis would have answered with it.
        """
        changed: set[bytes] = set()
        try:
            return self._session.execute(command, changed)
        finally:  # a script may have changed something before it failed
            if changed:
                self._wake_waiting(changed)

    def next_change(self, number: int, keys: frozenset[bytes]) -> "asyncio.Future[bool]":
        """Return a future for link *number*: True if a key changes, False if it is unblocked.

        To be called before the link reads: another thread may change something right after.
        """
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting, keys
        return waiting

    def _wake_waiting(self, changed: set[bytes]) -> None:
        for number, (waiting, keys) in list(self._waiting.items()):
            if not keys.isdisjoint(changed):
                self._wake(number, waiting, has_news=True)

    def _wake(self, number: int, waiting: "asyncio.Future[bool]", *, has_news: bool) -> bool:
        """Wake a waiting link, unless it is awake; it may belong to another event loop."""
        if waiting.done():
            return False
        loop = waiting.get_loop()
        if loop is asyncio.get_running_loop():
            waiting.set_result(has_news)
            return True
        try:
            loop.call_soon_threadsafe(_resolve, waiting, has_news)
        except RuntimeError:  # that loop is closed
            self._waiting.pop(number, None)
            return False
        return True

    def forget(self, number: int) -> None:
        """Never wake link *number*: it has been answered, or its event loop does not run."""
        self._waiting.pop(number, None)

    def unblock(self, number: int) -> int:
        """End the blocking read of link *number*; return 1 if it was blocked, else 0."""
        if number not in self._waiting:
            return 0
        waiting, _ = self._waiting[number]
        return int(self._wake(number, waiting, has_news=False))


class MemoryLink:
    """A link to a MemoryServer."""

    received = 0  #: replies have no length here: they are not encoded

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._number = server.next_number()
        self._blocked: OwnTask[None] | None = None
        self._is_closed = False

    @property
    def is_lost(self) -> bool:
        """Whether this link is closed or broken."""
        return self._is_closed

    def is_sending(self) -> bool:
        """Return False: nothing is on its way to a server in this process."""
        return False

    def call(self, *command: Argument) -> asyncio.Future[Reply]:
        """Send a command; the future holds its reply."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        if self._is_closed:
            future.set_exception(_closed())
            return future
        blocking = _without_blocking(command)
        if blocking is not None:
            self._blocked = spawn(self._read_blocking(future, *blocking))
            # Not inside of it: a task that is cancelled before it starts runs nothing.
            self._blocked.add_done_callback(lambda _: _refuse(future, _closed()))
            return future
        try:
            loop.call_soon(_resolve, future, self._answer(command))
        except CommandError as error:
            if error.code == "NOSCRIPT":
                future.set_exception(error)  # at once: it is loaded before the next call
            else:
                loop.call_soon(_refuse, future, error)
        return future

    def close(self) -> None:
        """Drop the connection."""
        self._is_closed = True
        if self._blocked is not None:
            self._blocked.end()

    def take_out(self) -> None:
        """Close: there is no socket."""
        self.close()

    def abandon(self) -> None:
        """Drop the connection from outside of its event loop, which does not run."""
        self._is_closed = True
        self._server.forget(self._number)

    def _answer(self, command: tuple[Argument, ...]) -> Reply:
        match command:
            case ("CLIENT", "ID"):
                return self._number
            case ("CLIENT", "UNBLOCK", int(number)):
                return self._server.unblock(number)
            case _:
                return self._server.execute_and_wake(*command)

    async def _read_blocking(
        self, future: "asyncio.Future[Reply]", command: tuple[Argument, ...], timeout: float
    ) -> None:
        deadline = clock.monotonic() + timeout
        keys = _keys_of(command)
        try:
            while not future.done():
                reply: Reply
                change = self._server.next_change(self._number, keys)
                # The future takes the reply in the same turn of the loop, so nothing is lost
                # when the caller is cancelled. fakeredis answers an empty list, Redis nothing.
                reply = self._server.execute(*command) or None
                if isinstance(reply, bytes):
                    reply = [str(command[1]).encode(), reply]  # as BLPOP answers
                left = deadline - clock.monotonic()
                if reply is not None or not await _wait_for(change, left):
                    if not future.done():
                        future.set_result(reply)
                    return
        except CommandError as error:
            _refuse(future, error)
        finally:
            self._server.forget(self._number)


async def _wait_for(change: "asyncio.Future[bool]", seconds: float) -> bool:
    """Return the result of *change*; False if the time is up."""
    try:
        async with asyncio.timeout(seconds):
            return await change
    except TimeoutError:
        return False


class _Time:
    """The module `time` as fakeredis sees it: it has the wall clock of the package.

    So a test that moves the clocks also moves what is in memory: its TIME, its expiries, and the
    ids of its streams.
    """

    def time(self) -> float:
        """Return seconds since 1970."""
        return clock.wall()

    def __getattr__(self, name: str) -> object:
        return getattr(sys.modules["time"], name)


@cache
def _follow_clock() -> None:
    """Have fakeredis look at the clock of the package."""
    found = _Time()
    for name, module in list(sys.modules.items()):
        is_theirs = name.partition(".")[0] == "fakeredis"
        if is_theirs and vars(module).get("time") is sys.modules["time"]:
            vars(module)["time"] = found


def _closed() -> LinkLost:
    return LinkLost("the connection was closed")


def _resolve(future: "asyncio.Future[Item]", reply: Item) -> None:
    if not future.done():
        future.set_result(reply)


def _refuse(future: "asyncio.Future[Reply]", error: CommandError | LinkLost) -> None:
    if not future.done():
        future.set_exception(error)


def _without_blocking(command: tuple[Argument, ...]) -> tuple[tuple[Argument, ...], float] | None:
    """Return a blocking read without its block, and the seconds; None for other commands."""
    if command[0] == "BLPOP":
        return ("LPOP", command[1]), float(command[2])
    if command[0] in {"XREAD", "XREADGROUP"} and "BLOCK" in command:
        at = command.index("BLOCK")
        return command[:at] + command[at + 2 :], float(command[at + 1]) / 1000
    return None


def _keys_of(read: tuple[Argument, ...]) -> frozenset[bytes]:
    """Return the keys of a read that `_without_blocking` returned."""
    named = read[1:]
    if "STREAMS" in read:
        named = read[read.index("STREAMS") + 1 :]
        named = named[: len(named) // 2]  # an id for each comes after them
    return frozenset(str(key).encode() for key in named)
