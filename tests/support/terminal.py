"""A program in a terminal of its own: a pseudo-terminal of a given size."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9])")
_HOME = "\x1b[H"  # where a program that draws the whole screen begins


class Terminal:
    """Runs `python *arguments` in a terminal, types, and reads what it draws.

    Args:
        arguments: The arguments of the interpreter.
        environment: All of its environment variables.
        columns: The width of the terminal.
        lines: Its height.
    """

    def __init__(
        self, *arguments: str, environment: Mapping[str, str], columns: int = 80, lines: int = 24
    ) -> None:
        self._arguments = arguments
        kept = {k: v for k, v in environment.items() if k not in {"COLUMNS", "LINES"}}
        self._environment = kept | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        self._master, self._slave = pty.openpty()
        os.set_blocking(self._master, False)
        self.raw = ""  #: all that it has written
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self._slave)  #: the settings at its start

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, *self._arguments],
            env=self._environment,
            preexec_fn=lambda: os.login_tty(self._slave),  # noqa: PLW1509  # no threads here
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    @property
    def settings(self) -> list[object]:
        """The settings of the terminal now."""
        return [*termios.tcgetattr(self._slave)]

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size; the program gets SIGWINCH."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Press *keys*."""
        os.write(self._master, keys.encode())

    @property
    def screen(self) -> list[str]:
        """The lines of the last whole screen that it has drawn."""
        self._read()
        drawn = self.raw.rpartition("\x1b[?1049l")[0] or self.raw
        return _ESCAPES.sub("", drawn.rpartition(_HOME)[2]).replace("\r", "").split("\n")

    async def shows(self, *parts: str) -> list[str]:
        """Return the screen as soon as it holds all *parts*."""
        screen: list[str] = []

        def look() -> bool:
            screen[:] = self.screen
            return all(part in "\n".join(screen) for part in parts) or self._has_ended

        await wait_until(look, f"{parts} on the screen")
        text = "\n".join(screen)
        assert all(part in text for part in parts), self.raw
        return screen

    async def end(self) -> int:
        """Return the exit code, as soon as it has ended."""

        def has_ended() -> bool:
            self._read()  # a program that fills the terminal could not end
            return self._has_ended

        await wait_until(has_ended, "the program to end")
        self._read()
        return self.process.wait(PATIENCE)

    @property
    def _has_ended(self) -> bool:
        return self.process.poll() is not None

    def _read(self) -> None:
        try:
            while piece := os.read(self._master, 65536):
                self.raw += piece.decode(errors="replace")
        except OSError:
            pass  # there is no more for now
