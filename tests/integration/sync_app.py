"""A program without an event loop of its own: `python -m tests.integration.sync_app URL SCENE`.

It prints a line for each thing that it has done.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress

from aiostreamq import Queue, QueueUnavailable, UsageError

queue = Queue(sys.argv[1])


@queue.task
async def double(n: int) -> int:
    """Calculate."""
    return 2 * n


def show(*parts: object) -> None:
    """Print a line at once."""
    sys.stdout.write(" ".join(map(str, parts)) + "\n")
    sys.stdout.flush()


def use(n: int) -> None:
    """Enqueue, and see that it is there."""
    job = queue.sync.enqueue(double, n)
    show("used", n, job.status())


def fork() -> None:
    """Have children that fork while the queue is in use, and that have children themselves."""
    use(0)
    for n in (1, 2):
        if not os.fork():
            use(n)
            if not os.fork():
                use(10 * n)
                os._exit(0)
            os.wait()
            os._exit(0)
        os.wait()
    use(3)
    child = multiprocessing.get_context("fork").Process(target=use, args=(4,))
    child.start()
    child.join()
    show("child", child.exitcode)
    use(5)


def end_while_enqueuing() -> None:
    """End while other threads enqueue: what they began is enqueued."""
    begun = threading.Semaphore(0)

    def enqueue() -> None:
        # Only those that were accepted are printed.
        with suppress(QueueUnavailable):
            for n in range(10_000):
                begun.release()
                show("accepted", queue.sync.enqueue(double, n).id)

    for _ in range(4):
        threading.Thread(target=enqueue, daemon=True).start()
    for _ in range(40):
        begun.acquire()
    show("end")


def interrupt() -> None:
    """Be interrupted while waiting, and use the queue again."""
    job = queue.sync.enqueue(double, 1)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        job.result()
    except KeyboardInterrupt:
        show("interrupted")
    use(2)


def patched() -> None:
    """Be patched by gevent."""
    importlib.import_module("gevent.monkey").patch_all()
    try:
        use(1)
    except UsageError as error:
        show(error)


if __name__ == "__main__":
    scenes = {
        "fork": fork,
        "end": end_while_enqueuing,
        "interrupt": interrupt,
        "patched": patched,
    }
    scenes[sys.argv[2]]()
