"""Single keys from a terminal, which is put back as it was at the end."""

import asyncio
import os
import re
import termios
import tty
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress

UP, DOWN, NEXT, BACK = "up", "down", "next", "back"

_CODES = {
    UP: ("\x1b[A", "\x1bOA", "k"),
    DOWN: ("\x1b[B", "\x1bOB", "j"),
    NEXT: ("\t", "\x1b[C", "\x1bOC", "l"),
    BACK: ("\x1b[Z", "\x1b[D", "\x1bOD", "h"),
}
_NAMES = {code: name for name, codes in _CODES.items() for code in codes}

# An escape sequence of a key, or one character.
_KEY = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Za-z])|.", re.DOTALL)


def keys_in(typed: str) -> Iterator[str]:
    r"""Give the keys in what was typed: names of those that move, or characters.

    >>> list(keys_in("q\x1b[A\t"))
    ['q', 'up', 'next']
    """
    for found in _KEY.finditer(typed):
        key: str = found[0]
        yield _NAMES.get(key, key)


@contextmanager
def reading_keys(
    fd: int, on_key: Callable[[str], None], on_end: Callable[[], None]
) -> Generator[None]:
    """Call *on_key* with each key of the terminal *fd*, in the running event loop.

    Keys are not shown, and Ctrl-Z does nothing, because the shell would get a screen that is not
    its own. *on_end* is called when the terminal is gone.
    """
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(fd)

    def read() -> None:
        try:
            typed = os.read(fd, 1024)
        except OSError:
            typed = b""
        if not typed:
            loop.remove_reader(fd)
            on_end()
        for key in keys_in(typed.decode(errors="replace")):
            on_key(key)

    tty.setcbreak(fd)
    try:
        quiet = termios.tcgetattr(fd)
        quiet[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(fd, termios.TCSADRAIN, quiet)
        loop.add_reader(fd, read)
        yield
    finally:
        loop.remove_reader(fd)
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
