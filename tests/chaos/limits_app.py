"""Tasks with limits: `python -m aiostreamq run tests.chaos.limits_app:queue`."""

import asyncio

from aiostreamq import Concurrency, Context, Queue, Rate, Retry
from tests.chaos.app import KEEP, NAME, Run, run_of
from tests.chaos.ledger import noted

queue = Queue(name=NAME)

#: How many jobs of a key may run at once, and how many start in a second.
MOST = 2
A_SECOND = 100


@queue.task(result_ttl=KEEP, limits=[Concurrency(MOST, key="key")])
async def work(context: Context, key: int, seconds: float) -> Run:
    """Take a while, with few others of the same key."""
    del key
    with noted(context):
        await asyncio.sleep(seconds)
    return run_of(context)


@queue.task(result_ttl=KEEP, limits=[Rate(f"{A_SECOND}/s", burst=1)])
async def start(context: Context) -> Run:
    """Do nothing, now and then."""
    with noted(context):
        pass
    return run_of(context)


class OnPurposeError(Exception):
    """The end of an attempt that was to fail."""


@queue.task(result_ttl=KEEP, ordered="key", retry=Retry(attempts=20, base=0.05, cap=0.2))
async def book(context: Context, key: int, fails: int) -> Run:
    """Do a bit, after all that came earlier with the same key. Fail some times first."""
    del key
    with noted(context):
        await asyncio.sleep(0.01)
        if context.attempt <= fails:
            raise OnPurposeError
    return run_of(context)
