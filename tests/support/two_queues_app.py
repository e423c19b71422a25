"""Two queues of one application, for workers that serve both."""

from pathlib import Path

from aiostreamq import Queue
from tests.support.waiting import wait_until

orders = Queue(name="orders")
mail = Queue(name="mail")


@mail.task
async def send(to: str) -> str:
    """Send a mail."""
    return f"sent to {to}"


@orders.task
async def place(to: str) -> str:
    """Await a job of the other queue."""
    return str(await (await send.enqueue(to)))


@orders.task
async def notify(to: str, times: int) -> None:
    """Enqueue into the other queue, which does the same in turn."""
    if times:
        await notify_back.enqueue(to, times - 1)


@mail.task
async def notify_back(to: str, times: int) -> None:
    """Enqueue into the first queue."""
    if times:
        await notify.enqueue(to, times - 1)


@orders.task
async def wait_for(file: str) -> str:
    """Run until there is a file."""
    await wait_until(lambda: exists(file), "the file")
    return file


async def exists(file: str) -> bool:
    """Say whether there is a file."""
    return Path(file).exists()  # noqa: ASYNC240  # of a moment
