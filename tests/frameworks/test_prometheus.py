"""`QueueMetrics`: what it counts is what has happened, whatever else happens."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from aiostreamq import Drop, JobError, Queue, Retry, UsageError, Worker, WorkerGroup
from aiostreamq.client.core import core_of
from aiostreamq.contrib.prometheus import QueueMetrics, endpoint, queue_state
from aiostreamq.contrib.prometheus.process_metrics import ProcessMetrics
from aiostreamq.telemetry import (
    ConnectionLost,
    ConnectionRegained,
    JobEnqueued,
    JobHandedBack,
    JobsRecovered,
    LoopBlocked,
    OutcomeRefused,
)
from tests.support.exposition import OPENMETRICS, Exposition
from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from prometheus_client.core import Metric

    from tests.support.redis_server import RedisServer

ACCEPTED = ("", "text/plain", OPENMETRICS)


@pytest.fixture
async def queue(store_url: str) -> AsyncIterator[Queue]:
    """An open queue, on a real Redis and in memory."""
    async with Queue(store_url, name="shop", lanes={"default": 1, "slow": 1}) as queue:
        yield queue


@pytest.fixture(autouse=True)
def always_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the state of a queue with each scrape."""
    monkeypatch.setattr(queue_state, "KEPT", -1.0)


async def scrape(metrics: QueueMetrics, accept: str = OPENMETRICS) -> Exposition:
    """Return what a scrape brings, once listeners have all events."""
    return Exposition(*await metrics.render(accept))


async def counted(metrics: QueueMetrics, name: str, expected: float, **labels: str) -> Exposition:
    """Return a scrape in which a counter has the value that it must reach, and not pass."""
    found: list[Exposition] = []

    async def is_there() -> bool:
        found[:] = [await scrape(metrics)]
        return (found[0].sum(name, **labels) or 0) >= expected

    await wait_until(is_there, f"{name} {labels} to be {expected}")
    assert found[0].sum(name, **labels) == expected
    return found[0]


def declare(queue: Queue) -> None:
    """Declare tasks that end in different ways."""

    @queue.task
    async def double(n: int) -> int:
        return 2 * n

    @queue.task(lane="slow")
    def sleep(n: int) -> int:
        return n

    @queue.task(retry=Retry(3, backoff=[0.001]))
    async def fail() -> None:
        raise ValueError("no tea")

    @queue.task
    async def drop() -> None:
        raise Drop("not needed")

    _ = (double, sleep, fail, drop)


async def run(queue: Queue, counts: dict[str, int]) -> None:
    """Run jobs of the tasks, and wait for their ends."""
    jobs = [
        await queue.enqueue(task, *([n] if task in {"double", "sleep"} else []))
        for task, count in counts.items()
        for n in range(count)
    ]
    ends = await asyncio.gather(*jobs, return_exceptions=True)
    assert all(isinstance(end, int | JobError) for end in ends)


COUNTS = {"double": 30, "sleep": 4, "fail": 3, "drop": 2}
ENDS = {
    ("shop", "done", "double"): 30.0,
    ("shop", "done", "sleep"): 4.0,
    ("shop", "failed", "fail"): 3.0,
    ("shop", "dropped", "drop"): 2.0,
}


