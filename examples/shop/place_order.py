"""Place an order, and wait for its confirmation.

    python -m examples.shop.place_order ada@example.com tea cake
    python -m examples.shop.place_order --here ada@example.com tea   # with a worker of its own

Without --here, workers must run: see `queues.py`.
"""

import argparse
import asyncio
from contextlib import AsyncExitStack

from aiostreamq import WorkerGroup
from examples.shop import orders
from examples.shop.queues import mail_queue, orders_queue


async def main(customer: str, items: list[str], *, here: bool) -> None:
    """Place an order."""
    async with orders_queue, mail_queue, AsyncExitStack() as stack:
        if here:
            await stack.enter_async_context(WorkerGroup([orders_queue, mail_queue], concurrency=10))
        job = await orders.place.enqueue(orders.Order(customer, items))
        print(await job.result(timeout=30))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("customer")
    parser.add_argument("items", nargs="+")
    parser.add_argument("--here", action="store_true", help="run the jobs here, too")
    args = parser.parse_args()
    asyncio.run(main(args.customer, args.items, here=args.here))
