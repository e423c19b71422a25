"""The audit trail of a queue: the actions of its operators."""

from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.store.queue import pairs_of

if TYPE_CHECKING:
    from aiostreamq.store.pages import Entry
    from aiostreamq.store.queue import QueueStore

# About how many actions are kept, and for how long after the last one: a quarter.
MAX_ACTIONS = 1000
KEEP_MS = 90 * 24 * 3600 * 1000


class AuditRow(NamedTuple):
    """One action, as it is stored."""

    id: str  #: of its entry
    user: str
    action: str
    subject: str


class AuditStore:
    """The audit trail of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._key = queue.keys.audit

    async def add(self, user: str, action: str, subject: str) -> None:
        """Add an action; the oldest are dropped."""
        await self._queue.open()
        await self._queue.call(
            "XADD", self._key, "MAXLEN", "~", MAX_ACTIONS, "*",
            "user", user, "action", action, "subject", subject,
        )  # fmt: skip
        await self._queue.call("PEXPIRE", self._key, KEEP_MS)

    async def newest(self, limit: int) -> list[AuditRow]:
        """Return the newest actions, newest first."""
        await self._queue.open()
        found = await self._queue.call("XREVRANGE", self._key, "+", "-", "COUNT", limit)
        return [_row(entry, flat) for entry, flat in cast("list[Entry]", found)]


def _row(entry: bytes, flat: list[bytes]) -> AuditRow:
    fields = pairs_of(flat)
    values = (fields.get(name, "") for name in ("user", "action", "subject"))
    return AuditRow(entry.decode(), *values)
