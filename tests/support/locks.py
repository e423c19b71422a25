"""Locks seen from below: calls of their scripts, and what they leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aiostreamq.store.locks import LockStore

if TYPE_CHECKING:
    from tests.support.store import Store

#: Ms. Longer than any test.
LEASE = 3_600_000


class Locks:
    """The lock "a" of a queue."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.locks = LockStore(store.queue)
        self.key = store.keys.lock("a")
        self.line = store.keys.lock_line("a")

    async def take(
        self, token: str, lease_ms: int = LEASE, waited_ms: int | None = 0
    ) -> tuple[int, float]:
        """Take it, or wait in its line."""
        return await self.locks.take("a", token, lease_ms, "me", waited_ms)

    async def renew(self, token: str, lease_ms: int = LEASE) -> bool:
        """Renew its lease."""
        return await self.locks.renew("a", token, lease_ms)

    async def release(self, token: str) -> bool:
        """Release it, or leave its line."""
        return await self.locks.release("a", token)

    async def set(self, **fields: object) -> None:
        """Write fields of its hash. "@" is written as "at_", and "." as "__"."""
        for name, value in fields.items():
            field = name.replace("at_", "@").replace("__", ".")
            await self.store.call("HSET", self.key, field, str(value))

    async def now(self) -> int:
        """Return the time of Redis in ms."""
        seconds, microseconds = cast("list[bytes]", await self.store.call("TIME"))
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def waiting(self) -> list[str]:
        """Return the tokens in the line, in their order."""
        found = cast("list[bytes]", await self.store.call("ZRANGE", self.line, 0, -1))
        return [token.decode() for token in found]

    async def called(self, inbox: str) -> list[bytes]:
        """Return the tokens that were called in an inbox."""
        notices = await self.store.list_at(self.store.keys.inbox(inbox))
        return [one.removeprefix(b" lock ") for one in notices]
