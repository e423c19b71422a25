"""The test case for `unittest`."""

import unittest

import pytest

from aiostreamq import Queue
from aiostreamq.testing.queue_test_case import QueueTestCase

app = Queue("redis://127.0.0.1:1", name="app")


@app.task
async def double(number: int) -> int:
    """Return twice as much."""
    return 2 * number


def case(*, with_queue: bool) -> type[QueueTestCase]:
    """Return a test case, which pytest does not collect."""

    class Case(QueueTestCase):
        async def test_runs(self) -> None:
            await double.enqueue(4)
            assert [run.result() for run in await self.isolated.run_all()] == [8]

        async def test_clock(self) -> None:
            now = self.stop_clock()
            await double.using(delay="1h").enqueue(4)
            await self.isolated.assert_enqueued(double, 4, delay="1h", within=0)
            await now.advance("1h")
            assert len(self.isolated.runs) == 1

    if with_queue:
        Case.queue = app
    return Case


@pytest.mark.parametrize("with_queue", [True, False])
def test_case(*, with_queue: bool) -> None:
    """Each test has the queue to itself; a class without one says what is missing."""
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case(with_queue=with_queue))
    done = unittest.TestResult()
    suite.run(done)
    assert done.testsRun == 2
    assert done.wasSuccessful() is with_queue
    assert all("has no queue" in text for _, text in done.errors)
