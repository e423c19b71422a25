"""Telling a Ctrl-C from what only looks like one."""

import signal
import threading


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
