"""The events of running jobs on their way to Redis: progress, and chunks of streaming tasks."""

import asyncio
import threading
from collections import deque
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from aiostreamq.aio.batching import BATCH_BYTES, GroupCommit
from aiostreamq.errors import BrokerError, PayloadError
from aiostreamq.logs import get_logger
from aiostreamq.model.english import counted
from aiostreamq.model.job_events import Emission, encode_chunk
from aiostreamq.store.connection.link import CallTooLarge
from aiostreamq.store.job_events import EMIT_LIMIT, EventStreams

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from aiostreamq.model.delivery import Delivery
    from aiostreamq.store.queue import QueueStore

logger = get_logger("aiostreamq.worker")

# The most that a job may have unsent. A job with more waits.
MOST_UNSENT = 1000
MOST_UNSENT_BYTES = 128 * 1024

# Redis keeps about this many of a job's latest events, and at most this many bytes.
KEPT_EVENTS = 100_000
KEPT_BYTES = 16 * 1024 * 1024

# Milliseconds. While a job runs, its events are kept for this long after the latest one.
# When it ends, they are kept as long as its result, and a little longer, so that a
# caller that finds the result also finds the chunks.
KEEP_RUNNING_MS = 6 * 3600 * 1000
KEEP_LONGER_MS = 60_000


class EventSender:
    """Sends the events of all running jobs to Redis, all that are waiting in one round trip."""

    def __init__(self, store: "QueueStore", worker: str) -> None:
        self._worker = worker  # its name
        self._streams = EventStreams(store)
        self._loop = asyncio.get_running_loop()
        self._sending = GroupCommit[JobEventSender](self._send, EMIT_LIMIT)

    def voice(self, delivery: "Delivery", task: str, keep_ms: int) -> "JobEventSender":
        """Return the sender for one delivery.

        Args:
            delivery: The delivery of the job.
            task: The name of its task.
            keep_ms: How long the job's outcome is kept.
        """
        return JobEventSender(self._sending, self._loop, delivery, task, keep_ms)

    async def _send(self, voices: "list[JobEventSender]") -> None:
        unsent_bytes, start = 0, 0
        for place, voice in enumerate(voices):
            unsent_bytes += voice.unsent_bytes
            if unsent_bytes > BATCH_BYTES and place > start:
                await self._send_at_once(voices[start:place])
                start, unsent_bytes = place, voice.unsent_bytes
        await self._send_at_once(voices[start:])

    async def _send_at_once(self, voices: "list[JobEventSender]") -> None:
        await self._emit(voices, [voice.seal() for voice in voices])

    async def _emit(self, voices: "list[JobEventSender]", emissions: "list[Emission]") -> None:
        try:
            refused = await self._streams.emit(emissions)
        except BrokerError as error:
            middle = len(voices) // 2
            if middle and isinstance(error, CallTooLarge):  # those of one of them are too large
                await self._emit(voices[:middle], emissions[:middle])
                await self._emit(voices[middle:], emissions[middle:])
                return
            jobs = counted(len(voices), "job")
            logger.warning("events of %s were refused and are lost: %s", jobs, error)
            for voice in voices:
                voice.fail(error)
            return
        for place in refused:
            voices[place].silence(self._worker)
        for voice in voices:
            voice.sent()


