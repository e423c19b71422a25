"""The queue of the scenarios, on the master that sentinels name.

`AIOSTREAMQ_CHAOS_SENTINELS` holds their ports.
"""

import os

from redis.asyncio.sentinel import Sentinel

from aiostreamq import Context, Queue
from tests.chaos import app
from tests.chaos.app import KEEP, NAME, Run
from tests.support.sentinels import SERVICE

#: Names the sentinels to the worker processes.
VARIABLE = "AIOSTREAMQ_CHAOS_SENTINELS"


def sentinel_queue(ports: list[int]) -> Queue:
    """Return a queue on the master of the sentinels that listen on *ports*."""
    sentinels = Sentinel([("127.0.0.1", port) for port in ports])
    return Queue(sentinels.master_for(SERVICE), name=NAME, enqueue_timeout=30)


async def body(context: Context, seconds: float = 0.0) -> Run:
    """Take a while."""
    return await app.work(context, seconds)


queue = sentinel_queue([int(port) for port in os.environ.get(VARIABLE, "").split()])
queue.task(result_ttl=KEEP, name="work")(body)
