"""Tools for the tests of applications. Nothing of it is loaded by `import aiostreamq`."""

from aiostreamq.testing.clock import Clock
from aiostreamq.testing.enqueued import EnqueuedJob
from aiostreamq.testing.isolated_queue import IsolatedQueue, isolated
from aiostreamq.testing.performing import ValueChanged
from aiostreamq.testing.private_redis import PrivateRedis, find_server
from aiostreamq.testing.queue_test_case import QueueTestCase
from aiostreamq.testing.run_records import RunOutcome

__all__ = [
    "Clock",
    "EnqueuedJob",
    "IsolatedQueue",
    "PrivateRedis",
    "QueueTestCase",
    "RunOutcome",
    "ValueChanged",
    "find_server",
    "isolated",
]