@pytest.mark.parametrize("accept", ACCEPTED)
async def test_counts_are_what_ran(queue: Queue, accept: str) -> None:
    """The counts are those of the jobs that were enqueued, ran, were retried and ended."""
    declare(queue)
    metrics = QueueMetrics(queue)
    async with Worker(queue):
        await run(queue, COUNTS)
        total = sum(COUNTS.values())
        await counted(metrics, "aiostreamq_ended_jobs_total", total)
        await counted(metrics, "aiostreamq_queue_ended_jobs_total", total)
        found = await scrape(metrics, accept)
    for name in ("aiostreamq_ended_jobs_total", "aiostreamq_queue_ended_jobs_total"):
        assert {labels: n for labels, n in found.of(name).items() if n} == ENDS
    assert found.of("aiostreamq_enqueued_jobs_total") == {
        ("slow" if task == "sleep" else "default", "shop", task): count
        for task, count in COUNTS.items()
    }
    runs = {"double": 30, "sleep": 4, "fail": 9, "drop": 2}
    for name, expected in (
        ("aiostreamq_started_runs_total", runs),
        ("aiostreamq_run_duration_seconds_count", runs),
        ("aiostreamq_wait_duration_seconds_count", COUNTS),
        ("aiostreamq_queue_run_duration_seconds_count", COUNTS),
        ("aiostreamq_queue_wait_duration_seconds_count", COUNTS),
        ("aiostreamq_retries_total", {"double": 0, "sleep": 0, "fail": 6, "drop": 0}),
    ):
        assert found.of(name) == {("shop", task): n for task, n in expected.items()}, name
    assert found.sum("aiostreamq_deliveries_total", queue="shop") == sum(runs.values())
    assert found.sum("aiostreamq_redeliveries_total", queue="shop") == 0


async def test_state_of_the_queue(queue: Queue) -> None:
    """Jobs are counted by lane and state, before and after their runs."""
    declare(queue)
    metrics = QueueMetrics(queue)
    for _ in range(3):
        await queue.enqueue("double", 1)
    await queue.enqueue("sleep", 1)
    await queue.named("double").using(delay="1h").enqueue(1)
    await queue.pause(task="drop")
    found = await scrape(metrics)
    jobs = found.of("aiostreamq_queue_jobs")
    assert {labels: n for labels, n in jobs.items() if n} == {
        ("default", "shop", "waiting"): 3.0,
        ("slow", "shop", "waiting"): 1.0,
        ("", "shop", "delayed"): 1.0,
    }
    ages = found.of("aiostreamq_queue_oldest_age_seconds")
    assert ages.keys() == {("default", "shop"), ("slow", "shop"), ("returned", "shop")}
    assert 0 <= ages["default", "shop"] < PATIENCE
    assert ages["returned", "shop"] == 0
    assert found.sum("aiostreamq_queue_pauses") == 1
    assert found.sum("aiostreamq_queue_up", queue="shop") == 1
    assert found.sum("aiostreamq_queue_workers") is None
    async with Worker(queue, concurrency=7):
        await run(queue, {"fail": 2})
        found = await counted(metrics, "aiostreamq_queue_ended_jobs_total", 6)
    assert found.sum("aiostreamq_queue_dead_letters") == 2
    assert found.sum("aiostreamq_queue_jobs", state="waiting") == 0
    assert found.sum("aiostreamq_queue_workers") == 1
    assert found.sum("aiostreamq_queue_slots") == 7


@pytest.mark.parametrize("is_group", [False, True])
async def test_slots_of_this_process(store_url: str, is_group: bool) -> None:
    """The running jobs of its workers are shown, and whether they take jobs."""
    async with Queue(store_url, name="shop") as queue, Queue(store_url, name="mail") as other:
        started, gate = asyncio.Event(), asyncio.Event()

        @queue.task
        async def wait() -> None:
            started.set()
            await gate.wait()

        @other.task
        async def send() -> None: ...

        if is_group:
            worker = WorkerGroup([queue, other], concurrency=5)
            metrics = QueueMetrics(queue, other, workers=[worker])
        else:
            worker = Worker(queue, concurrency=5)
            metrics = QueueMetrics(queue, workers=[worker])
        before = await scrape(metrics)
        assert before.sum("aiostreamq_workers_ready", queue="shop") == 0
        async with worker:
            job = await wait.enqueue()
            await started.wait()
            found = await scrape(metrics)
            gate.set()
            await job
            await wait_until(
                lambda: sum(one.running for one in getattr(worker, "workers", [worker])) == 0,
                "the slot to be free",
            )
            after = await scrape(metrics)
    names = ("aiostreamq_slots", "aiostreamq_used_slots", "aiostreamq_workers_ready")
    assert [found.sum(name, queue="shop") for name in names] == [5, 1, 1]
    assert [after.sum(name, queue="shop") for name in names] == [5, 0, 1]
    assert [found.sum(name, queue="mail") for name in names] == (
        [5, 0, 1] if is_group else [None, None, None]
    )


