"""`QueueMetrics`: the metrics as text, and as an ASGI application."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from aiostreamq.aio.own_thread import call_in_thread
from aiostreamq.contrib.prometheus.loop_lag import LoopLag
from aiostreamq.contrib.prometheus.process_metrics import ProcessMetrics
from aiostreamq.contrib.prometheus.queue_state import StateReader, families
from aiostreamq.errors import UsageError
from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from prometheus_client.core import Metric

    from aiostreamq.contrib.prometheus.queue_state import QueueState
    from aiostreamq.queue import Queue
    from aiostreamq.worker.group import WorkerGroup
    from aiostreamq.worker.worker import Worker

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

logger = get_logger("aiostreamq.metrics")

# Seconds that writing the text may take: a collector of the program's own may hang.
PATIENCE = 4.0

# Texts that are written at a time. Further scrapes fail, so that a collector that hangs costs a few
# threads.
MOST_WRITERS = 4


class QueueMetrics:
    """The metrics of queues and of the workers of this process, for Prometheus.

    It is an ASGI application: `app.mount("/metrics", QueueMetrics(queue))`. Other frameworks call
    `render`. Make one for each process, once, before workers start: from then on it counts.
    """

    def __init__(
        self,
        *queues: "Queue",
        workers: "Iterable[Worker | WorkerGroup]" = (),
        registry: CollectorRegistry | None = None,
    ) -> None:
        """Begin to count what the queues do in this process.

        Args:
            *queues: The queues. Their state in Redis is read when metrics are asked for, at most
                once in 5 seconds.
            workers: The workers of this process, whose slots are shown.
            registry: Metrics of your own, which are shown too, as `prometheus_client.REGISTRY`.
                By default those of the process, of Python and its garbage collector are.

        Raises:
            UsageError: No queue is given, two have the same name, or *registry* has metrics of
                these names already.
        """
        named = {queue.name: queue for queue in queues}
        if not queues or len(named) < len(queues):
            raise UsageError(
                "QueueMetrics() takes one or more queues of different names: "
                "QueueMetrics(queue), or QueueMetrics(orders, mail)"
            )
        self._workers = tuple(workers)
        self._registry = _own_registry() if registry is None else registry
        self._readers = [StateReader(queue) for queue in queues]
        self._writing = 0
        counts = ProcessMetrics(named, self._all_workers)
        self._lag = LoopLag(counts.loop_lag.observe)
        try:
            self._registry.register(counts)
        except ValueError as error:
            raise UsageError(
                f"QueueMetrics(registry=...): {error}: make one QueueMetrics for all queues"
            ) from error
        for queue in queues:
            queue.on_event(counts)

    async def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics as text, and the content type.

        Args:
            accept: The `Accept` header of the request, which chooses between the text format of
                Prometheus and OpenMetrics.

        Raises:
            TimeoutError: A collector of the registry takes longer than 4 seconds.
            RuntimeError: A collector of the registry failed. Its cause is what that raised.

        If Redis does not answer within 2 seconds, only the metrics of this process are there,
        and `aiostreamq_queue_up` is 0. Cancelling is safe.
        """
        self._lag.measure()
        found = await asyncio.gather(*(reader.read() for reader in self._readers))
        states = [state for state in found if state is not None]
        encode, content_type = choose_encoder(accept)
        if self._writing >= MOST_WRITERS:
            raise TimeoutError("earlier scrapes are still being written")
        names = [reader.queue.name for reader in self._readers]
        joined = _Joined(self._registry, names, states)
        # In a thread: the metrics of 10,000 tasks are megabytes of text.
        async with asyncio.timeout(PATIENCE):
            text = await call_in_thread(partial(self._write, encode, joined), "aiostreamq:metrics")
        return text, content_type

    def _write(self, encode: "Callable[[Collector], bytes]", joined: "_Joined") -> bytes:
        self._writing += 1
        try:
            return encode(joined)
        except BaseException as error:
            raise RuntimeError("a collector failed") from error  # SystemExit ends an event loop
        finally:
            self._writing -= 1

    def _all_workers(self) -> "Iterable[Worker]":
        for one in self._workers:
            yield from getattr(one, "workers", None) or (cast("Worker", one),)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request, as an ASGI application."""
        if scope["type"] != "http":
            raise UsageError(f"QueueMetrics answers HTTP requests, not {scope['type']!r}")
        del receive
        method: str = scope["method"]
        status, text, content_type = await self.answer(method, _accept(scope))
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(text)).encode()),
            (b"cache-control", b"no-store"),
        ]
        body = b"" if method == "HEAD" else text
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def answer(self, method: str, accept: str) -> tuple[int, bytes, str]:
        """Return status, body and content type for a request; never raises for a collector.

        Args:
            method: The method of the request.
            accept: Its `Accept` header.

        Cancelling is safe.
        """
        plain = "text/plain; charset=utf-8"
        if method not in {"GET", "HEAD"}:
            return 405, b"use GET\n", plain
        try:
            return 200, *await self.render(accept)
        except TimeoutError:
            return 503, b"the metrics could not be written in time\n", plain
        except RuntimeError:
            logger.exception("the metrics could not be written")
            return 500, b"a collector failed; the log of this process says why\n", plain


class _Joined(Collector):
    """The metrics of a registry, and then those of queues."""

    def __init__(
        self, registry: CollectorRegistry, names: "list[str]", states: "list[QueueState]"
    ) -> None:
        self._registry = registry
        self._names = names
        self._states = states

    def collect(self) -> "Iterable[Metric]":
        yield from self._registry.collect()
        yield from families(self._names, self._states)


def _own_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


def _accept(scope: "Scope") -> str:
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"]
    return ",".join(values)
