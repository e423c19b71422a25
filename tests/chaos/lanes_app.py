"""Tasks in several lanes: `python -m aiostreamq run tests.chaos.lanes_app:queue`."""

from aiostreamq import Context, Queue
from tests.chaos.app import KEEP, NAME, Run, run_of
from tests.chaos.app import work as work_of_one_lane
from tests.chaos.ledger import noted

queue = Queue(name=NAME, lanes={"default": 2, "bulk": 1, "slow": 1, "later": 1})


@queue.task(result_ttl=KEEP)
async def work(context: Context, seconds: float = 0.0) -> Run:
    """Take a while."""
    return await work_of_one_lane(context, seconds)


@queue.task(result_ttl=KEEP)
async def work_aside(context: Context, seconds: float = 0.0) -> Run:
    """Do the same by a name of its own, to be paused by."""
    return await work_of_one_lane(context, seconds)


@queue.task(result_ttl=KEEP, lane="bulk")
async def work_in_bulk(context: Context, seconds: float = 0.0) -> Run:
    """Do the same in a lane of its own, to be paused by."""
    return await work_of_one_lane(context, seconds)


@queue.task(result_ttl=KEEP, lane="slow")
async def work_slowly(context: Context, seconds: float = 0.0) -> Run:
    """Do the same in another."""
    return await work_of_one_lane(context, seconds)


@queue.task(result_ttl=KEEP, lane="later")
async def work_later(context: Context) -> Run:
    """Be delayed, mostly."""
    with noted(context):
        return run_of(context)
