"""The parsers of the commands: their errors, their help, and arguments among options."""

import argparse
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from aiostreamq.cli.output import complain

if TYPE_CHECKING:
    #: Takes options: a parser, or a group of options in its help.
    Options: TypeAlias = argparse.ArgumentParser | argparse._ArgumentGroup  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # typeshed has no public name


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors hold no passwords, and whose help shows examples of its command."""

    def __init__(self, *args: Any, **options: Any) -> None:
        width = shutil.get_terminal_size().columns - 2
        if options.get("description"):
            options["description"] = textwrap.fill(options["description"], width)
        # Raw, because an epilog has a line for each example.
        super().__init__(*args, formatter_class=argparse.RawDescriptionHelpFormatter, **options)
        self._has_subcommands = False
        self._is_parsing = False

    def add_subparsers(self, **options: Any) -> Any:
        """Add the parsers of the commands below this one."""
        self._has_subcommands = True
        return super().add_subparsers(**options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # it has overloads
        """Parse, with arguments before, between and after the options.

        By itself argparse would decide about an argument that may be left out as soon as it
        meets an option, although the next argument stands behind that option.
        """
        if self._has_subcommands or self._is_parsing:
            return super().parse_known_args(args, namespace)
        self._is_parsing = True  # the next line calls this method
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_parsing = False

    def format_help(self) -> str:
        """Return the help, with the examples of the command."""
        # Imported here: no command needs them to run.
        from aiostreamq.cli.examples import epilog_of

        if self.epilog is None:
            self.epilog = epilog_of(self.prog)
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Print the usage and *message*, and exit with 2."""
        complain(f"{self.format_usage()}{self.prog}: error: {message}")
        sys.exit(2)
