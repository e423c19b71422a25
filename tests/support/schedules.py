"""Schedules of one second, and their ticks as a worker makes them."""

from __future__ import annotations

from aiostreamq.model.schedules.definition import Definition, Rules, job_id
from aiostreamq.model.schedules.timing import Every
from aiostreamq.store.schedule_replies import Due
from aiostreamq.store.schedules import ScheduleStore, Tick
from tests.support.store import Store

SECOND = 1000
EVERY = Definition("size", Every(SECOND), Rules(), '{"task":"size"}', "default", "0")
RAW = EVERY.encode()
FAR = 9_000_000_000_000


class Scene:
    """A timetable, and ticks of it as a worker would make them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.table = ScheduleStore(store.queue)

    async def put(self, name: str = "s", due: int | None = 5000, raw: bytes = RAW) -> int:
        """Make a schedule."""
        return await self.table.put(name, raw, due, 5, replace=False)

    async def due(self, *declared: str) -> list[Due]:
        """What is due."""
        return (await self.table.due(declared)).due

    async def words(self) -> list[str]:
        """What the workers were told."""
        return [one["say"] for one in await self.store.stream_at(self.store.keys.control)]

    async def queued(self) -> list[str]:
        """Ids of the jobs that wait in the lane."""
        return [one["id"] for one in await self.store.stream_at(self.store.keys.stream("default"))]

    async def state(self, name: str = "s") -> dict[str, str]:
        """What is kept of a schedule."""
        return await self.store.hash_at(self.store.keys.schedule(name))


def tick(due: Due, *, overlap: str = "allow", max_runs: int = 0, start: int = 0) -> Tick:
    """Fire the next tick of a schedule of one second, or the one that is held."""
    is_held = due.held is not None and not due.last_lives
    planned = due.held if is_held else due.at
    following = due.at if is_held or due.at is None else due.at + SECOND
    assert planned is not None
    return Tick(
        due.name, due.rev, due.at, due.held, following, planned, job_id(due.name, planned),
        "default", "0", start, overlap, max_runs, b'{"task":"size"}',
    )  # fmt: skip


async def spoil(scene: Scene, name: str) -> None:
    """Have another program put something else in the place of a key."""
    key = scene.store.keys.prefix + name
    await scene.store.call("DEL", key)
    await scene.store.call("SET", key, "?")


async def repair(scene: Scene, name: str) -> None:
    """Delete it, as an operator would who has seen the log."""
    await scene.store.call("DEL", scene.store.keys.prefix + name)
    await scene.store.queue.create_groups(scene.store.link)
