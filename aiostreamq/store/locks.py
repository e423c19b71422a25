"""Locks: who holds one, and the line of those that wait for it."""

from typing import TYPE_CHECKING, cast

from aiostreamq.model.lock_reports import lock_info
from aiostreamq.store.queue import OPEN_TIMEOUT, pairs_of

if TYPE_CHECKING:
    from aiostreamq.model.lock_reports import LockInfo
    from aiostreamq.store.queue import QueueStore

# The answer to a call that comes after its caller has given up.
_TOO_LATE = -1


class LockStore:
    """The locks of one queue. Each call may be repeated: its caller is known by its token."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = queue.keys

    async def take(
        self,
        name: str,
        token: str,
        lease_ms: int,
        who: str,
        waited_ms: int | None,
        deadline: float | None = None,
    ) -> tuple[int, float]:
        """Take a lock, or a place in its line.

        Args:
            name: The lock.
            token: The caller: its inbox, a dot, and what makes it unique.
            lease_ms: When the lock is free again unless it is renewed.
            who: Names the caller for operators.
            waited_ms: For how long the caller has waited; None if it does not wait.
            deadline: Seconds after which to stop trying; None is never.

        Returns:
            The fence if the caller holds the lock, else 0; and the seconds after which to look
            again if it waits.

        Raises:
            QueueUnavailable: *deadline* passed, or the queue was closed.
            CommandError: Redis refused.
        """
        keys = [*self._keys_of(name), self._keys.lock_fence]
        waited = -1 if waited_ms is None else waited_ms
        arguments = [self._keys.prefix, token, lease_ms, who, waited]
        answer = await self._queue.run("take_lock", keys, arguments, deadline)
        state, *rest = cast("list[int]", answer)
        if state == _TOO_LATE or not rest:
            return 0, 0.0
        return (rest[0], 0.0) if state else (0, rest[0] / 1000)

    async def renew(
        self, name: str, token: str, lease_ms: int, deadline: float | None = None
    ) -> bool:
        """Renew the lease of a holder; return False if it does not hold the lock any more.

        Raises:
            As `take`.
        """
        arguments = [token, lease_ms]
        renewed = await self._queue.run("renew_lock", self._keys_of(name), arguments, deadline)
        return renewed == 1

    async def release(self, name: str, token: str, deadline: float | None = None) -> bool:
        """Release a lock, or leave its line; return whether the caller held it until now.

        Raises:
            As `take`.
        """
        arguments = [self._keys.prefix, token]
        held = await self._queue.run("release_lock", self._keys_of(name), arguments, deadline)
        return held == 1

    async def find_all(self) -> "list[LockInfo]":
        """Return the locks that are held or waited for, by name. All keys of Redis are scanned.

        Raises:
            As `take`.
        """
        from aiostreamq.store.inspect.key_scan import scan  # only operators need it

        names, _ = await scan(self._queue, self._keys.lock(""))
        await self._queue.clock.refresh(OPEN_TIMEOUT)
        found: list[LockInfo] = []
        for name in sorted(names):
            held = await self._queue.call("HGETALL", self._keys.lock(name), deadline=OPEN_TIMEOUT)
            waiting = await self._queue.call(
                "ZCARD", self._keys.lock_line(name), deadline=OPEN_TIMEOUT
            )
            fields = pairs_of(cast("list[bytes]", held))
            now_ms = self._queue.clock.now_ms()
            if one := lock_info(name, fields, cast("int", waiting), now_ms):
                found.append(one)
        return found

    def _keys_of(self, name: str) -> list[str]:
        return [self._keys.lock(name), self._keys.lock_line(name)]
