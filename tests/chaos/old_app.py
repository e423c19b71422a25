"""The release before `new_app`: it lacks `added`, and still has `retired`."""

from aiostreamq import Context, Queue
from tests.chaos.app import KEEP, NAME, Run, run_of
from tests.chaos.app import work as work_of_today
from tests.chaos.ledger import noted

queue = Queue(name=NAME)


@queue.task(result_ttl=KEEP)
async def work(context: Context, seconds: float = 0.0) -> Run:
    """Take a while."""
    return await work_of_today(context, seconds)


@queue.task(result_ttl=KEEP)
async def retired(context: Context) -> Run:
    """Do what the next release can not do any more."""
    with noted(context):
        return run_of(context)
