"""Printing, also to outputs that are closed or cannot be written.

Text may come from jobs, errors and users, and must not control the terminal. A worker outlives
its stderr: a terminal that is gone, a full disk, a log collector that has died.
"""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, TypeVar

from aiostreamq.model.terminal_text import ascii_json, visible, visible_lines
from aiostreamq.store.connection.redaction import without_passwords

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiostreamq.model.pauses import Pause

T = TypeVar("T")


def open_missing() -> None:
    """Open the null device for each of the three standard streams that is closed.

    Otherwise the next file or connection would get its number, and a library or child process
    would write its "stderr" there.
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
        # As stderr does, so that letters that the terminal does not have cause no error.
        stdout.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print *text* to stdout.

    Raises:
        OSError: stdout cannot be written.
    """
    print(visible_lines(text))


def complain(text: str) -> None:
    """Print *text* to stderr. Do nothing if that fails."""
    stderr: object = sys.stderr
    if stderr is None:  # print would take stdout in its place
        return
    with suppress(Exception):  # a task may have put anything there
        print(visible_lines(without_passwords(text)), file=sys.stderr, flush=True)


def discard_unwritable() -> None:
    """Discard text that could not be written: Python would exit with a code of its own for it.

    A task or a module of the user may have put anything in the place of the standard streams.
    """
    for fd, name in ((1, "stdout"), (2, "stderr")):
        try:
            if (stream := getattr(sys, name)) is not None:
                stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, fd)
            os.close(null)
        except ValueError:
            pass  # closed
        except Exception:  # noqa: BLE001  # whatever it is, Python would flush it once more
            setattr(sys, name, None)


def print_json(value: object) -> None:
    """Print one line of JSON."""
    print(json_line(value))


def json_line(value: object) -> str:
    """Return one line of JSON, in ASCII."""
    import orjson

    return ascii_json(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=repr).decode())


def print_table(heads: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> None:
    """Print a table: with rich on a terminal if it is installed, otherwise as plain text."""
    rows = [[visible(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and _print_with_rich(heads, rows):
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def print_listing(
    rows: "Sequence[T]",
    *,
    heads: "Sequence[str]",
    as_row: "Callable[[T], Sequence[str]]",
    as_json: "Callable[[T], str]",
    is_json: bool,
    none: str,
    limit: int | None = None,
    more: "Callable[[T], str] | None" = None,
) -> None:
    """Print the rows that a command lists: a line of JSON for each, or a table.

    Args:
        rows: The rows; one more than *limit* if there are more.
        heads: The heads of the table.
        as_row: Returns the cells of one row.
        as_json: Returns one row as a line of JSON.
        is_json: Whether JSON is asked for.
        none: The line on stderr if there are no rows.
        limit: How many to print; None for all.
        more: Takes the last row printed; returns the option that shows more rows.
    """
    shown = rows[:limit]
    if is_json:
        for row in shown:
            say(as_json(row))
    elif shown:
        print_table(heads, [as_row(row) for row in shown])
    if not shown:
        complain(none)
    if more is not None and len(rows) > len(shown):
        complain(f"there are more: {more(shown[-1])}")


def _print_with_rich(heads: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> bool:
    try:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(*heads, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
    return True


def pause_line(pause: "Pause") -> str:
    """Return a line about a pause: the task or lane, and its end."""
    what = f"task {pause.task}" if pause.task else f"lane {pause.lane}"
    until = f"{pause.until:%Y-%m-%d %H:%M:%S} UTC" if pause.until else "it is resumed"
    return visible(f"{what} is paused until {until}")


def ago(seconds: float | None) -> str:
    """Return a duration for people."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
