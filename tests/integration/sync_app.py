"""A program without an event loop of its own: `python -m tests.integration.sync_app URL SCENE`.

It prints a line for each thing that it has done.
"""

import importlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib.abc import MetaPathFinder
from types import FrameType
from typing import Any, TypeAlias

from aiostreamq import Queue, QueueUnavailable, UsageError

TraceFunction: TypeAlias = Callable[[FrameType, str, Any], Any]

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


def fork_while_connecting() -> None:
    """Fork while another thread imports what the first connection needs."""
    importing, forking = threading.Event(), threading.Event()

    class Slow(MetaPathFinder):
        """Makes the import last until there is a fork, or has surely been waiting."""

        def find_spec(self, fullname: str, *_: object) -> None:
            if fullname == "redis.asyncio":
                importing.set()
                forking.wait(1)

    sys.meta_path.insert(0, Slow())
    sys.modules.pop("redis.asyncio", None)  # the program may have been started with it
    thread = threading.Thread(target=use, args=(1,))
    thread.start()
    importing.wait()
    child = os.fork()
    forking.set()
    if child == 0:
        signal.alarm(20)
        for _ in range(4):  # the thread of the queue gets another identity than in the parent
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        use(10)
        os._exit(0)
    thread.join()
    show("child", os.waitpid(child, 0)[1])


def reenter() -> None:
    """Use the queue in a signal handler, while its first use starts the thread."""
    start = threading.Thread.start

    def interrupted_start(self: threading.Thread) -> None:
        threading.Thread.start = start
        signal.raise_signal(signal.SIGALRM)
        start(self)

    threading.Thread.start = interrupted_start

    def handle(_signal: int, _frame: FrameType | None) -> None:
        use(1)

    signal.signal(signal.SIGALRM, handle)
    use(2)


def interrupt_anywhere() -> None:
    """Be interrupted at each line that an enqueue runs, one after the other."""
    use(1)
    lines, last = 0, 0

    def count(_frame: FrameType, event: str, _arg: object) -> TraceFunction:
        nonlocal lines
        lines += event == "line"
        if lines == last:
            lines += 1
            raise KeyboardInterrupt
        return count

    while lines >= last:
        lines, last = 0, last + 1
        try:
            sys.settrace(count)
            queue.sync.enqueue(double, 1)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
    assert last > 50, "the lines of the enqueue were not seen"
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
        "interrupt anywhere": interrupt_anywhere,
        "fork while connecting": fork_while_connecting,
        "reenter": reenter,
        "patched": patched,
    }
    scenes[sys.argv[2]]()