ERROR = ConnectionError("gone")
TROUBLES: dict[str, tuple[list[Any], dict[str, float]]] = {
    "refused": ([OutcomeRefused("shop", "w", "j", 1)], {"refused_outcomes_total": 1}),
    "recovered": (
        [JobsRecovered("shop", "w", "dead", 5, 2)],
        {"dead_workers_total": 1, "recovered_jobs_total": 5, "given_up_jobs_total": 2},
    ),
    "blocked": ([LoopBlocked("shop", "w", 2.0, "b", "s")], {"loop_blocks_total": 1}),
    "handed back": ([JobHandedBack("shop", "w", "double", "j", 1)], {"handed_back_jobs_total": 1}),
    "lost": (
        [ConnectionLost("shop", f"reader:w-{n}", ERROR) for n in range(2)],
        {"lost_connections_total": 2, "connections_down": 2},
    ),
    "regained": (
        [ConnectionLost("shop", "beat", ERROR), ConnectionRegained("shop", "beat", 2.0)],
        {"lost_connections_total": 1, "connections_down": 0},
    ),
    "unknown": ([object()], {}),
}


@pytest.mark.parametrize("case", TROUBLES)
async def test_trouble_is_counted(case: str) -> None:
    """Each kind of event about trouble has its counter."""
    queue = Queue("memory://", name="shop", lanes={"default": 1, "slow": 1})
    declare(queue)
    counts = ProcessMetrics({"shop": queue}, lambda: ())
    events, expected = TROUBLES[case]
    for event in events:
        counts(event)
    registry = CollectorRegistry()
    registry.register(counts)
    found = {
        sample.name.removeprefix("aiostreamq_"): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.value and sample.labels.get("queue")
    }
    assert found == {name: value for name, value in expected.items() if value}


async def test_labels_are_bounded(queue: Queue) -> None:
    """Names that only jobs and connections have do not become labels, however many there are."""
    declare(queue)
    metrics = QueueMetrics(queue)
    for n in range(50):
        await queue.named(f"unknown{n}").using(id=f"id{n}").enqueue()
    core_of(queue).listeners.emit(ConnectionLost("shop", "reader:w-1", ERROR))
    found = await counted(metrics, "aiostreamq_lost_connections_total", 1)
    assert found.sum("aiostreamq_enqueued_jobs_total", task="(other)") == 50
    values = {value for sample in found.samples for value in sample.labels.values()}
    assert not [value for value in values if "unknown" in value or value.startswith("id")]
    assert "reader" in values


async def test_format_is_negotiated(queue: Queue) -> None:
    """Prometheus gets OpenMetrics if it asks for it, and else the text format."""
    metrics = QueueMetrics(queue)
    for accept, expected in (
        ("", "text/plain"),
        (OPENMETRICS, "application/openmetrics-text"),
        ("garbage;q=x,,;", "text/plain"),
    ):
        text, content_type = await metrics.render(accept)
        assert content_type.startswith(expected)
        assert Exposition(text, content_type).names


async def test_names_follow_the_conventions(queue: Queue) -> None:
    """Base units, `_total` for counters alone, a help text, and nothing that is not ours."""
    declare(queue)
    metrics = QueueMetrics(queue, registry=CollectorRegistry())
    async with Worker(queue):
        await run(queue, COUNTS)
        found = await counted(metrics, "aiostreamq_ended_jobs_total", sum(COUNTS.values()))
    for family in found.families:
        assert family.name.startswith("aiostreamq_")
        assert family.documentation.endswith(".")
        assert not family.name.endswith(("_total", "_ms", "_count", "_sum", "_milliseconds"))
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


