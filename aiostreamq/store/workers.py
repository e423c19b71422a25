"""Who works on a queue, and what becomes of the work of those who died."""

from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.model.keys import GROUP
from aiostreamq.model.lease import lanes_of
from aiostreamq.store.broker import (
    INBOX_MS,
    KEEP_DEAD_MS,
    MAX_DEAD,
    MAX_DEAD_AGE_MS,
    Broker,
)
from aiostreamq.store.connection.connector import CLIENT_NAME, READER
from aiostreamq.store.deliveries import pairs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiostreamq.model.delivery import Delivery
    from aiostreamq.store.connection.link import Argument

# How many deliveries of one stream a call recovers: some 2 ms of Redis.
REAP_LIMIT = 200


def reader_role(worker: str) -> str:
    """What the connection is called that a worker reads with."""
    return READER + worker


class Reaped(NamedTuple):
    """What one call recovered from a dead worker."""

    returned: int  #: deliveries that wait for another worker now
    given_up: int  #: jobs that have been delivered too often
    finished: int  #: 1 when nothing is left, 0 when there is more, -1 when it lives


class WorkerRegistry:
    """The workers of one queue, as Redis knows them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._workers = broker.keys.workers

    @property
    def connection_count(self) -> int:
        """How often this has connected to Redis."""
        return self._broker.connection_count

    async def join(self, name: str, lease_ms: int, lanes: "Iterable[str]" = ()) -> None:
        """Enter a worker that serves *lanes*. Before its first read, or nobody would miss it."""
        await self._broker.run("renew_lease", [self._workers], [name, lease_ms, 1, " ".join(lanes)])

    async def renew(self, name: str, lease_ms: int, about: bytes = b"") -> bool:
        """Show that a worker lives; False where it has been taken for dead.

        *about* is what it tells of itself to those who look.
        """
        keys: list[str] = [self._workers]
        arguments: list[Argument] = [name, lease_ms, 0, ""]
        if about:
            keys.append(self._broker.keys.worker(name))
            arguments.append(about)
        return await self._broker.run("renew_lease", keys, arguments) == 1

    async def census(self, lease_ms: int, *, thorough: bool) -> "Mapping[str, str]":
        """The beats of all workers by name; *thorough* finds those who never joined."""
        # While a cluster moves the queue nobody can renew a lease, but the beats as they were can
        # still be read. The script waits instead, so that nobody is taken for dead meanwhile.
        if thorough or (await self._broker.open()).is_cluster:
            keys = [self._workers, *self._broker.streams]
            found = await self._broker.run("list_workers", keys, [GROUP, lease_ms])
        else:
            found = await self._broker.call("HGETALL", self._workers)
        return pairs_of(cast("list[bytes]", found))

    async def disconnect(self, name: str) -> None:
        """Cut the blocking read of a dead worker.

        A worker that is paused and not gone has a read waiting at Redis, which would
        be served first with the very jobs that are being recovered from it.
        """
        if self._broker.connector.is_in_memory:
            return
        clients = cast("bytes", await self._broker.call("CLIENT", "LIST")).decode()
        for line in clients.splitlines():
            if f" name={CLIENT_NAME}{reader_role(name)} " in line:
                client_id = line.partition(" ")[0].removeprefix("id=")
                await self._broker.call("CLIENT", "KILL", "ID", client_id)

    async def mark(self, delivery: "Delivery") -> bool:
        """Note that a job that was with dead workers is about to run; False where it is gone."""
        keys = [self._broker.keys.job(delivery.job_id)]
        return await self._broker.run("note_suspect_run", keys, [delivery.number]) == 1

    async def reap(self, name: str, beat: str, max_worker_deaths: int) -> Reaped:
        """Recover some of what worker *name* was sent, unless its beat is not *beat* any more.

        Also of lanes that are not known here: it may be of another release.
        """
        broker = self._broker
        others = [lane for lane in lanes_of(beat) if lane not in broker.lanes]
        keys = [self._workers, broker.keys.dead, *broker.streams, *map(broker.keys.stream, others)]
        arguments = [GROUP, broker.keys.prefix, name, beat, REAP_LIMIT, max_worker_deaths]
        arguments += [MAX_DEAD, KEEP_DEAD_MS, INBOX_MS]
        return Reaped(*cast("list[int]", await broker.run("recover_worker", keys, arguments)))

    async def forget_old_letters(self) -> int:
        """Throw away dead letters beyond their age, about; returns how many."""
        broker = self._broker
        oldest = broker.clock.now_ms() - MAX_DEAD_AGE_MS
        # About: Redis drops whole nodes of the stream, which costs it next to nothing.
        trimmed = await broker.call("XTRIM", broker.keys.dead, "MINID", "~", f"{oldest}-0")
        return cast("int", trimmed)
