"""Keeping a service of a worker running, whatever it meets.

What a service expects of Redis it bears by itself. What nobody expected must not leave a
worker behind that runs jobs and recovers none, say, or fires no schedule any more.
"""

import asyncio
import random
from typing import TYPE_CHECKING

from aiostreamq.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = get_logger("aiostreamq.worker")

# Seconds until a service that has failed begins again: the first time, and at the most.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0


async def keep_running(
    name: str, run: "Callable[[], Awaitable[None]]", missed: "Callable[[], None]"
) -> None:
    """Run a service until cancelled; where it fails it is run again, after a pause.

    Args:
        name: Of the service, for people.
        run: Runs it until cancelled. May be called again when it has failed.
        missed: Called before that: something may have been said unheard.
    """
    loop = asyncio.get_running_loop()
    pause = FIRST_PAUSE
    while True:
        began = loop.time()
        try:
            await run()
        except Exception:
            if loop.time() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE  # it had worked
            rest = pause * (0.5 + random.random())
            logger.critical(
                "the %s of this worker has failed, which is a bug; it begins again in %.1f s",
                name,
                rest,
                exc_info=True,
            )
            await asyncio.sleep(rest)
            pause = min(2 * pause, LONGEST_PAUSE)
            missed()
