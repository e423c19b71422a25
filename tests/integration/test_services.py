"""A service of a worker meets what nobody expected."""

from collections.abc import AsyncIterator

import pytest

from aiostreamq import Queue, Retry, Worker
from aiostreamq.aio import supervision
from aiostreamq.store.cancellation import Cancellation
from aiostreamq.store.control_stream import ControlStream
from aiostreamq.store.delayed import DelayedJobs
from aiostreamq.store.deliveries import Deliveries
from aiostreamq.store.parking import ParkedJobs
from aiostreamq.store.pauses import PauseStore
from aiostreamq.store.schedules import ScheduleStore
from aiostreamq.store.workers import WorkerRegistry
from aiostreamq.worker import refused_batches
from aiostreamq.worker.leases import heartbeat
from tests.support.waiting import PATIENCE, wait_until

#: How often it happens.
FAILURES = 2


class Mishaps:
    """Has the method of a class raise some times."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, of: type, method: str, passes: int = 0
    ) -> None:
        self.calls = 0
        usual = getattr(of, method)

        def called(*args: object, **options: object) -> object:
            self.calls += 1
            if passes < self.calls <= passes + FAILURES:
                raise RuntimeError(f"mishap {self.calls}")
            return usual(*args, **options)

        self._enough = passes + FAILURES
        monkeypatch.setattr(of, method, called)

    @property
    def is_over(self) -> bool:
        """Whether it has been called again."""
        return self.calls > self._enough


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests do not wait."""
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(refused_batches, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(heartbeat, "CHECK_INTERVAL", 0.01)


@pytest.fixture
async def queue(store_url: str) -> AsyncIterator[Queue]:
    """An open queue."""
    async with Queue(store_url) as queue:
        yield queue


@pytest.mark.parametrize(
    ("of", "method", "passes"),
    [
        pytest.param(WorkerRegistry, "find_dead", 0, id="reaper"),
        pytest.param(ControlStream, "listen", 0, id="control"),
        pytest.param(DelayedJobs, "promote", 0, id="promoter"),
        pytest.param(Cancellation, "cancelled_among", 0, id="canceller"),
        pytest.param(PauseStore, "paused", 1, id="pauses"),  # once while it starts
        pytest.param(ParkedJobs, "are_any_set_aside", 0, id="parking"),
        pytest.param(ScheduleStore, "due", 0, id="ticker"),
        pytest.param(heartbeat.BlockReporter, "check", 0, id="guard"),
    ],
)
async def test_failed_service_starts_again(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, of: type, method: str, passes: int
) -> None:
    """It continues, and so does the worker."""

    @queue.task
    async def same(value: int) -> int:
        return value

    mishaps = Mishaps(monkeypatch, of, method, passes)
    async with Worker(queue):
        await wait_until(lambda: mishaps.is_over, "the service to begin again")
        assert await (await same.enqueue(1)).result(timeout=PATIENCE) == 1


@pytest.mark.parametrize(("of", "method"), [(Deliveries, "settle"), (DelayedJobs, "retry")])
async def test_settling(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, of: type, method: str
) -> None:
    """What could not be told is told again, and no job stays with the worker for ever."""
    attempts: list[int] = []

    @queue.task(retry=Retry(2, base=0))
    async def fail_once() -> int:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("no")
        return len(attempts)

    mishaps = Mishaps(monkeypatch, of, method)
    async with Worker(queue):
        assert await (await fail_once.enqueue()).result(timeout=PATIENCE) == 2
    assert mishaps.is_over
