"""The way of a call into Redis: checked, encoded, and sent with others."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiostreamq.aio.batching import BATCH_BYTES, small_bytes
from aiostreamq.client.call import Call, Refusal, reason_of
from aiostreamq.client.ids import new_job_id
from aiostreamq.client.job import Job, StreamJob
from aiostreamq.client.not_a_call import close_coroutines
from aiostreamq.client.oversize import over_limit
from aiostreamq.client.sessions.batchers import Batchers
from aiostreamq.client.sessions.call_sources import Source, not_a_call, sources_of
from aiostreamq.client.sessions.envelope_fields import fields_of
from aiostreamq.client.sessions.lots import Lot, Prepared, each_sent
from aiostreamq.errors import UsageError
from aiostreamq.model.delivery import DelayedSubmission, HeldSubmission, WaiterMode
from aiostreamq.model.functions.encoding import write_call
from aiostreamq.store.enqueue import ENQUEUE_LIMIT, IdWas

if TYPE_CHECKING:
    from aiostreamq.client.call import Using
    from aiostreamq.client.enqueue_batcher import EnqueueBatcher
    from aiostreamq.client.listener_events import QueueTelemetry
    from aiostreamq.client.protocols import JobHome
    from aiostreamq.client.results.waiter import ResultWaiter
    from aiostreamq.errors import AioStreamQError
    from aiostreamq.model.options import Options, QueuePolicy
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.enqueue import Refusals
    from aiostreamq.store.queue import QueueStore

R = TypeVar("R")

# Chunks of enqueue_many that may be in flight at once: while Redis works on
# one, the next is encoded here.
CHUNKS_IN_FLIGHT = 3

# The same for chunks that wait for a confirmation, which may take a second for all together.
CHUNKS_UNCONFIRMED = 40


class Enqueuing:
    """Enqueues the calls of one session."""

    def __init__(
        self,
        store: "QueueStore",
        waiter: "ResultWaiter",
        home: "JobHome",
        policy: "QueuePolicy",
        telemetry: "QueueTelemetry",
    ) -> None:
        self._store = store
        self._waiter = waiter
        self._home = home
        self._telemetry = telemetry
        self._listeners = telemetry.listeners
        self._policy = policy
        self._max_payload = policy.max_payload
        self._small = min(policy.max_payload, small_bytes(ENQUEUE_LIMIT))
        self._large = 0  # bytes of payloads above that which are prepared and in no batch yet
        self.batchers = Batchers(store, waiter.inbox, policy)  #: what sends the jobs
        self._batcher = self.batchers.plain
        self._chunks_in_flight = CHUNKS_IN_FLIGHT
        if policy.durability != "memory":
            self._chunks_in_flight = CHUNKS_UNCONFIRMED
        # If a lane is full, the jobs that go in must be the first ones.
        if policy.is_bounded:
            self._chunks_in_flight = 1

    def check_own(self, spec: "TaskSpec") -> "TaskSpec":
        """Return the spec of the same task in this queue.

        Raises:
            UsageError: It belongs to another queue.
        """
        return self._home.own_spec(spec)

    async def know_time(self) -> None:
        """Make sure that Redis's time is known, so that moments can be computed from it."""
        await self._store.clock.refresh(self._policy.enqueue_timeout)

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
        batcher, options = self._batcher, using.options
        if options.durability is not None or options.unique is not None or options.limits:
            batcher = self.batchers.of(options)
        if self._large:
            future = batcher.put_large(item, self._large)
            self._large = 0
        elif using.due is None or options.unique is not None:
            # No cast, which would cost each enqueue something.
            future = batcher.now.put(item)  # pyright: ignore[reportArgumentType]
        else:
            future = batcher.later.put(cast("DelayedSubmission", item))
        if self._listeners.is_heard:
            lane = using.options.lane
            self._telemetry.report_when_done(future, spec.name, job.id, lane)
        return job, future

    async def submit_many(
        self, calls: "Iterable[Call[R]] | AsyncIterable[Call[R]]"
    ) -> "list[Job[R]]":
        """Enqueue calls chunk by chunk, in their order."""
        jobs: list[Job[object]] = []
        in_flight: deque[asyncio.Task[None]] = deque()
        refused: Exception | None = None
        try:
            async for source in sources_of(calls, ENQUEUE_LIMIT):
                refused = await self._send_from(source, jobs, in_flight)
                if refused is not None:
                    close_coroutines(calls if isinstance(calls, Sequence) else source.chunk)
                    break
        except asyncio.CancelledError:
            if self._policy.waits_when_full:  # for room, maybe for ever
                for sending in in_flight:
                    sending.cancel()
            raise
        finally:
            # After an error, too, wait for the chunks that were sent.
            ended = await asyncio.gather(*in_flight, return_exceptions=True)
        for failed in (*ended, refused):
            if failed is not None:
                raise failed
        return cast("list[Job[R]]", jobs)

    async def _send_from(
        self,
        source: "Source[Any]",
        jobs: "list[Job[object]]",
        in_flight: "deque[asyncio.Task[None]]",
    ) -> "Exception | None":
        """Send the calls of *source* up to the first that is refused; return its error."""
        has_time, refused = False, None
        while refused is None:
            if not (has_time or self._store.clock.is_good) and self._home.hooks is not None:
                await self.know_time()  # middleware may give a job any moment
                has_time = True
            has_time = has_time or self._store.clock.is_good
            calls = (source.take if has_time else source.take_timeless)(ENQUEUE_LIMIT)
            lots, refused = self._lots_of(calls, jobs)
            if has_time := not lots and refused is None:
                if source.is_at_end:
                    return None
                await self.know_time()
            else:
                await self._begin_to_send(lots, in_flight)
        return refused

    def write(
        self,
        spec: "TaskSpec",
        args: "Sequence[object]",
        kwargs: "dict[str, object]",
        fields: "dict[str, object]",
        callbacks: "Options | None" = None,
    ) -> bytes:
        """Return the envelope of a call, with further *fields* for the worker.

        *callbacks* are the options of a job that has callbacks.

        Raises:
            UsageError: The arguments do not fit the task, or a callback is for an unknown lane.
            PayloadError: An argument cannot be sent as JSON, or the call is too long.
        """
        if callbacks is not None:
            from aiostreamq.client.callbacks import add_callbacks

            add_callbacks(fields, callbacks, self._store.place_of, self._home)
        envelope = write_call(spec, args, kwargs, fields)
        if len(envelope) > self._max_payload:
            raise over_limit(spec.name, envelope, self._max_payload)
        return envelope

    def _prepare(
        self,
        spec: "TaskSpec",
        using: "Using",
        args: Sequence[object],
        kwargs: "dict[str, object]",
    ) -> "Prepared":
        options = using.options
        place = self._store.place_of(options.lane)  # first: what it refuses leaves nothing behind
        envelope = write_call(spec, args, kwargs, fields_of(using, self._store, self._home))
        if len(envelope) > self._small:
            if len(envelope) > self._max_payload:
                raise over_limit(spec.name, envelope, self._max_payload)
            self._large += len(envelope)
        job_id = using.id or new_job_id()
        mark, ticket = WaiterMode.NOBODY, None
        if options.result_ttl == 0:
            mark = WaiterMode.NO_RESULT
        elif using.id is None and spec.name in self._waiter.awaited_tasks:
            mark, ticket = WaiterMode.CALLER, self._waiter.new_ticket(job_id, is_announced=True)
        make: type[Job[object]] = cast("type[Job[object]]", StreamJob) if spec.is_stream else Job
        if mark is WaiterMode.NO_RESULT:
            job = make(job_id, self._home, keeps_result=False)
        else:
            job = make(job_id, self._home, ticket)
        if options.unique is not None:
            # Imported at the first use: most programs have no such jobs.
            from aiostreamq.client.sessions.unique_calls import with_key

            return with_key((job_id, place, mark, envelope), job, spec, using, args, kwargs), job
        if using.due is None:
            if options.limits:
                from aiostreamq.model.functions.limit_keys import line_of  # likewise

                line = line_of(spec, options.lane, args, kwargs)
                return HeldSubmission(job_id, place, mark, *line, envelope), job
            return (job_id, place, mark, envelope), job
        return (job_id, options.lane, mark, using.due.to_wire(), envelope), job

    async def _begin_to_send(
        self, lots: "list[Lot]", in_flight: "deque[asyncio.Task[None]]"
    ) -> None:
        """Send lots together with those *in_flight*, and wait for the first if that are many."""
        most = 1 if any(lot.must_be_alone for lot in lots) else self._chunks_in_flight
        while len(in_flight) >= most:
            await in_flight.popleft()
        in_flight.append(asyncio.create_task(self._send(lots)))
        await asyncio.sleep(0)

    def _lots_of(
        self, calls: "Iterator[Call[object]]", jobs: "list[Job[object]]"
    ) -> "tuple[list[Lot], Exception | None]":
        """Prepare calls up to the first that is refused; return their lots, and its error.

        It also ends when one command has enough bytes. The jobs are appended to *jobs*.
        """
        lots: dict[tuple[EnqueueBatcher, bool], Lot] = {}
        given: object = None
        self._large = 0
        last: TaskSpec | None = None
        own: TaskSpec | None = None
        using: Using | None = None
        lot, hooks = Lot(self._batcher, is_delayed=False), self._home.hooks
        is_heard = self._listeners.is_heard
        try:
            for given in calls:
                if given.spec is not last or own is None:
                    last, own = given.spec, self.check_own(given.spec)
                mine = given if own is last else replace(given, spec=own)
                call = mine if hooks is None else hooks.applied_to(mine)
                item, job = self._prepare(own, call.using, call.args, call.kwargs)
                if using is not call.using:
                    using, lot = call.using, self._lot_for(call.using, lots)
                if call.using.id is not None:
                    lot.chosen_ids.append((len(lot.items), job))
                lot.positions.append(len(jobs))
                lot.items.append(item)
                jobs.append(job)
                if is_heard:
                    lot.reports.append((own.name, call.using.options.lane))
                if self._large >= BATCH_BYTES:
                    break
        except (UsageError, Refusal) as error:
            return list(lots.values()), reason_of(error)
        except AttributeError:
            if isinstance(given, Call):
                raise
            return list(lots.values()), not_a_call(given, calls)
        finally:
            self._large = 0
        return list(lots.values()), None

    def _lot_for(self, using: "Using", lots: "dict[tuple[EnqueueBatcher, bool], Lot]") -> Lot:
        is_plain = using.options.unique is None
        kind = (self.batchers.of(using.options), is_plain and using.due is not None)
        return lots.get(kind) or lots.setdefault(kind, Lot(kind[0], is_delayed=kind[1]))

    async def _send(self, lots: "list[Lot]") -> None:
        """Send the lots of a chunk, one after the other.

        Raises:
            QueueFull: There was not enough room; the jobs that found room are enqueued.
            QueueUnavailable: Redis was away, or the queue was closed.
            PayloadError: Redis refused a job for its size; the others are enqueued.
            AlreadyEnqueued: Another job holds the key of one; the others are enqueued.
        """
        full: list[tuple[int, Lot]] = []
        refused: AioStreamQError | None = None
        async for lot, refusals in each_sent(lots):
            for place, job in lot.chosen_ids:
                job.note_id(self._waiter, refusals.id_was(place))
            full += ((lot.positions[place], lot) for place in refusals.full)
            refused = refused or next(iter(refusals.errors.values()), None)
            if lot.reports:
                self._report(lot, refusals)
        if full:
            position, lot = min(full, key=itemgetter(0))
            raise lot.full(position)
        if refused is not None:
            raise refused

    def _report(self, lot: Lot, refusals: "Refusals") -> None:
        for place, ((task, lane), item) in enumerate(zip(lot.reports, lot.items, strict=True)):
            if place not in refusals.full and place not in refusals.errors:
                self._telemetry.report_enqueued(refusals.id_was(place), task, item[0], lane)