class JobEventSender:
    """Sends the events of one delivery, in order. Belongs to the loop, except for `emit_soon`.

    Its attributes are the delivery, the limits, the events that are not sent yet with their sizes,
    and how far the end has come.
    """

    __slots__ = (
        "_delivery", "_is_due", "_is_ending", "_is_silenced", "_keep_ms", "_kept", "_kept_bytes",
        "_last", "_loop", "_sending", "_sent", "_task", "_thread", "_unsent", "_unsent_bytes",
        "error", "has_events",
    )  # fmt: skip

    def __init__(
        self,
        sending: "GroupCommit[JobEventSender]",
        loop: asyncio.AbstractEventLoop,
        delivery: "Delivery",
        task: str,
        keep_ms: int,
    ) -> None:
        self.has_events = False
        self.error: BrokerError | None = None  #: why events are lost
        self._sending = sending
        self._loop = loop
        self._thread = threading.get_ident()
        self._delivery = delivery
        self._task = task
        self._keep_ms = keep_ms
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._last = 0  # number of the last event that was handed over
        self._kept: deque[tuple[int, int]] = deque()  # entries, as (their last event, bytes)
        self._kept_bytes = 0
        self._is_due = False  # it waits for the next batch, or is in the present one
        self._is_ending = False
        self._is_silenced = False  # the job belongs to another worker by now
        self._sent: asyncio.Future[None] | None = None  # done when the present batch is

    @property
    def unsent_bytes(self) -> int:
        """How many bytes of events wait to be sent."""
        return self._unsent_bytes

    @property
    def is_full(self) -> bool:
        """Whether to wait before saying more."""
        return len(self._unsent) >= MOST_UNSENT or self._unsent_bytes >= MOST_UNSENT_BYTES

    def emit(self, event: bytes) -> None:
        """Take an event along with the next batch."""
        if self._is_silenced:
            return
        self.has_events = True
        self._unsent.append(event)
        self._unsent_bytes += len(event)
        if not self._is_due:
            self._depart()

    def emit_soon(self, report: bytes) -> None:
        """Say a report, from any thread. If the sender is full, it replaces the one before."""
        if threading.get_ident() == self._thread:
            self._say_latest(report)
        else:
            with suppress(RuntimeError):  # the loop has ended before the thread
                self._loop.call_soon_threadsafe(self._say_latest, report)

    def _say_latest(self, report: bytes) -> None:
        if self.is_full and self._unsent[-1].startswith(b"{"):
            self._unsent_bytes += len(report) - len(self._unsent[-1])
            self._unsent[-1] = report
        else:
            self.emit(report)

    async def stream(
        self,
        chunks: "AsyncGenerator[object, None]",
        write: "Callable[[object], bytes]",
        max_payload: int,
    ) -> None:
        """Say all that *chunks* yields, and close it in any case.

        Args:
            chunks: The chunks that the task yields.
            write: Encodes a chunk as JSON.
            max_payload: The most bytes that a chunk may have.

        Raises:
            PayloadError: A chunk cannot be encoded, or is too large.
            BrokerError: Redis has refused some chunks, so the rest is of no use.
        """
        async with aclosing(chunks):
            async for value in chunks:
                chunk = write(value)
                if len(chunk) > max_payload:
                    raise PayloadError(
                        f"task {self._task!r}: a chunk of {len(chunk):,} bytes is over the limit "
                        f"of {max_payload:,}: yield smaller ones, or raise Queue(max_payload=)"
                    )
                self.emit(encode_chunk(chunk))
                if self.is_full:
                    await self.wait_room()
                if self.error is not None:
                    raise self.error
        await self._wait_idle()
        if self.error is not None:
            raise self.error

    async def wait_room(self) -> None:
        """Wait until it is not full. Cancelling is safe: no event is lost."""
        while self.is_full:
            await self._wait_sent()

    async def aclose(self) -> None:
        """Say that nothing follows, and wait until Redis has all, or has refused it.

        Cancelling is safe.
        """
        self._is_ending = True
        if not self._is_due and not self._is_silenced:
            self._depart()
        await self._wait_idle()

    def seal(self) -> Emission:
        """Hand over all events that are unsent."""
        unsent, size = self._unsent, self._unsent_bytes
        self._unsent, self._unsent_bytes = [], 0
        if unsent:
            self._last += len(unsent)
            self._keep(size)
        floor = self._kept[0][0] if self._kept else 0
        keep_ms = KEEP_RUNNING_MS
        if self._is_ending:
            keep_ms, self._is_ending = self._keep_ms + KEEP_LONGER_MS, False
        events = b"[%b]" % b",".join(unsent) if unsent else b""
        return Emission(self._delivery, self._last, floor, keep_ms, self._task, events)

    def sent(self) -> None:
        """Note that the sealed events have arrived."""
        self._is_due = False
        if (self._unsent or self._is_ending) and not self._is_silenced:
            self._depart()
        if self._sent is not None:
            self._sent.set_result(None)
            self._sent = None

    def fail(self, error: BrokerError) -> None:
        """Note that the sealed events are lost."""
        self.error = error
        self.sent()

    def silence(self, worker: str) -> None:
        """Say nothing more: the job belongs to another worker than *worker* by now."""
        self.error = BrokerError("this worker has lost the job, whose chunks are refused now")
        self._is_silenced = True
        self._unsent.clear()
        self._unsent_bytes = 0
        log_fields = {
            "task": self._task,
            "job_id": self._delivery.job_id,
            "attempt": self._delivery.attempt,
            "worker": worker,
        }
        logger.warning(
            "events of a job were refused: this worker has lost the job", extra=log_fields
        )

    def _depart(self) -> None:
        self._is_due = True
        self._sending.add(self)

    def _keep(self, size: int) -> None:
        self._kept.append((self._last, size))
        self._kept_bytes += size
        while len(self._kept) > 1 and (
            self._last - self._kept[0][0] >= KEPT_EVENTS or self._kept_bytes > KEPT_BYTES
        ):
            self._kept_bytes -= self._kept.popleft()[1]

    async def _wait_idle(self) -> None:
        while self._is_due:
            await self._wait_sent()

    async def _wait_sent(self) -> None:
        if self._sent is None:
            self._sent = self._loop.create_future()
        await asyncio.shield(self._sent)
