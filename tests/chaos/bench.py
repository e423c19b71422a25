"""A queue behind a proxy, on which single steps are tried while their replies are cut."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self, cast

from aiostreamq.model.delivery import Delivery, WaiterMode
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import Store


class Bench:
    """A queue seen through a proxy, and directly.

    Args:
        server: Where it is.
        proxy: Before it.
        name: Of the queue.
    """

    def __init__(self, server: RedisServer, proxy: Proxy, name: str) -> None:
        self.direct = Store(server.url, name)
        self.spoiled = Store(proxy.url, name)
        self.proxy = proxy
        self.name = name
        self._numbers = 0
        self._ends: list[Callable[[], Awaitable[None]]] = []

    async def __aenter__(self) -> Self:
        await self.direct.__aenter__()
        await self.spoiled.__aenter__()
        return self

    async def __aexit__(self, *ended: object) -> None:
        await self.spoiled.__aexit__(None, None, None)
        await self.direct.__aexit__(None, None, None)

    def new_id(self) -> str:
        """An id, always of the same length, so that replies are too."""
        self._numbers += 1
        return f"job{self._numbers:05}"

    async def delivered(self, mark: str = WaiterMode.NOBODY) -> Delivery:
        """A job that worker `w` was sent."""
        job = self.new_id()
        await self.direct.enqueue(job, mark=mark)
        return next(d for d in await self.direct.read("w", 1_000) if d.job_id == job)

    async def waiting(self) -> int:
        """How many entries are in the streams."""
        broker = self.direct.queue
        return sum([cast("int", await self.direct.call("XLEN", s)) for s in broker.streams])

    async def is_blocked(self, command: str) -> bool:
        """Whether exactly one client of this queue waits in *command*."""
        found = cast("bytes", await self.direct.call("CLIENT", "LIST")).decode()
        waiting = [line for line in found.splitlines() if f" cmd={command} " in line]
        return len(waiting) == 1 and " flags=b " in waiting[0]

    def at_end(self, end: Callable[[], Awaitable[None]]) -> None:
        """Have something done at the end of the case."""
        self._ends.append(end)

    @asynccontextmanager
    async def case(self) -> AsyncGenerator[None]:
        """One step, cleared away at its end."""
        try:
            yield
        finally:
            while self._ends:
                await self._ends.pop()()


#: Does one thing through the proxy, and returns how often it has come about: once is right.
Call = Callable[[], Awaitable[int]]
#: Prepares that.
Step = Callable[[Bench], Awaitable[Call]]
