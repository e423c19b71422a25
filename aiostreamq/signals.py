"""Signals in a process that runs tasks: whose a Ctrl-C is, and what forked children have."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers

_HEEDED = (signal.SIGINT, signal.SIGTERM)

# What is called in a child that a task has forked.
_in_children: list[Callable[[], object]] = []


class _Forking(threading.local):
    mask: set[int | signal.Signals]  # of the thread that forks, as it was before


_forking = _Forking()
_lock = threading.RLock()  # of the thread that forks, or starts a program


def is_ctrl_c(error: BaseException) -> bool:
    """Whether *error* may be a Ctrl-C of the user's, raised in whatever ran at that moment.

    Only where Python's own handler is in force, and in the main thread, does a Ctrl-C raise
    anything. `asyncio.run` and the command line have handlers of their own: there it is the
    code that has raised it, as some libraries with a prompt do.
    """
    return (
        type(error) is KeyboardInterrupt
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def keep_from_children(before: Mapping[signal.Signals, Handler] | None = None) -> None:
    """From now on, let forked children have the handlers of SIGINT and SIGTERM that are in force.

    What this process sets later is meant for itself: a child that a task forks
    (`multiprocessing`, `os.fork`) is to end by SIGTERM, and not to make its parent drain.

    Args:
        before: The handlers that they are to have, if not those in force.
    """
    handlers = before or {sign: signal.getsignal(sign) or signal.SIG_DFL for sign in _HEEDED}

    def restore() -> None:
        # The parent's event loop reads at the other end of that.
        signal.set_wakeup_fd(-1)
        for sign, handler in handlers.items():
            signal.signal(sign, handler)

    in_children(restore)


def in_children(call: Callable[[], object]) -> None:
    """Have *call* called in each child that is forked from now on; what it raises is ignored."""
    _watch_forks()
    _in_children.append(call)


@contextmanager
def no_fork() -> Generator[None]:
    """Let other threads fork only after this, such as a program that is being started.

    Python learns from the end of a pipe that a program has begun. A child that is forked
    meanwhile has that pipe too: until it ends, the event loop would stand still.
    """
    _watch_forks()
    with _lock:
        yield


@cache
def _watch_forks() -> None:
    os.register_at_fork(before=_before_fork, after_in_parent=_end_fork, after_in_child=_after_fork)


def _before_fork() -> None:
    _lock.acquire()
    # A signal that comes to a child at once would be handled there as here.
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)


def _after_fork() -> None:
    for call in _in_children:
        with suppress(Exception):
            call()
    _end_fork()


def _end_fork() -> None:
    _lock.release()
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)
