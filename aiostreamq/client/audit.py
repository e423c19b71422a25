"""The audit trail of a queue: who did what to it by the dashboard, and when."""

from datetime import datetime
from typing import TYPE_CHECKING

from aiostreamq.client.core import core_of
from aiostreamq.model.info import time_of
from aiostreamq.model.record import record
from aiostreamq.store.audit import AuditStore

if TYPE_CHECKING:
    from aiostreamq.client.core import HasCore

# Characters of each text that are kept.
LONGEST = 500


@record
class AuditEntry:
    """One action of an operator."""

    at: datetime  #: by Redis's clock, in UTC
    user: str  #: empty if there is no login
    action: str
    subject: str  #: what it was done to


async def note_action(queue: "HasCore", user: str, action: str, subject: str) -> None:
    """Add an action to the trail, before it is carried out.

    Raises:
        BrokerError: Redis refused: then the action must not be carried out.
    """
    store = AuditStore(core_of(queue).session().store)
    await store.add(user[:LONGEST], action[:LONGEST], subject[:LONGEST])


async def newest_actions(queue: "HasCore", limit: int) -> list[AuditEntry]:
    """Return the newest actions, newest first.

    Raises:
        BrokerError: Redis refused.
    """
    rows = await AuditStore(core_of(queue).session().store).newest(limit)
    return [AuditEntry(time_of(row.id), row.user, row.action, row.subject) for row in rows]