async def test_own_metrics_beside(queue: Queue) -> None:
    """A registry of the program's own is shown too."""
    registry = CollectorRegistry()
    sold = Counter("sold", "Teas sold.", registry=registry)
    sold.inc(3)
    found = await scrape(QueueMetrics(queue, registry=registry))
    assert found.sum("sold_total") == 3
    assert found.sum("aiostreamq_queue_up") == 1
    with pytest.raises(UsageError, match="make one QueueMetrics"):
        QueueMetrics(queue, registry=registry)


@pytest.mark.parametrize("count", [0, 2])
def test_queues_have_different_names(count: int) -> None:
    """None, or two of one name, is a mistake."""
    queues = [Queue("memory://", name="shop") for _ in range(count)]
    with pytest.raises(UsageError, match="one or more queues"):
        QueueMetrics(*queues)


async def test_many_scrapes_read_once(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many scrapes come, the state of the queue is read once in a while."""
    monkeypatch.setattr(queue_state, "KEPT", 3600.0)
    reads = 0
    info = queue.info

    async def counting_info(**options: Any) -> Any:
        nonlocal reads
        reads += 1
        return await info(**options)

    monkeypatch.setattr(queue, "info", counting_info)
    metrics = QueueMetrics(queue)
    found = await asyncio.gather(*(scrape(metrics) for _ in range(3)))
    found += [await scrape(metrics) for _ in range(3)]
    assert reads == 1
    assert [one.sum("aiostreamq_queue_up") for one in found] == [1] * 6


async def test_cancelled_scrape(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape that goes away does not take the read from another one."""
    entered, gate = asyncio.Event(), asyncio.Event()
    totals = queue.totals

    async def waiting_totals() -> Any:
        entered.set()
        await gate.wait()
        return await totals()

    monkeypatch.setattr(queue, "totals", waiting_totals)
    metrics = QueueMetrics(queue)
    first, second = (asyncio.create_task(scrape(metrics)) for _ in range(2))
    await entered.wait()
    first.cancel()
    await asyncio.wait([first])
    gate.set()
    assert (await second).sum("aiostreamq_queue_up") == 1


@pytest.mark.may_block("the test kills a server")
async def test_redis_is_away(
    own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The metrics of the process are still there, and the queue is down, until Redis is back."""
    monkeypatch.setattr(queue_state, "PATIENCE", 0.1)
    async with Queue(own_redis_server.url, name="shop") as queue:
        metrics = QueueMetrics(queue)
        assert (await scrape(metrics)).sum("aiostreamq_queue_up") == 1
        own_redis_server.kill()
        for _ in range(3):
            found = await scrape(metrics)
            assert found.sum("aiostreamq_queue_up") == 0
            assert found.sum("aiostreamq_queue_jobs") is None
            assert found.sum("aiostreamq_deliveries_total") == 0
        assert caplog.text.count("the state of queue 'shop' could not be read") == 1
        own_redis_server.start()
        monkeypatch.setattr(queue_state, "PATIENCE", PATIENCE)

        async def is_up() -> bool:
            return (await scrape(metrics)).sum("aiostreamq_queue_up") == 1

        await wait_until(is_up, "the queue to be up")


class Faulty(Collector):
    """A collector of the program's own."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self.do = collect

    def collect(self) -> Iterator[Metric]:
        """Do what the test says."""
        return self.do()


def ok() -> Iterator[Metric]:
    """Collect as it should be."""
    yield GaugeMetricFamily("mine", "Mine.", 1)


class Odd(BaseException):
    """Not even an Exception."""


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), Odd()])
async def test_collector_that_raises(queue: Queue, error: BaseException) -> None:
    """It fails its scrape, and neither the worker nor a job."""
    declare(queue)
    registry = CollectorRegistry()
    faulty = Faulty(ok)
    registry.register(faulty)
    metrics = QueueMetrics(queue, registry=registry)

    def broken() -> Iterator[Metric]:
        raise error

    async with Worker(queue) as worker:
        faulty.do = broken
        status, body, _ = await metrics.answer("GET", "")
        assert (status, b"collector failed" in body) == (500, True)
        assert await queue.named("double").enqueue(2)
        await run(queue, {"double": 2})
        assert worker.is_ready
        faulty.do = ok
        assert (await metrics.answer("GET", ""))[0] == 200


