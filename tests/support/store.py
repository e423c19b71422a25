"""One queue seen from below: its scripts, and every key as it stands."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, cast

from aiostreamq.model.delivery import Delivery, Settlement, UniqueSubmission, WaiterMode
from aiostreamq.model.keys import GROUP, Keys
from aiostreamq.model.options import QueuePolicy
from aiostreamq.model.outcome import encode_done
from aiostreamq.store.connection.connector import connector_for
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.store.enqueue import Submissions
from aiostreamq.store.parking import ParkedJobs
from aiostreamq.store.queue import QueueStore
from aiostreamq.store.results import Results
from aiostreamq.store.unique import UniqueSubmissions
from aiostreamq.store.workers import WorkerRegistry
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from aiostreamq.model.delivery import Submission
    from aiostreamq.store.connection.link import Argument, Link, Reply

ENVELOPE = b'{"v":1,"task":"size","args":[1]}'

#: Long enough to be kept beyond the id of its job.
HOUR_MS = 3_600_000

#: Seconds that an enqueue may take.
DEADLINE = PATIENCE


class Store:
    """A queue, as a producer and a worker see it.

    Args:
        url: Of the server.
        name: Of the queue.
        lanes: That it has.
    """

    def __init__(
        self, url: str, name: str = "q", lanes: Sequence[str] = ("default", "slow")
    ) -> None:
        self.keys = Keys(name)
        self.connector = connector_for(url)
        self.queue = QueueStore(self.connector, self.keys, lanes)
        self.submissions = Submissions(self.queue)
        self.unique = UniqueSubmissions(self.queue)
        self.deliveries = Deliveries(self.queue)
        self.results = Results(self.queue)
        self.workers = WorkerRegistry(self.queue)
        self.delayed = DelayedJobs(self.queue)
        self.parking = ParkedJobs(self.queue)
        self._link: Link | None = None

    async def __aenter__(self) -> Self:
        """Connect."""
        self._link = await self.connector.open_link("test")
        await self.queue.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.queue.close()
        self.link.close()

    @property
    def link(self) -> Link:
        """A connection of the test's own."""
        assert self._link is not None
        return self._link

    async def call(self, *command: Argument) -> Reply:
        """Run one command of Redis."""
        return await self.link.call(*command)

    async def enqueue(
        self,
        *ids: str,
        lane: str = "default",
        mark: str = WaiterMode.NOBODY,
        inbox: str = "me",
        envelope: bytes = ENVELOPE,
    ) -> set[int]:
        """Enqueue a job for each id; returns the places of those that were taken."""
        place = self.queue.place_of(lane)
        jobs: list[Submission] = [(job_id, place, mark, envelope) for job_id in ids]
        return await self.submissions.enqueue(jobs, inbox, DEADLINE)

    async def enqueue_unique(
        self,
        key: str,
        *ids: str,
        rule: str = "done return",
        lane: str = "default",
        mark: str = WaiterMode.NOBODY,
        due: str = "",
        envelope: bytes = ENVELOPE,
        max_length: int = 0,
        max_bytes: int = 0,
        window_ms: int = 0,
        max_wait_ms: int = 0,
        inbox: str = "me",
    ) -> list[str | None]:
        """Enqueue a job with a key for each id.

        Returns the id of the holder of the key for each job that was not put in because of it, ""
        for one whose id was taken, "full" for one without room, and None for all others.
        """
        holders: dict[str, str] = {}
        kept, place = HOUR_MS if mark != WaiterMode.NO_RESULT else 0, self.queue.place_of(lane)
        wire = f"{rule} {kept} {window_ms} {max_wait_ms}"
        jobs = [
            UniqueSubmission(
                job_id, place, mark, due, wire, key, partial(_note, holders, job_id), envelope
            )
            for job_id in ids
        ]
        policy = QueuePolicy(1 << 20, DEADLINE, max_length=max_length, max_bytes=max_bytes)
        found = await self.unique.enqueue(jobs, inbox, policy)
        assert not found.errors
        return [
            "full" if at in found.full else holders.get(one, "") if at in found.taken else None
            for at, one in enumerate(ids)
        ]

    async def read(self, consumer: str = "w1", count: int = 100) -> list[Delivery]:
        """Read what is new as a worker does."""
        return (await self.deliveries.read(self.link, consumer, count, None)).deliveries

    async def deliver(
        self, job_id: str, consumer: str = "w1", mark: str = WaiterMode.NOBODY
    ) -> Delivery:
        """Enqueue one job and read it."""
        await self.enqueue(job_id, mark=mark)
        (delivery,) = await self.read(consumer)
        return delivery

    async def settle(self, *deliveries: Delivery, keep_ms: int = HOUR_MS) -> list[Delivery]:
        """End deliveries with the value of their job's id; returns those that were refused."""
        ends = [Settlement(d, keep_ms, outcome_of(d) if keep_ms else b"") for d in deliveries]
        return (await self.deliveries.settle(ends, "w1")).refused

    async def key_names(self) -> set[str]:
        """Return the names of all keys, without the queue's prefix."""
        keys = cast("list[bytes]", await self.call("KEYS", "*"))
        return {key.decode().removeprefix(self.keys.prefix) for key in keys}

    async def hash_at(self, key: str) -> dict[str, str]:
        """Return what a hash holds."""
        flat = [part.decode() for part in cast("list[bytes]", await self.call("HGETALL", key))]
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def stream_at(self, key: str) -> list[dict[str, str]]:
        """Return the fields of all entries of a stream."""
        reply = cast("list[tuple[bytes, list[bytes]]]", await self.call("XRANGE", key, "-", "+"))
        entries = [[part.decode() for part in fields] for _, fields in reply]
        return [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in entries]

    async def list_at(self, key: str) -> list[bytes]:
        """Return what a list holds."""
        return cast("list[bytes]", await self.call("LRANGE", key, 0, -1))

    async def pending(self, lane: str = "default") -> int:
        """Return how many deliveries of a lane have not ended."""
        reply = cast("list[int]", await self.call("XPENDING", self.keys.stream(lane), GROUP))
        return reply[0]

    async def consumers(self, lane: str = "default") -> set[str]:
        """Return the names of the consumers that a lane's group knows."""
        found = cast(
            "list[list[bytes]]",
            await self.call("XINFO", "CONSUMERS", self.keys.stream(lane), GROUP),
        )
        return {one[1].decode() for one in found}

    async def pttl(self, key: str) -> int:
        """Return the milliseconds a key has left, -1 for ever, -2 where there is none."""
        return cast("int", await self.call("PTTL", key))


def _note(holders: dict[str, str], job_id: str, holder: str) -> None:
    holders[job_id] = holder


async def calls_of(store: Store, command: str) -> int:
    """Return how often Redis has run a command, in scripts too. In memory nothing is counted."""
    if store.connector.is_in_memory:
        return 0
    stats = cast("bytes", await store.call("INFO", "commandstats")).decode()
    found = re.search(rf"cmdstat_{command}:calls=(\d+)", stats)
    return int(found[1]) if found else 0


def outcome_of(delivery: Delivery) -> bytes:
    """Return the outcome with which `Store.settle` ends a delivery."""
    return encode_done(b'"size"', delivery.number, b'"%b"' % delivery.job_id.encode())
