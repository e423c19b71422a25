"""The limits of one queue seen from below: what is held, what is admitted, what waits for what."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, cast

from aiostreamq.model.delivery import HeldSubmission, WaiterMode
from aiostreamq.model.keys import ADMITTED
from aiostreamq.store.held import Admitted, HeldJobs, Hold
from aiostreamq.store.limit_rules import LimitRules
from tests.support.store import DEADLINE, ENVELOPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.model.delivery import Delivery
    from tests.support.store import Store

#: The task of all jobs here, unless a test says another.
TASK = "size"

#: More slots than any test has jobs.
MANY = 100


def backlog(*tokens: str, lane: str = "default", task: str = TASK) -> str:
    """Return the name of a backlog."""
    return " ".join((lane, task, *tokens))


class Limits:
    """The limits of a queue, and its held jobs.

    Args:
        store: The queue.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.held = HeldJobs(store.queue)
        self.rules = LimitRules(store.queue)

    async def open(self) -> None:
        """Make what a worker with limited tasks makes at its start."""
        self.store.queue.has_limits = True
        await self.store.queue.create_groups(self.store.link)

    async def enqueue(
        self,
        *ids: str,
        backlog: str,
        costs: str = "",
        mark: str = WaiterMode.NOBODY,
        envelope: bytes = ENVELOPE,
        inbox: str = "me",
    ) -> set[int]:
        """Enqueue a held job for each id; returns the places of those that were taken."""
        place = self.store.queue.place_of(backlog.partition(" ")[0])
        jobs = [HeldSubmission(one, place, mark, backlog, costs, envelope) for one in ids]
        return await self.held.enqueue(jobs, inbox, DEADLINE)

    async def look(
        self,
        count: int = MANY,
        consumer: str = "w1",
        *,
        tasks: Sequence[str] = (TASK,),
        lanes: Sequence[str] = ("default", "slow"),
        bell: bytes = b"",
    ) -> Admitted:
        """Look for held jobs as a worker does, once."""
        return await self.held.admit(self.store.link, consumer, count, bell, lanes, tasks)

    async def admit(
        self, count: int = MANY, consumer: str = "w1", *, tasks: Sequence[str] = (TASK,)
    ) -> list[Delivery]:
        """Look for held jobs until there are no more for now; returns the deliveries."""
        found: list[Delivery] = []
        while len(found) < count:
            seen = await self.look(count - len(found), consumer, tasks=tasks)
            found += seen.read.deliveries
            if not seen.has_more:
                break
        return found

    async def admitted(self, count: int = MANY, consumer: str = "w1") -> list[str]:
        """Look for held jobs; returns the ids of those that are delivered."""
        return [one.job_id for one in await self.admit(count, consumer)]

    async def hold(self, *deliveries: Delivery, backlog: str, costs: str = "") -> int:
        """Have deliveries wait; returns how many were still the worker's."""
        return await self.held.hold([Hold(one, backlog, costs) for one in deliveries])

    async def rule(self, token: str, rule: str) -> None:
        """Declare the rule of a limit as the code does."""
        await self.rules.declare({token: rule})

    async def operate(self, token: str, rule: str) -> None:
        """Set the rule of a limit as an operator does; without a rule remove it."""
        keys = self.store.keys
        if rule:
            await self.store.call("HSET", keys.limits, token, rule)
        else:
            await self.store.call("HDEL", keys.limits, token)
        await self.store.call("ZADD", keys.due, "XX", 0, token)

    async def members(self, key: str) -> list[str]:
        """Return the members of a sorted set in their order; empty if there is none."""
        found = await self.store.call("ZRANGE", self.store.keys.prefix + key, 0, -1)
        return [one.decode() for one in cast("list[bytes]", found)]

    async def scores(self, key: str) -> dict[str, float]:
        """Return the members of a sorted set with their scores."""
        flat = cast(
            "list[bytes]",
            await self.store.call("ZRANGE", self.store.keys.prefix + key, 0, -1, "WITHSCORES"),
        )
        texts = [part.decode() for part in flat]
        return {one: float(score) for one, score in zip(texts[::2], texts[1::2], strict=True)}

    async def permits(self, token: str) -> set[str]:
        """Return who holds permits under a limit: '<job id> <n>'."""
        return set(await self.members(f"permits:{token}"))

    async def names(self, kind: str) -> set[str]:
        """Return the names of all keys of a kind, such as `backlog:`."""
        names = await self.store.key_names()
        return {one.removeprefix(kind) for one in names if one.startswith(kind)}

    async def counts(self) -> dict[str, int]:
        """Return how many jobs are held, by lane, as Redis has counted them."""
        found = await self.store.hash_at(self.store.keys.held)
        return {lane: int(count) for lane, count in found.items()}

    async def check(self) -> None:
        """Fail if what is known of backlogs does not fit together.

        A backlog that has jobs is in `ready`, or waits for exactly one limit; an empty one does
        neither. `due` has the limits for which backlogs wait, and `held` how many jobs do.
        """
        waiting = {
            name: await self.members(f"backlog:{name}") for name in await self.names("backlog:")
        }
        ready = set(await self.members("ready"))
        blocked = {
            token: set(await self.members(f"blocked:{token}"))
            for token in await self.names("blocked:")
        }
        places = Counter(ready)
        for some in blocked.values():
            places.update(some)
        assert places == Counter(waiting.keys()), (waiting, ready, blocked)
        assert set(await self.members("due")) == set(blocked), "limits that have blocked backlogs"
        sums = Counter[str]()
        for name, jobs in waiting.items():
            sums[name.partition(" ")[0]] += len(jobs)
        assert await self.counts() == dict(sums)

    async def is_left(self) -> set[str]:
        """Return the keys of limits that are left when nothing is held and nothing runs."""
        kinds, names = ("backlog:", "permits:", "blocked:", "order:"), {"ready", "due", "held"}
        found = await self.store.key_names()
        return {one for one in found if one.startswith(kinds) or one in names}

    async def running(self) -> int:
        """Return how many admitted jobs are with workers."""
        return await self.store.pending(ADMITTED)
