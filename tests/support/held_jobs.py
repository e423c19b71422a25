"""Tasks that wait for a file. Processes import them, so they cannot be inside tests."""

import asyncio
import threading
from pathlib import Path

from aiostreamq import Queue

queue = Queue(name="held")

#: Seconds between two looks for the file.
INTERVAL = 0.01


def wait(place: str, number: int) -> int:
    """Write down that a job runs, and wait for the file "go"."""
    with (Path(place) / "runs").open("a") as runs:
        runs.write(f"{number}\n")
    tick = threading.Event()
    while not (Path(place) / "go").exists():
        tick.wait(INTERVAL)
    return number


@queue.task
async def in_loop(place: str, number: int, payload: str = "") -> int:
    """Wait on the event loop."""
    del payload
    return await asyncio.to_thread(wait, place, number)


@queue.task
def in_thread(place: str, number: int, payload: str = "") -> int:
    """Wait in a thread."""
    del payload
    return wait(place, number)


@queue.task(executor="process")
def in_process(place: str, number: int, payload: str = "") -> int:
    """Wait in a process."""
    del payload
    return wait(place, number)
