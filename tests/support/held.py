"""Held jobs seen from below: what waits for which limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiostreamq.model.delivery import HeldSubmission, WaiterMode
from aiostreamq.store.held import HeldJobs
from tests.support.store import DEADLINE, ENVELOPE

if TYPE_CHECKING:
    from aiostreamq.model.delivery import Delivery
    from tests.support.store import Store

TASK = "size"


class Line:
    """The held jobs of a store: those of a task under given limits."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.held = HeldJobs(store.queue)

    async def rule(self, token: str, rule: str) -> None:
        """Note the rule that code has for a limit."""
        await self.store.call("HSET", self.store.keys.limit_defaults, token, rule)

    async def enqueue(
        self, *ids: str, tokens: str, lane: str = "default", task: str = TASK, costs: str = ""
    ) -> None:
        """Have jobs wait for limits."""
        name = f"{lane} {task} {tokens}"
        envelope = ENVELOPE.replace(b'"size"', f'"{task}"'.encode())
        for start in range(0, len(ids), 500):
            jobs = [
                HeldSubmission(one, 2, WaiterMode.NOBODY, name, costs, envelope)
                for one in ids[start : start + 500]
            ]
            await self.held.enqueue(jobs, "me", DEADLINE)

    async def admit(self, count: int = 100, task: str = TASK) -> list[Delivery]:
        """Have a worker with free slots take those whose limits have room."""
        queue = self.store.queue
        queue.has_limits = True
        await queue.create_groups(self.store.link)
        found = await self.held.admit(
            self.store.link, "w1", count, b"", ["default", "slow"], [task]
        )
        return found.read.deliveries
