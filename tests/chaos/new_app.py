"""The release after `old_app`: it lacks `retired`, has `added`, and more to say about `work`."""

from aiostreamq import Context, Queue
from tests.chaos.app import KEEP, NAME, Run, run_of
from tests.chaos.app import work as work_of_today
from tests.chaos.ledger import noted

queue = Queue(name=NAME)


@queue.task(result_ttl=KEEP)
async def work(context: Context, seconds: float = 0.0, colour: str = "none") -> Run:
    """Take a while, in a colour."""
    return await work_of_today(context, seconds)


@queue.task(result_ttl=KEEP)
async def added(context: Context) -> Run:
    """Do what the release before could not do."""
    with noted(context):
        return run_of(context)
