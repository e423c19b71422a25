"""What is printed, and what becomes of it where it cannot be written.

Text may come from jobs, errors and users: whatever it holds, it cannot steer the terminal. A
worker outlives its stderr: a terminal that is gone, a full disk, a collector that has died.
"""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper

from aiostreamq.model.terminal_text import visible_lines
from aiostreamq.store.connection.redaction import without_passwords


def open_missing() -> None:
    """Open the null device for each of the three standard streams that is closed.

    Else the next file or connection would get its number, and what a library or a child
    writes to "stderr" would go there.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = open(fd, "w" if fd else "r", encoding="utf-8", closefd=False)  # noqa: SIM115  # as long as the process
            setattr(sys, name, stream)
    stdout: object = sys.stdout
    if isinstance(stdout, TextIOWrapper):
        # As stderr does: letters that the terminal does not have are no reason to fail.
        stdout.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print *text* to stdout.

    Raises:
        OSError: It cannot be written.
    """
    print(visible_lines(text))


def complain(text: str) -> None:
    """Print *text* to stderr. If that cannot be, nobody is told."""
    with suppress(OSError, ValueError):
        print(visible_lines(without_passwords(text)), file=sys.stderr, flush=True)


def give_up_unwritable() -> None:
    """Drop what could not be written, or Python would end with an exit code of its own for it."""
    for fd, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, fd)
            os.close(null)
        except ValueError:
            pass  # it is closed