async def test_collector_that_hangs(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapes fail in time, and take up a few threads only; jobs run."""
    monkeypatch.setattr(endpoint, "PATIENCE", 0.05)
    declare(queue)
    registry = CollectorRegistry()
    faulty = Faulty(ok)
    registry.register(faulty)
    metrics = QueueMetrics(queue, registry=registry)
    gate, entered = threading.Event(), list[threading.Thread]()

    def hanging() -> Iterator[Metric]:
        entered.append(threading.current_thread())
        gate.wait(PATIENCE)
        return ok()

    faulty.do = hanging
    try:
        async with Worker(queue):
            statuses = [(await metrics.answer("GET", ""))[0] for _ in range(10)]
            assert statuses == [503] * 10
            assert len(entered) <= endpoint.MOST_WRITERS
            await run(queue, {"double": 2})
    finally:
        gate.set()
    for thread in entered:
        await asyncio.to_thread(thread.join, PATIENCE)
    monkeypatch.setattr(endpoint, "PATIENCE", PATIENCE)
    faulty.do = ok
    assert (await metrics.answer("GET", ""))[0] == 200


async def test_asgi(queue: Queue) -> None:
    """It is an application that can be mounted."""
    transport = httpx.ASGITransport(QueueMetrics(queue))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        got = await client.get("/metrics", headers={"accept": OPENMETRICS})
        assert got.status_code == 200
        found = Exposition(got.content, got.headers["content-type"])
        assert found.sum("aiostreamq_queue_up") == 1
        head = await client.head("/metrics")
        assert (head.status_code, head.content) == (200, b"")
        assert (await client.post("/metrics")).status_code == 405


async def test_asgi_is_for_http(queue: Queue) -> None:
    """A websocket is a mistake of the program."""

    async def nothing(*_: Any) -> Any: ...

    with pytest.raises(UsageError, match="websocket"):
        await QueueMetrics(queue)({"type": "websocket"}, nothing, nothing)


async def test_loop_lag_is_measured(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first scrape on, in the loop of the scrapes."""
    monkeypatch.setattr("aiostreamq.contrib.prometheus.loop_lag.INTERVAL", 0.001)
    metrics = QueueMetrics(queue)

    async def is_measured() -> bool:
        return ((await scrape(metrics)).sum("aiostreamq_loop_lag_seconds_count") or 0) > 2

    await wait_until(is_measured, "the lag to be measured")


async def test_several_loops(store_url: str) -> None:
    """One after the other, as in tests, each is measured and reads the state."""
    queue = Queue(store_url if store_url.startswith("redis") else "memory://", name="shop")
    metrics = QueueMetrics(queue)

    async def once() -> float | None:
        async with queue:
            return (await scrape(metrics)).sum("aiostreamq_queue_up")

    for _ in range(2):
        assert await asyncio.to_thread(asyncio.run, once()) == 1


def test_event_of_enqueue_names_no_job() -> None:
    """Ids of jobs are in no label."""
    queue = Queue("memory://", name="shop")
    counts = ProcessMetrics({"shop": queue}, lambda: ())
    counts(JobEnqueued("shop", "x", "secret-id", "default"))
    labels = [s.labels for family in counts.collect() for s in family.samples]
    assert "secret-id" not in str(labels)
