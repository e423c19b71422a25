"""The example of the README: a queue, two tasks and a worker in one process, without Redis."""

# ruff: noqa: D103  # short, as the README shows it

import asyncio
from collections import Counter

from aiostreamq import Queue, Worker

queue = Queue("memory://")  # or "redis://localhost:6379"


@queue.task
async def add(a: int, b: int) -> int:
    return a + b


@queue.task(timeout="10s")
def count_words(text: str) -> dict[str, int]:  # a plain def runs in a thread
    return dict(Counter(text.lower().split()))


async def main() -> None:
    async with queue, Worker(queue, concurrency=10):
        job = await count_words.enqueue("to be or not to be")
        print("words:", await job)
        jobs = await queue.enqueue_many(add.bind(n, n) for n in range(5))
        print("sums:", [await job for job in jobs])


asyncio.run(main())
