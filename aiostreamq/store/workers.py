"""The registry of workers: their leases, and the recovery of what dead ones had."""

from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.model.keys import GROUP
from aiostreamq.model.lease import lanes_of
from aiostreamq.store.connection.connector import CLIENT_NAME, READER
from aiostreamq.store.dead_letters import KEEP_DEAD_MS, MAX_DEAD
from aiostreamq.store.queue import pairs_of
from aiostreamq.store.results import INBOX_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiostreamq.model.delivery import Delivery
    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.queue import QueueStore

# How many deliveries of one stream a call recovers: some 2 ms of Redis.
RECOVER_LIMIT = 200


def reader_role(worker: str) -> str:
    """Return the role of the connection with which a worker reads."""
    return READER + worker


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

    @property
    def connection_count(self) -> int:
        """How often this has connected to Redis."""
        return self._queue.connection_count

    async def join(self, name: str, lease_ms: int, lanes: "Iterable[str]" = ()) -> None:
        """Register a worker that serves *lanes*.

        Before its first read: the death of a worker that is not registered is noticed late.
        """
        await self._queue.run("renew_lease", [self._workers], [name, lease_ms, 1, " ".join(lanes)])

    async def renew(self, name: str, lease_ms: int, status: bytes = b"") -> bool:
        """Renew the lease of a worker; return False if it was taken for dead.

        Args:
            name: The name of the worker.
            lease_ms: Milliseconds until the next renewal is overdue.
            status: The worker's report about itself; if empty, the last one is kept.
        """
        keys: list[str] = [self._workers]
        arguments: list[Argument] = [name, lease_ms, 0, ""]
        if status:
            keys.append(self._keys.worker(name))
            arguments.append(status)
        return await self._queue.run("renew_lease", keys, arguments) == 1

    async def deregister(self, name: str) -> None:
        """Remove a worker that has nothing left."""
        keys = [self._workers, *self._queue.streams]
        await self._queue.run("deregister_worker", keys, [GROUP, name, self._keys.worker(name)], 2)

    async def list_workers(self, lease_ms: int, *, thorough: bool) -> "Mapping[str, str]":
        """Return the beats of all workers by name; *thorough* also finds unregistered ones."""
        # While a cluster moves the queue no worker can renew its lease, but old beats can still be
        # read. The script waits for the move, so that no worker is taken for dead then.
        if thorough or (await self._queue.open()).is_cluster:
            keys = [self._workers, *self._queue.streams]
            found = await self._queue.run("list_workers", keys, [GROUP, lease_ms])
        else:
            found = await self._queue.call("HGETALL", self._workers)
        return pairs_of(cast("list[bytes]", found))

    async def disconnect(self, name: str) -> None:
        """Close the connection on which a dead worker reads.

        If the worker is only suspended, its read still waits at Redis, and would be the first
        to get the very jobs that are recovered from it.
        """
        if self._queue.connector.is_in_memory:
            return
        clients = cast("bytes", await self._queue.call("CLIENT", "LIST")).decode()
        for line in clients.splitlines():
            if f" name={CLIENT_NAME}{reader_role(name)} " in line:
                client_id = line.partition(" ")[0].removeprefix("id=")
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
        touched = [self._workers, keys.dead, *queue.streams, *map(keys.stream, others)]
        arguments = [GROUP, keys.prefix, name, beat, RECOVER_LIMIT, max_worker_deaths]
        arguments += [MAX_DEAD, KEEP_DEAD_MS, INBOX_MS]
        return Recovered(*cast("list[int]", await queue.run("recover_worker", touched, arguments)))
