"""Signals in a process that runs tasks: who handles a Ctrl-C, and what forked children inherit."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType

Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Functions to call in a child that a task has forked.
_in_children: list[Callable[[], object]] = []


class _Forking(threading.local):
    mask: set[int | signal.Signals]  # the signal mask of the forking thread, before the fork


_forking = _Forking()
_lock = threading.RLock()  # held by the thread that forks, or starts a program


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether *error* may be a Ctrl-C of the user, raised in the code that was running.

    A Ctrl-C raises only in the main thread, and only if Python's default handler is installed.
    `asyncio.run` and the command line install handlers of their own: with those, the code
    itself raised the error, as some libraries with a prompt do.
    """
    return (
        type(error) is KeyboardInterrupt
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def keep_from_children(before: Mapping[signal.Signals, Handler] | None = None) -> None:
    """Give children that are forked from now on the current handlers of SIGINT and SIGTERM.

    Handlers that this process installs later are for itself only: SIGTERM must end a child
    that a task forks (`multiprocessing`, `os.fork`), and not make its parent drain.

    Args:
        before: The handlers to give them in place of the current ones.
    """
    handlers = before or {sign: signal.getsignal(sign) or signal.SIG_DFL for sign in _STOP_SIGNALS}

    def restore() -> None:
        # The parent's event loop reads from the other end of the wakeup descriptor.
        signal.set_wakeup_fd(-1)
        for sign, handler in handlers.items():
            signal.signal(sign, handler)

    in_children(restore)


def in_children(call: Callable[[], object]) -> None:
    """Call *call* in each child that is forked from now on; its exceptions are ignored."""
    _watch_forks()
    _in_children.append(call)


@contextmanager
def no_fork() -> Generator[None]:
    """Keep other threads from forking inside the block, which starts a program.

    Python waits for the end of a pipe to know that the program has started. A child that is
    forked at that moment inherits the pipe: the event loop would block until that child ends.
    """
    _watch_forks()
    with _lock:
        yield


@cache
def _watch_forks() -> None:
    os.register_at_fork(before=_before_fork, after_in_parent=_end_fork, after_in_child=_after_fork)


def _before_fork() -> None:
    _lock.acquire()
    # Without this, a signal that reaches the child at once would run the parent's handlers.
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)


def _after_fork() -> None:
    for call in _in_children:
        with suppress(Exception):
            call()
    _end_fork()


def _end_fork() -> None:
    _lock.release()
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)
