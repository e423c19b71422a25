"""The queue with limits that the tests of the command line look into."""

from aiostreamq import Concurrency, Queue, Rate

queue = Queue(name="limited")


@queue.task(limits=[Concurrency(1, key="tenant"), Rate("1000/m", name="api")])
async def sync(tenant: str, page: int = 0) -> int:
    """Return the page."""
    return page


@queue.task
async def plain() -> None:
    """Do nothing, without limits."""
