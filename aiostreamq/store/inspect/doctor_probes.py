"""Looking for leftovers in all keys of a queue."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq import clock
from aiostreamq.model.backlog_names import held_job, tokens_of_backlog
from aiostreamq.model.keys import GROUP, HELD
from aiostreamq.store.connection.link import CommandError
from aiostreamq.store.connection.redis_errors import is_withheld
from aiostreamq.store.inspect.key_scan import STEP, scan
from aiostreamq.store.inspect.stream_info import facts_of, own_group

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiostreamq.store.connection.link import Reply
    from aiostreamq.store.queue import QueueStore

PINGS = 20

# Keys that always expire, unless another program wrote them.
_EXPIRING = (
    *(
        "result:",
        "inbox:",
        "stats:",
        "worker:",
        "counted:",
        "bytes:",
        "room:",
        "room_calls:",
        "recent",
        "confirm",
        "leases",
    ),
)


class GroupState(NamedTuple):
    """The group of one stream."""

    stream: str
    length: int
    has_group: bool
    pending: int
    lag: int | None  #: as Redis counts it; None if it does not know
    can_know_lag: bool  #: Redis 6.2 never knows the lag; newer ones may not know it for a while
    owners: "Mapping[str, int]"  #: how many deliveries each consumer has


class Scanned(NamedTuple):
    """The result of a scan of all keys."""

    keys: int  #: of this queue
    is_whole: bool  #: whether all keys of Redis were scanned
    orphans: list[str]  #: jobs that are in no stream, and keys that should expire but do not
    lanes: list[str]  #: lanes that have jobs but are unknown to the queue here
    limits: list[str]  #: tokens of limits that hold permits, or that backlogs wait for
    lost: list[str]  #: backlogs that have jobs and that no worker looks at


class Keyspace:
    """Examines the keys and groups of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue

    async def round_trips(self) -> list[float]:
        """Return the seconds that each of some PINGs took, shortest first."""
        took: list[float] = []
        for _ in range(PINGS):
            before = clock.monotonic()
            await self._queue.call("PING")
            took.append(clock.monotonic() - before)
        return sorted(took)

    async def groups(self) -> list[GroupState]:
        """Return the groups of all streams."""
        return [await self._group(stream) for stream in self._queue.streams]

    async def _group(self, stream: str) -> GroupState:
        length = cast("int", await self._queue.call("XLEN", stream))
        no_group = GroupState(stream, length, False, 0, None, False, {})
        try:
            # In this order: what is delivered in between may be deleted after that, never before.
            about = facts_of(await self._queue.call("XINFO", "STREAM", stream))
            group = own_group(await self._queue.call("XINFO", "GROUPS", stream))
        except CommandError as error:
            if is_withheld(error):
                raise
            return no_group
        if group is None:
            return no_group
        pending = cast("list[Reply]", await self._queue.call("XPENDING", stream, GROUP))
        owners = cast("list[tuple[bytes, bytes]] | None", pending[3]) or []
        return GroupState(
            stream,
            length,
            True,
            cast("int", pending[0]),
            cast("int | None", group.get(b"lag")),
            b"lag" in group and not _is_known_soon(about, group),
            {name.decode(): int(count) for name, count in owners},
        )

    async def scan(self) -> Scanned:
        """Scan the keys of the queue, in steps between which Redis serves other clients."""
        found, is_whole = await scan(self._queue, self._queue.keys.prefix)
        names = sorted(found)
        jobs = [name for name in names if name.startswith(("job:", *_EXPIRING))]
        backlogs = [name for name in names if name.startswith("backlog:")]
        # Asked twice: a job or a backlog may have moved between two questions.
        orphans = await self._which(await self._which(jobs, self._is_orphan), self._is_orphan)
        lost = await self._which(await self._which(backlogs, self._is_lost), self._is_lost)
        lanes = await self._strange_lanes(names)
        return Scanned(len(names), is_whole, orphans, lanes, _tokens_in(names), lost)

    async def _which(
        self, names: "Sequence[str]", asked: "Callable[[str], Awaitable[bool]]"
    ) -> list[str]:
        found: list[str] = []
        for start in range(0, len(names), STEP):
            some = names[start : start + STEP]
            answers = await asyncio.gather(*map(asked, some))
            found += [name for name, is_so in zip(some, answers, strict=True) if is_so]
        return found

    async def _is_lost(self, name: str) -> bool:
        keys, backlog = self._queue.keys, name.removeprefix("backlog:")
        if await self._has(keys.ready, backlog) or not await self._queue.call(
            "EXISTS", keys.backlog(backlog)
        ):
            return False
        for token in tokens_of_backlog(backlog):
            if await self._has(keys.blocked(token), backlog):
                return not await self._has(keys.due, token)
        return True

    async def _has(self, key: str, member: str) -> bool:
        return await self._queue.call("ZSCORE", key, member) is not None

    async def _is_orphan(self, name: str) -> bool:
        keys, call = self._queue.keys, self._queue.call
        key = keys.prefix + name
        if await call("PTTL", key) != -1:
            return False
        if not name.startswith("job:"):
            return True
        known = cast("list[bytes | None]", await call("HMGET", key, "e", "s", "p", "b"))
        entry, lane = known[0], (known[1] or b"default").decode()
        if known[2] is not None:
            job_id, place = name.removeprefix("job:"), keys.delayed
            if lane == HELD:
                place = keys.backlog(held_job(job_id, {b"b": known[3] or b""}).backlog)
            return await call("ZSCORE", place, job_id) is None
        if lane == "parked":
            return False  # the job does not say in which stream
        if entry is None:
            return True
        return not await call("XRANGE", keys.stream(lane), entry, entry)

    async def _strange_lanes(self, names: "Sequence[str]") -> list[str]:
        prefix, call = self._queue.keys.prefix, self._queue.call
        lanes = [name.removeprefix("stream:") for name in names if name.startswith("stream:")]
        strange = [lane for lane in lanes if f"{prefix}stream:{lane}" not in self._queue.streams]
        return [lane for lane in strange if await call("XLEN", f"{prefix}stream:{lane}")]


def _tokens_in(names: "Sequence[str]") -> list[str]:
    """Return the tokens of the limits that have one of these keys."""
    parts = (name.partition(":") for name in names)
    return sorted({token for kind, _, token in parts if kind in {"permits", "blocked"}})


def _is_known_soon(stream: "Mapping[bytes, Reply]", group: "Mapping[bytes, Reply]") -> bool:
    """Return whether Redis does not know the lag for a while only.

    The entry that was delivered last is deleted when its job ends. If an older one still runs
    then, Redis takes the next entries for deleted: 7.0 until it has delivered some of them, Redis 8
    and Valkey 8 until all that were delivered have ended. Only entries that were deleted unread
    are another matter.
    """
    if group[b"lag"] is not None:
        return False
    deleted, delivered = stream.get(b"max-deleted-entry-id", b"0-0"), group[b"last-delivered-id"]
    return _order(cast("bytes", deleted)) <= _order(cast("bytes", delivered))


def _order(entry: bytes) -> tuple[int, ...]:
    return tuple(int(part) for part in entry.split(b"-"))
