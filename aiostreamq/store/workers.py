"""The registry of workers: their leases, and the recovery of what dead ones had."""

import re
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.model.keys import ADMITTED, GROUP, OVERFLOW, RETURNED
from aiostreamq.model.worker_liveness import lanes_of
from aiostreamq.store.connection.connector import CLIENT_NAME, READER
from aiostreamq.store.dead_letters import KEEP_DEAD_MS, MAX_DEAD
from aiostreamq.store.queue import pairs_of
from aiostreamq.store.results import INBOX_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiostreamq.model.delivery import Delivery
    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.queue import QueueStore

# How many deliveries of one stream a call recovers: some 2 ms of Redis.
RECOVER_LIMIT = 200

# How many dead workers one look claims: the survivors share a mass death, and a survivor that dies
# with its claims delays only these, by a tick.
CLAIM_LIMIT = 10

# Milliseconds by the lease clock between two searches for consumers that are not registered. One
# worker of the queue makes each.
CENSUS_MS = 24_000

# A line of CLIENT LIST.
_CLIENT = r"(?m)^id=(\d+) .*? name=(\S*) "


def reader_role(worker: str) -> str:
    """Return the role of the connection with which a worker reads."""
    return READER + worker


class DeadWorker(NamedTuple):
    """A worker whose lease is over, and which the caller has claimed for a tick."""

    name: str
    beat: str  #: its last
    reader_id: int  #: of the connection on which it reads, 0 if unknown


class Look(NamedTuple):
    """The result of one look for dead workers."""

    pause: float  #: seconds until the next look: a tick at most
    has_more: bool  #: whether there may be more dead workers
    is_census_due: bool  #: whether the caller is to register consumers
    dead: list[DeadWorker]


class Recovered(NamedTuple):
    """The result of one call that recovers deliveries of a dead worker."""

    returned: int  #: deliveries that wait for another worker now
    given_up: int  #: jobs that too many workers have died with
    finished: int  #: 1 if nothing is left, 0 if there is more, -1 if the worker is alive


class WorkerRegistry:
    """The workers of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = queue.keys
        self._workers = queue.keys.workers
        self._leases = [queue.keys.workers, queue.keys.alive, queue.keys.leases]

    async def join(self, name: str, lease_ms: int, lanes: "Iterable[str]" = ()) -> None:
        """Register a worker that serves *lanes*.

        Before its first read: the death of a worker that is not registered is noticed late.
        """
        arguments: list[Argument] = [name, lease_ms, 1, " ".join(lanes), 0]
        await self._queue.run("renew_lease", self._leases, arguments)

    async def renew(
        self, name: str, lease_ms: int, status: bytes = b"", reader_id: int = 0
    ) -> bool:
        """Renew the lease of a worker; return False if it was taken for dead.

        Args:
            name: The name of the worker.
            lease_ms: Milliseconds until the next renewal is overdue.
            status: The worker's report about itself; if empty, the last one is kept.
            reader_id: The id of the connection on which it reads, 0 if there is none yet.
        """
        keys = self._leases
        arguments: list[Argument] = [name, lease_ms, 0, "", reader_id]
        if status:
            keys = [*keys, self._keys.worker(name)]
            arguments.append(status)
        return await self._queue.run("renew_lease", keys, arguments) == 1

    async def deregister(self, name: str) -> None:
        """Remove a worker that has nothing left."""
        keys = [*self._leases, *self._queue.streams]
        arguments = [GROUP, name, self._keys.worker(name), self._keys.prefix]
        await self._queue.run("deregister_worker", keys, arguments, 2)

    async def find_dead(self, name: str, lease_ms: int) -> Look:
        """Raise the lease clock, and claim workers whose lease is over.

        Args:
            name: The name of the worker that looks.
            lease_ms: Its own lease in milliseconds.
        """
        arguments: list[Argument] = [name, lease_ms, CLAIM_LIMIT, CENSUS_MS]
        reply = await self._queue.run("find_dead_workers", self._leases, arguments)
        pause_ms, has_more, is_census_due = cast("list[int]", reply)[:3]
        texts = [one.decode(errors="replace") for one in cast("list[bytes]", reply)[3:]]
        found = zip(texts[::3], texts[1::3], texts[2::3], strict=True)
        dead = [
            DeadWorker(name, beat, int(reader) if reader.isdecimal() else 0)
            for name, beat, reader in found
        ]
        return Look(pause_ms / 1000, has_more == 1, is_census_due == 1, dead)

    async def register_strays(self, lease_ms: int) -> int:
        """Register consumers that have deliveries and are not among the workers.

        They are found dead *lease_ms* milliseconds later. Returns how many there were.
        """
        keys = [self._workers, *self._queue.streams]
        return cast("int", await self._queue.run("register_strays", keys, [GROUP, lease_ms]))

    async def holders(self, name: str, lanes: "Iterable[str]") -> "Mapping[str, str]":
        """Return the beats, by name, of other workers that have deliveries which *name* may get.

        These are deliveries of *lanes*, and returned or overflown ones. The beat of a consumer
        that is not registered is empty.
        """
        streams = map(self._keys.stream, (RETURNED, *lanes, *OVERFLOW.values(), ADMITTED))
        found = await self._queue.run("list_holders", [self._workers, *streams], [GROUP, name])
        return pairs_of(cast("list[bytes]", found))

    async def disconnect(self, dead: "Sequence[DeadWorker]") -> None:
        """Close the connections on which dead workers read.

        If a worker is only suspended, its read still waits at Redis, and would be the first
        to get the very jobs that are recovered from it.
        """
        if self._queue.connector.is_in_memory:
            return
        # A list of all connections costs Redis some ms for a thousand: only if an id is unknown.
        which: list[Argument] = [one.reader_id for one in dead]
        which = ["ID", *which] if all(which) else []
        names = {f"{CLIENT_NAME}{reader_role(one.name)}" for one in dead}
        clients = cast("bytes", await self._queue.call("CLIENT", "LIST", *which))
        for client_id, name in re.findall(_CLIENT, clients.decode(errors="replace")):
            # Ids start again with the server: another client may have this one now.
            if name in names:
                await self._queue.call("CLIENT", "KILL", "ID", client_id)

    async def note_suspect_run(self, delivery: "Delivery") -> bool:
        """Note that a job that workers died with is about to run; False if it has ended."""
        keys = [self._keys.job(delivery.job_id)]
        return await self._queue.run("note_suspect_run", keys, [delivery.number]) == 1

    async def recover(self, name: str, beat: str, max_worker_deaths: int) -> Recovered:
        """Recover some deliveries of a dead worker, unless its beat has changed.

        Deliveries of lanes that are unknown here are recovered too: the worker may be of
        another release.

        Args:
            name: The name of the worker.
            beat: Its beat when it was taken for dead.
            max_worker_deaths: A job is given up after this many workers died with it.
        """
        queue, keys = self._queue, self._keys
        others = [lane for lane in lanes_of(beat) if lane not in queue.lanes]
        touched = [*self._leases, keys.dead, *queue.streams, *map(keys.stream, others)]
        arguments = [GROUP, keys.prefix, name, beat, RECOVER_LIMIT, max_worker_deaths]
        arguments += [MAX_DEAD, KEEP_DEAD_MS, INBOX_MS]
        return Recovered(*cast("list[int]", await queue.run("recover_worker", touched, arguments)))
