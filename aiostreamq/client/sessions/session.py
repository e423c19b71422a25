"""An open queue: its connections, and the way of jobs into Redis.

Apart from the QueueClient, so that importing aiostreamq and registering tasks
loads neither asyncio nor anything that talks to Redis.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, cast

from aiostreamq.client.bulk_errors import check_calls, close_coroutines, unbound_call
from aiostreamq.client.call import Call
from aiostreamq.client.deadline import DEADLINE
from aiostreamq.client.enqueue_batcher import EnqueueBatcher, Waiting
from aiostreamq.client.ids import new_job_id
from aiostreamq.client.job import Job, StreamJob
from aiostreamq.client.results import ResultWaiter
from aiostreamq.errors import EnqueueNotConfirmed, PayloadError, UsageError
from aiostreamq.model.delivery import DelayedSubmission, Submission, WaiterMode
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.model.time import After
from aiostreamq.store.durability import ConfirmedRunner
from aiostreamq.store.enqueue import ENQUEUE_LIMIT, IdWas
from aiostreamq.store.queue import QueueStore
from aiostreamq.store.schedules import ScheduleStore

if TYPE_CHECKING:
    from aiostreamq.client.call import Using
    from aiostreamq.client.ports import JobHome
    from aiostreamq.client.telemetry import QueueTelemetry
    from aiostreamq.model.keys import Keys
    from aiostreamq.model.options import Durability, QueuePolicy
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.model.time import When
    from aiostreamq.store.connection.connector import Connector
    from aiostreamq.store.connection.server import Server

R = TypeVar("R")

_Prepared = tuple[Submission | DelayedSubmission, Job[object]]

# Chunks of enqueue_many that may be in flight at once: while Redis works on
# one, the next is encoded here.
CHUNKS_IN_FLIGHT = 3

# The same for chunks that wait for a confirmation, which may take a second for all together.
CHUNKS_UNCONFIRMED = 40


class Session:
    """The connections of an open queue, and the event loop that they belong to."""

    def __init__(
        self,
        connector: "Connector",
        keys: "Keys",
        lanes: "Sequence[str]",
        home: "JobHome",
        policy: "QueuePolicy",
        telemetry: "QueueTelemetry",
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.broker = QueueStore(connector, keys, lanes)
        self.schedules = ScheduleStore(self.broker)
        self.enqueue_timeout = policy.enqueue_timeout  #: seconds to retry
        self.waiter = ResultWaiter(self.broker, home.spec_of)
        self._home = home
        self._telemetry = telemetry
        self._listeners = telemetry.listeners
        self._policy = policy
        self._max_payload = policy.max_payload
        self._batchers: dict[Durability, EnqueueBatcher] = {}
        self._batcher = self._batcher_for(policy.durability)
        self._chunks_in_flight = CHUNKS_IN_FLIGHT
        if policy.durability != "memory":
            self._chunks_in_flight = CHUNKS_UNCONFIRMED
        # If a lane is full, the jobs that go in must be the first ones.
        if policy.max_length:
            self._chunks_in_flight = 1

    async def open(self) -> "Server":
        """Connect, and check that the server supports what the queue needs.

        Raises:
            As `QueueClient.open`.
        """
        server = await self.broker.open()
        if (confirmed := self._batcher.confirmed) is not None:
            await confirmed.open()
        return server

    def is_here(self) -> bool:
        """Return whether this belongs to the running event loop."""
        return self.loop is asyncio.get_running_loop()

    def check_own(self, spec: "TaskSpec") -> "TaskSpec":
        """Return *spec*, the spec of a task of this queue or of a task known only by name.

        Raises:
            UsageError: It belongs to another queue.
        """
        if spec.function is not None and self._home.spec_of(spec.name) is not spec:
            raise UsageError(
                f"task {spec.name!r} belongs to another queue than {self.broker.keys.queue!r}: "
                f"use its own queue, or give its name if the workers of this queue know the task"
            )
        return spec

    async def join(self) -> None:
        """Wait until all that was enqueued so far has been sent. Cancelling is safe."""
        for batcher in list(self._batchers.values()):
            await batcher.join()

    def close_now(self) -> None:
        """Close the connections; waiting code gets QueueUnavailable. Does nothing if closed."""
        self.broker.close()
        for batcher in self._batchers.values():
            if batcher.confirmed is not None:
                batcher.confirmed.close()
        self.waiter.close()

    async def wait_closed(self) -> None:
        """Wait until everything has stopped after `close_now`."""
        await self.waiter.wait_closed()

    def abandon(self) -> None:
        """Drop the connections of an event loop that has ended; waiting code is not notified."""
        self.broker.close(is_loop_gone=True)
        for batcher in self._batchers.values():
            if batcher.confirmed is not None:
                batcher.confirmed.close(is_loop_gone=True)
        self.waiter.abandon()

    def _batcher_for(self, durability: "Durability | None") -> EnqueueBatcher:
        """Return the batcher for jobs of a durability; None is the queue's own."""
        durability = durability or self._policy.durability
        batcher = self._batchers.get(durability)
        if batcher is None:
            confirmed = None
            if durability != "memory":
                confirmed = ConfirmedRunner(self.broker, durability)
            batcher = EnqueueBatcher(self.broker, self.waiter.inbox, self._policy, confirmed)
            self._batchers[durability] = batcher
        return batcher

    async def know_time(self) -> None:
        """Make sure that Redis's time is known, so that moments can be computed from it."""
        await self.broker.clock.refresh(self.enqueue_timeout)

    def put(
        self,
        spec: "TaskSpec",
        using: "Using",
        args: "Sequence[object]",
        kwargs: "dict[str, object]",
    ) -> "tuple[Job[object], asyncio.Future[IdWas]]":
        """Enqueue one call, together with all others that are made at the same time.

        Returns:
            The job, and a future that is done when the job is in Redis. Its result says
            whether the id was free.
        """
        item, job = self._prepare(spec, using, args, kwargs)
        future: asyncio.Future[IdWas] = self.loop.create_future()
        batcher = self._batcher
        if (durability := using.options.durability) is not None:
            batcher = self._batcher_for(durability)
        if using.due is None:
            # No cast, which would cost each enqueue something.
            batcher.now.add((item, future))  # pyright: ignore[reportArgumentType]
        else:
            batcher.later.add(cast("Waiting[DelayedSubmission]", (item, future)))
        if self._listeners.is_heard:
            lane = using.options.lane
            self._telemetry.report_when_done(future, spec.name, job.id, lane)
        return job, future

    async def submit_many(
        self, calls: "Iterable[Call[R]] | AsyncIterable[Call[R]]"
    ) -> "list[Job[R]]":
        """Enqueue calls chunk by chunk, in their order."""
        jobs: list[Job[R]] = []
        in_flight: deque[asyncio.Task[None]] = deque()
        clock = self.broker.clock
        refused: UsageError | None = None
        try:
            async for chunk in _chunks(calls, ENQUEUE_LIMIT):
                if not clock.is_good and any(map(_needs_time, chunk)):
                    await clock.refresh(self.enqueue_timeout)
                prepared, refused = self._prepare_chunk(chunk)
                if len(in_flight) == self._chunks_in_flight:
                    await in_flight.popleft()
                putting = self._put_chunk(chunk, prepared, len(jobs))
                in_flight.append(asyncio.create_task(putting))
                jobs += cast("list[Job[R]]", [job for _, job in prepared])
                if refused is not None:
                    close_coroutines(calls if isinstance(calls, Sequence) else chunk)
                    break
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self._policy.waits_when_full:  # for room, maybe for ever
                for putting in in_flight:
                    putting.cancel()
            raise
        finally:
            # After an error, too, wait for the chunks that were sent.
            ended = await asyncio.gather(*in_flight, return_exceptions=True)
        for failed in (*ended, refused):
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
        envelope = write_call(spec, args, kwargs, self._fields(using))
        if len(envelope) > self._max_payload:
            raise self._too_long(spec, envelope)
        options = using.options
        job_id = using.id or new_job_id()
        mark, ticket = WaiterMode.NOBODY, None
        if options.result_ttl == 0:
            mark = WaiterMode.NO_RESULT
        elif using.id is None and spec.name in self.waiter.awaited_tasks:
            mark, ticket = WaiterMode.CALLER, self.waiter.new_ticket(job_id, is_announced=True)
        keeps_result = mark is not WaiterMode.NO_RESULT
        make: type[Job[object]] = cast("type[Job[object]]", StreamJob) if spec.is_stream else Job
        job: Job[object] = make(job_id, self._home, ticket, keeps_result=keeps_result, is_new=True)
        place = self.broker.place_of(options.lane)
        if using.due is None:
            return (job_id, place, mark, envelope), job
        return (job_id, options.lane, mark, using.due.to_wire(), envelope), job

    def write(
        self,
        spec: "TaskSpec",
        args: "Sequence[object]",
        kwargs: "dict[str, object]",
        fields: "dict[str, object]",
    ) -> bytes:
        """Return the envelope of a call, with further *fields* for the worker.

        Raises:
            UsageError: The arguments do not fit the task.
            PayloadError: An argument cannot be sent as JSON, or the call is too long.
        """
        envelope = write_call(spec, args, kwargs, fields)
        if len(envelope) > self._max_payload:
            raise self._too_long(spec, envelope)
        return envelope

    def _too_long(self, spec: "TaskSpec", envelope: bytes) -> PayloadError:
        return PayloadError(
            f"task {spec.name!r}: a payload of {len(envelope):,} bytes is over the limit of "
            f"{self._max_payload:,}: send a reference to the data, or raise Queue(max_payload=)"
        )

    def _fields(self, using: "Using") -> "dict[str, object]":
        """Return the envelope fields of *using*, with its moments by Redis's clock."""
        inherited, expires, deadline = DEADLINE.get(), using.expires, using.deadline
        if expires is deadline is inherited is None:
            return using.fields
        fields = dict(using.fields)
        if expires is not None:
            fields["expires"] = self._moment_ms(expires)
        if deadline is not None and inherited is not None:
            fields["deadline"] = min(self._moment_ms(deadline), inherited)
        elif deadline is not None:
            fields["deadline"] = self._moment_ms(deadline)
        elif inherited is not None:
            fields["deadline"] = inherited
        return fields

    def _moment_ms(self, when: "When") -> int:
        return when.ms + (self.broker.clock.now_ms() if isinstance(when, After) else 0)

    def _prepare_chunk(
        self, chunk: "Sequence[Call[object]]"
    ) -> "tuple[list[_Prepared], UsageError | None]":
        """Prepare calls up to the first that is refused; return them, and its error."""
        prepared: list[_Prepared] = []
        checked: TaskSpec | None = None
        try:
            for call in chunk:
                if call.spec is not checked:
                    checked = self.check_own(call.spec)
                prepared.append(self._prepare(call.spec, call.using, call.args, call.kwargs))
        except UsageError as error:
            return prepared, error
        except AttributeError:
            unbound = cast("object", chunk[len(prepared)])
            if isinstance(unbound, Call):
                raise
            return prepared, unbound_call(unbound)
        return prepared, None

    async def _put_chunk(
        self, chunk: "Sequence[Call[object]]", prepared: "list[_Prepared]", before: int
    ) -> None:
        """Send the prepared calls of a chunk, which comes after *before* other calls.

        Raises:
            QueueFull: There was not enough room; the jobs that found room are enqueued.
        """
        ways: list[tuple[Durability | None, bool]]
        ways = [
            (call.using.options.durability, call.using.due is None)
            for call in chunk[: len(prepared)]
        ]
        taken: dict[int, IdWas] = {}
        full: dict[int, EnqueueBatcher] = {}
        for durability, is_now in dict.fromkeys(ways):
            batcher = self._batcher_for(durability)
            places = [at for at in range(len(prepared)) if ways[at] == (durability, is_now)]
            items = [prepared[at][0] for at in places]
            try:
                if is_now:
                    refusals = await batcher.send(cast("list[Submission]", items))
                else:
                    refusals = await batcher.send_later(cast("list[DelayedSubmission]", items))
            except EnqueueNotConfirmed as error:
                ids = tuple(item[0] for item in items)
                raise EnqueueNotConfirmed(str(error), job_ids=ids) from error
            taken.update((places[place], refusals.id_was(place)) for place in refusals.taken)
            full.update((places[place], batcher) for place in refusals.full)
        for at, (_, job) in enumerate(prepared):
            if chunk[at].using.id is not None:
                job.note_id(self.waiter, taken.get(at, IdWas.FREE))
            if self._listeners.is_heard and at not in full:
                lane, id_was = chunk[at].using.options.lane, taken.get(at, IdWas.FREE)
                self._telemetry.report_enqueued(id_was, chunk[at].spec.name, job.id, lane)
        if full:
            first = min(full)
            raise full[first].full(cast("Submission", prepared[first][0]), enqueued=before + first)


def _needs_time(call: object) -> bool:
    return isinstance(call, Call) and call.using.needs_time


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
    check_calls(calls)
    source: Iterator[Call[R]] = iter(calls)
    while chunk := list(islice(source, size)):
        yield chunk
