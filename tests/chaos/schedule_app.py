"""A schedule of one tick a second: `python -m aiostreamq run tests.chaos.schedule_app:queue`."""

from aiostreamq import Queue

#: Workers are started for the other lane only, so that each tick stays where it was put.
TICKS = "ticks"

queue = Queue(name="chaos", lanes=["default", TICKS])


@queue.every("1s")
@queue.task(lane=TICKS)
async def beat() -> None:
    """Never run here."""
