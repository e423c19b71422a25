"""Orders. It enqueues mails, and does not know in which queue they are sent."""

from dataclasses import dataclass

from aiostreamq import Tasks
from examples.shop import mail

tasks = Tasks()


@dataclass
class Order:
    """An order, as it travels to the worker."""

    customer: str
    items: list[str]


@tasks.task
async def place(order: Order) -> str:
    """Place an order, and confirm it by mail."""
    confirmation = await mail.send.enqueue(order.customer, f"thanks for {len(order.items)} items")
    return await confirmation


@tasks.cron("0 6 * * *", tz="Europe/Madrid")
async def report() -> str:
    """Report the orders of the day before, each morning."""
    job = await mail.send.enqueue("boss@example.com", "all is well")
    return await job
