"""The worker: joins reader, executor and settler, and sees to an orderly end."""

import asyncio
import logging
import os
import secrets
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from aiostreamq.client.producer import Producer
from aiostreamq.errors import BrokerError, UsageError
from aiostreamq.model.delivery import Delivery
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.keys import checked_name
from aiostreamq.worker.executor import Executor
from aiostreamq.worker.reader import Reader
from aiostreamq.worker.settler import Settler
from aiostreamq.worker.threads import Threads

if TYPE_CHECKING:
    from types import TracebackType

    from aiostreamq.store.broker import Broker

logger = logging.getLogger("aiostreamq.worker")

# As many `def` tasks at once as the standard library would give a pool.
THREADS = min(32, (os.cpu_count() or 1) + 4)

SHUTDOWN_TIMEOUT = 25.0


class Worker:
    """Runs the jobs of a queue.

    Embedded in a program that has a loop and signal handling of its own:

        async with Worker(queue, concurrency=100):
            ...

    or as the whole of a program: `await Worker(queue).run()`.
    """

    def __init__(
        self,
        queue: Producer,
        *,
        concurrency: int = 100,
        name: str | None = None,
        threads: int = THREADS,
        shutdown_timeout: Duration = SHUTDOWN_TIMEOUT,
    ) -> None:
        """Describe a worker; nothing connects yet.

        Args:
            queue: Whose jobs to run.
            concurrency: How many jobs run at once.
            name: For people; every start adds something unique to it. The host
                and process id by default.
            threads: How many `def` tasks run at once.
            shutdown_timeout: Seconds that running jobs get to end in when the
                worker stops. What still runs then is cancelled and handed back.

        Raises:
            UsageError: A number or the name cannot be meant.
        """
        if concurrency < 1 or threads < 1:
            raise UsageError("concurrency and threads must be 1 or more, or nothing would ever run")
        self.queue = queue
        self.concurrency = concurrency
        called = checked_name("worker", name or f"{socket.gethostname()}-{os.getpid()}")
        self.name = f"{called}-{secrets.token_hex(4)}"  #: unique to this start
        self._threads = Threads(threads)
        self._shutdown_timeout = seconds("shutdown_timeout", shutdown_timeout)
        self._parts: _Parts | None = None
        self._stop_asked: asyncio.Event | None = None

    async def __aenter__(self) -> Self:
        await self._start(burst=False)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        await self._drain()

    async def run(self, *, burst: bool = False) -> None:
        """Run jobs until `stop` is called; with *burst*, until none is left.

        Raises:
            QueueUnavailable: Redis cannot be reached at the start.
            BrokerError: Redis refuses for good.

        Cancelling drains as `stop` does, then ends.
        """
        parts = await self._start(burst=burst)
        stop_asked = self._stop_asked = asyncio.Event()
        asked = asyncio.create_task(stop_asked.wait())
        try:
            await asyncio.wait({parts.reading, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
            await self._drain()

    def stop(self) -> None:
        """Let `run` drain and return: no new job, the running ones to their end."""
        if self._stop_asked is not None:
            self._stop_asked.set()

    async def _start(self, *, burst: bool) -> "_Parts":
        if self._parts is not None:
            raise UsageError(f"worker {self.name} runs already: make another Worker")
        await self.queue.open()
        self._parts = _Parts(self, self._threads, burst=burst)
        return self._parts

    async def _drain(self) -> None:
        parts, self._parts = self._parts, None
        if parts is not None:
            await parts.drain(self._shutdown_timeout)


class _Parts:
    """A worker while it runs."""

    def __init__(self, worker: Worker, threads: Threads, *, burst: bool) -> None:
        self._broker: Broker = worker.queue.session().broker
        self._name = worker.name
        self._threads = threads
        self._settler = Settler(self._broker)
        self._refused = set[asyncio.Task[None]]()
        self._executor = Executor(
            worker.queue,
            worker.name,
            worker.concurrency,
            threads,
            self._settler.settle,
            self._refuse,
        )
        self._reader = Reader(self._broker, worker.name, self._executor, self._holds)
        self.reading = asyncio.create_task(self._reader.run(burst=burst), name="aiostreamq:reader")
        self.reading.add_done_callback(_log_failure)

    async def drain(self, timeout: float) -> None:
        """Stop reading, let running jobs end, hand back the rest."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        await self._reader.stop(self.reading)
        lost = await self._unheld()
        await self._hand_back(lost + self._executor.stop())
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._executor.wait_idle()
        await self._hand_back(await self._executor.cancel_all())
        self._threads.close()
        if self._refused:
            await asyncio.wait(self._refused)
        await self._settler.join()
        with suppress(BrokerError):
            await self._broker.leave(self._name)
        if not self.reading.cancelled() and (error := self.reading.exception()) is not None:
            raise error

    def _holds(self, delivery: Delivery) -> bool:
        return (
            (delivery.stream, delivery.entry) in self._executor.running
            or self._settler.holds(delivery)
            or delivery in self._executor.backlog
        )

    async def _unheld(self) -> list[Delivery]:
        """What Redis has sent that never arrived here."""
        try:
            own = await self._broker.read_all_own(self._name)
        except BrokerError as error:
            logger.warning("could not look for deliveries that never arrived: %s", error)
            return []
        return [delivery for delivery in own if not self._holds(delivery)]

    async def _hand_back(self, deliveries: list[Delivery]) -> None:
        if deliveries:
            count = await self._broker.hand_back(deliveries)
            logger.info("handed %d jobs back", count)

    def _refuse(self, delivery: Delivery, reason: str) -> None:
        logger.error("a stream entry is no job: %s", reason, extra={"job_id": delivery.job_id})
        burying = asyncio.ensure_future(self._bury(delivery, reason))
        self._refused.add(burying)
        burying.add_done_callback(self._refused.discard)

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        await self._broker.bury([(delivery.stream, delivery.entry)], reason)


def _log_failure(reading: "asyncio.Task[None]") -> None:
    if not reading.cancelled() and (error := reading.exception()) is not None:
        logger.critical("the worker has stopped reading: %s", error, exc_info=error)
