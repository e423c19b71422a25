"""An open queue: its connections, and the way of jobs into Redis.

Apart from the Producer, so that importing aiostreamq and registering tasks
loads neither asyncio nor anything that talks to Redis.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiostreamq.client.ids import new_job_id
from aiostreamq.client.job import Job
from aiostreamq.client.waiter import Waiter
from aiostreamq.errors import PayloadError, UsageError
from aiostreamq.model.delivery import Mark, Postponement, Submission
from aiostreamq.model.envelope import encode_envelope
from aiostreamq.model.signature import blame
from aiostreamq.store.broker import ENQUEUE_LIMIT, Broker
from aiostreamq.store.commit import GroupCommit
from aiostreamq.store.schedule import Schedule

if TYPE_CHECKING:
    from aiostreamq.client.task import Call, Using
    from aiostreamq.model.keys import Keys
    from aiostreamq.model.spec import TaskSpec
    from aiostreamq.store.connector import Connector

R = TypeVar("R")

_Item = TypeVar("_Item", Submission, Postponement)
_Waiting = tuple[_Item, "asyncio.Future[bool]"]
_Prepared = tuple[Submission | Postponement, Job[object]]

# A job for later has one part more than one for now: when it is due.
LATER_PARTS = 5

# Chunks of enqueue_many that may be on their way at once: while Redis works on
# one, the next is being written here.
CHUNKS_UNDER_WAY = 3


class Session:
    """What an open queue holds: connections, and the loop they belong to."""

    def __init__(
        self,
        connector: "Connector",
        keys: "Keys",
        lanes: "Sequence[str]",
        spec_of: "Callable[[str], TaskSpec | None]",
        *,
        max_payload: int,
        enqueue_timeout: float,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.broker = Broker(connector, keys, lanes)
        self.schedule = Schedule(self.broker)
        self.waiter = Waiter(self.broker, spec_of)
        self._max_payload = max_payload
        self._enqueue_timeout = enqueue_timeout
        self._commit = GroupCommit[_Waiting[Submission]](self._put, ENQUEUE_LIMIT)
        self._postponing = GroupCommit[_Waiting[Postponement]](self._put_later, ENQUEUE_LIMIT)

    def check_loop(self) -> None:
        """Refuse another event loop than that of the connections.

        Raises:
            UsageError: This is another one.
        """
        if self.loop is not asyncio.get_running_loop():
            raise UsageError(
                f"queue {self.broker.keys.queue!r} is open in another event loop: close it there "
                f"first (`async with queue:` does), or make a queue for each loop"
            )

    async def join(self) -> None:
        """Wait until all that was enqueued so far has been sent. Cancelling is safe."""
        await self._commit.join()
        await self._postponing.join()

    async def close(self) -> None:
        """Close the connections; whoever still waits is told."""
        await self.waiter.close()
        self.broker.close()

    async def submit(
        self,
        spec: "TaskSpec",
        using: "Using",
        args: "Sequence[object]",
        kwargs: "dict[str, object]",
    ) -> Job[object]:
        """Enqueue one call, together with all others that come in the same moment."""
        item, job = self._prepare(spec, using, args, kwargs)
        future: asyncio.Future[bool] = self.loop.create_future()
        commit = self._commit if using.due is None else self._postponing
        cast("GroupCommit[_Waiting[Submission]]", commit).add((cast("Submission", item), future))
        is_taken = await future
        if using.id is not None and not is_taken:
            job.begin_anew()
        return job

    async def submit_many(
        self, calls: "Iterable[Call[R]] | AsyncIterable[Call[R]]"
    ) -> "list[Job[R]]":
        """Enqueue calls chunk by chunk, in their order."""
        jobs: list[Job[R]] = []
        under_way: deque[asyncio.Task[None]] = deque()
        try:
            async for chunk in _chunks(calls, ENQUEUE_LIMIT):
                prepared, refused = self._prepare_chunk(chunk)
                named = {at for at in range(len(prepared)) if chunk[at].using.id is not None}
                jobs += cast("list[Job[R]]", [job for _, job in prepared])
                if len(under_way) == CHUNKS_UNDER_WAY:
                    await under_way.popleft()
                under_way.append(asyncio.create_task(self._put_chunk(prepared, named)))
                if refused is not None:
                    raise refused
                await asyncio.sleep(0)
        finally:
            # Also after an error: what was handed to Redis is seen to its end.
            ended = await asyncio.gather(*under_way, return_exceptions=True)
        for failed in ended:
            if failed is not None:
                raise failed
        return jobs

    def _prepare(
        self,
        spec: "TaskSpec",
        using: "Using",
        args: Sequence[object],
        kwargs: "dict[str, object]",
    ) -> "_Prepared":
        envelope = self._write(spec, using, args, kwargs)
        options = using.options
        job_id = using.id or new_job_id()
        mark, ticket = Mark.NOBODY, None
        if options.result_ttl == 0:
            mark = Mark.NO_RESULT
        elif using.id is None and spec.name in self.waiter.awaited_tasks:
            mark, ticket = Mark.CALLER, self.waiter.new_ticket(job_id, is_announced=True)
        keeps_result = mark is not Mark.NO_RESULT
        job: Job[object] = Job(job_id, self.waiter, ticket, keeps_result=keeps_result)
        place = self.broker.place_of(options.lane)
        if using.due is None:
            return (job_id, place, mark, envelope), job
        return (job_id, options.lane, mark, using.due, envelope), job

    def _write(
        self,
        spec: "TaskSpec",
        using: "Using",
        args: "Sequence[object]",
        kwargs: "dict[str, object]",
    ) -> bytes:
        signature = spec.signature
        written = (args, kwargs)
        if signature is not None:
            written = signature.write_arguments(args, kwargs)
        try:
            envelope = encode_envelope(spec.head, *written, self._told(using))
        except PayloadError as error:
            named = signature.name_of if signature is not None else str
            reason = blame(*written, named)
            raise PayloadError(f"task {spec.name!r}, {reason}") from error
        if len(envelope) > self._max_payload:
            raise PayloadError(
                f"task {spec.name!r}: a payload of {len(envelope):,} bytes is over the limit of "
                f"{self._max_payload:,}: send a reference to the data, or raise Queue(max_payload=)"
            )
        return envelope

    def _told(self, using: "Using") -> "dict[str, object]":
        """What workers must hear of *using*."""
        expires = using.expires
        if expires is None:
            return using.told
        since = self.broker.clock.now_ms() if expires.startswith("+") else 0
        return {**using.told, "expires": since + int(expires)}

    def _prepare_chunk(
        self, chunk: "Sequence[Call[object]]"
    ) -> "tuple[list[_Prepared], UsageError | None]":
        """Prepare calls up to the first that is refused, and give that refusal."""
        prepared: list[_Prepared] = []
        try:
            for call in chunk:
                prepared.append(self._prepare(call.spec, call.using, call.args, call.kwargs))  # noqa: PERF401  # what came before an error counts
        except UsageError as error:
            return prepared, error
        return prepared, None

    async def _put(self, batch: "list[_Waiting[Submission]]") -> None:
        await self._settle_all(batch, self._send_now([item for item, _ in batch]))

    async def _put_later(self, batch: "list[_Waiting[Postponement]]") -> None:
        await self._settle_all(batch, self._send_later([item for item, _ in batch]))

    async def _settle_all(
        self, batch: "list[_Waiting[_Item]]", sending: "Coroutine[Any, Any, set[int]]"
    ) -> None:
        """Tell everyone in *batch* what came of *sending* it."""
        try:
            taken = await sending
        except Exception as error:  # noqa: BLE001  # whatever it is, it belongs to the callers
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for place, (_, future) in enumerate(batch):
            if not future.done():
                future.set_result(place in taken)

    async def _send_now(self, jobs: Sequence[Submission]) -> set[int]:
        return await self.broker.enqueue(jobs, self.waiter.inbox, self._enqueue_timeout)

    async def _send_later(self, jobs: Sequence[Postponement]) -> set[int]:
        return await self.schedule.delay(jobs, self.waiter.inbox, self._enqueue_timeout)

    async def _put_chunk(self, prepared: "list[_Prepared]", named: set[int]) -> None:
        """Send a chunk; *named* are the places of the jobs whose ids callers gave."""
        later = [at for at, (item, _) in enumerate(prepared) if len(item) == LATER_PARTS]
        now = sorted(set(range(len(prepared))) - set(later)) if later else range(len(prepared))
        taken: set[int] = set()
        if now:
            found = await self._send_now([cast("Submission", prepared[at][0]) for at in now])
            taken.update(now[place] for place in found)
        if later:
            found = await self._send_later([cast("Postponement", prepared[at][0]) for at in later])
            taken.update(later[place] for place in found)
        for place in named - taken:
            prepared[place][1].begin_anew()


async def _chunks(
    calls: "Iterable[Call[R]] | AsyncIterable[Call[R]]", size: int
) -> "AsyncIterable[list[Call[R]]]":
    if isinstance(calls, AsyncIterable):
        chunk: list[Call[R]] = []
        async for call in calls:
            chunk.append(call)
            if len(chunk) == size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk
        return
    source: Iterator[Call[R]] = iter(calls)
    while chunk := list(islice(source, size)):
        yield chunk
