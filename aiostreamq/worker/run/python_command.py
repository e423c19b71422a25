"""How to start Python programs of this package as children of this process."""

import sys
from collections.abc import Sequence

# Flags other than -X and -W, by their names in sys.flags; repeated as often as they count.
_FLAGS = {
    "bytes_warning": "b",
    "dont_write_bytecode": "B",
    "no_site": "S",
    "optimize": "O",
    "verbose": "v",
}
_UNISOLATED = {"ignore_environment": "E", "no_user_site": "s"}


def interpreter() -> list[str]:
    """Return the program and the flags for a child that is interpreted as this process is.

    Modules are not looked for beside the program or in the current directory: a queue.py of
    the user's must not stand in for Python's own.
    """
    flags = {**_FLAGS, **({} if sys.flags.isolated else _UNISOLATED)}
    letters = [f"-{flag * getattr(sys.flags, name)}" for name, flag in flags.items()]
    isolated = ["-I"] if sys.flags.isolated else []
    return [
        sys.executable,
        "-P",
        *isolated,
        *(letter for letter in letters if letter != "-"),
        *(f"-W{warning}" for warning in sys.warnoptions),
        *_x_options(),
    ]


def _x_options() -> Sequence[str]:
    options: dict[str, str | bool] = getattr(sys, "_xoptions", {})
    given = [name if value is True else f"{name}={value}" for name, value in options.items()]
    return [part for option in given for part in ("-X", option)]
