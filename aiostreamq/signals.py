"""Signals, where they mean something else than usual: a Ctrl-C in a task, and forked children."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress

# What is called in a child that a task has forked.
_in_children: list[Callable[[], object]] = []


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


def keep_from_children() -> None:
    """From now on, let forked children have the handlers of SIGINT and SIGTERM that are in force.

    What this process sets later is meant for itself: a child that a task forks
    (`multiprocessing`, `os.fork`) is to end by SIGTERM, and not to make its parent drain.
    """
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        # The parent's event loop reads at the other end of that.
        signal.set_wakeup_fd(-1)
        for sign, handler in before.items():
            signal.signal(sign, signal.SIG_DFL if handler is None else handler)

    in_children(restore)


def in_children(call: Callable[[], object]) -> None:
    """Have *call* called in each child that is forked from now on; what it raises is ignored."""
    if not _in_children:
        os.register_at_fork(after_in_child=_after_fork)
    _in_children.append(call)


def _after_fork() -> None:
    for call in _in_children:
        with suppress(Exception):
            call()
