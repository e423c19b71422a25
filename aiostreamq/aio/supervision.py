"""Keep the services of a worker running, whatever happens to them.

A service handles the errors that it expects of Redis. An unexpected error must not leave a
worker that runs jobs but recovers none, say, or that fires no schedules.
"""

import asyncio
from typing import TYPE_CHECKING

from aiostreamq import clock
from aiostreamq.aio.backoff import Backoff
from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = get_logger("aiostreamq.worker")

# Seconds until a service that has failed starts again: the first time, and at most.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0


async def keep_running(
    name: str, run: "Callable[[], Awaitable[None]]", missed: "Callable[[], None]"
) -> None:
    """Run a service until cancelled; if it fails, run it again after a pause.

    Args:
        name: Names the service in the log.
        run: Runs the service until cancelled. May be called again after it has failed.
        missed: Called before each new run: messages may have been missed.
    """
    backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
    while True:
        started = clock.monotonic()
        try:
            await run()
        except Exception:
            if clock.monotonic() - started > LONGEST_PAUSE:
                backoff.reset()  # it had worked
            pause = backoff.next()
            logger.critical(
                "the %s of this worker has failed, which is a bug; it starts again in %.1f s",
                name,
                pause,
                exc_info=True,
            )
            await asyncio.sleep(pause)
            missed()
