"""A program that forks while its queue is open: `python -m tests.integration.forking_app URL LOOP`.

It prints a line for each thing that it has done, in the children and in itself.
"""

import asyncio
import gc
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from aiostreamq import Queue, Worker
from aiostreamq.client.core import core_of

queue = Queue(sys.argv[1])
run: Callable[[Coroutine[Any, Any, object]], object]
run = uvloop.run if sys.argv[2] == "uvloop" else asyncio.run


@queue.task
async def same(n: int) -> int:
    """Give back what came."""
    return n


def tell(*words: object) -> None:
    """Print a line at once."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def use(n: int) -> int:
    """Have a job run, in one of the ways that a program may."""
    if n % 2:
        return await (await same.enqueue(n))
    async with queue:
        job = await same.enqueue(n)
        return await job.result()


def be_child(n: int) -> None:
    """Use the queue in a loop of the child's own, and tidy up."""
    gc.collect()
    tell("child", run(use(n)))
    gc.collect()
    run(asyncio.sleep(0))


def fork(n: int) -> int:
    """Start a child that has everything that is open here."""
    pid = os.fork()
    if not pid:
        try:
            be_child(n)
        finally:
            os._exit(0)
    return pid


async def parent() -> None:
    """Have children while a worker runs, and look whether it continues."""
    async with queue, Worker(queue):
        tell("parent", await use(1))
        for n in (2, 3):
            await asyncio.to_thread(os.waitpid, fork(n), 0)
        forked = multiprocessing.get_context("fork").Process(target=be_child, args=(4,))
        forked.start()
        await asyncio.to_thread(forked.join)
        tell("parent", await use(5))
        # As many as there were: none was closed, and none was lost.
        told = str(await core_of(queue).session().store.call("CLIENT", "LIST"))
        for role in ("commands", "inbox"):
            number = told.count(f"name=aiostreamq:{role} ")
            tell(role, number)
        tell("opened", core_of(queue).session().store.connection_count)


def preload() -> None:
    """Use the queue before forking, as a server that loads the application first may."""
    resting = asyncio.new_event_loop()
    resting.run_until_complete(same.enqueue(6))
    if not os.fork():
        run(same.enqueue(7))
        tell("preloaded")
        sys.exit(0)
    os.wait()
    resting.run_until_complete(same.enqueue(8))
    resting.run_until_complete(queue.aclose())
    resting.close()
    tell("end")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run(parent())
    preload()
