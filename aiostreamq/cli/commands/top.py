"""`aiostreamq top`: a live view of a queue in the terminal."""

import argparse
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from aiostreamq.cli.connect import add_target, ask, queue_of
from aiostreamq.cli.option_values import add_value, duration
from aiostreamq.cli.output import print_table, say
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.queue import Queue

# Seconds between two looks: the default, and the least.
EVERY = "2"
SHORTEST = 0.5


def add_top(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = add_parser(
        "top",
        help="watch a queue live in the terminal, and act on it",
        description="Watch lanes, tasks, running jobs, workers, dead letters and findings. q "
        "quits, tab and the arrows select, p pauses or resumes a task or lane, c cancels a running "
        "job, r replays a dead letter. Without a terminal it prints one look. Needs the extra "
        "'cli'.",
    )
    add_target(parser)
    often = "the time between two looks (default: %(default)s)"
    read_every = partial(duration, least=SHORTEST)
    add_value(parser, "--every", read_every, often, metavar="TIME", default=EVERY)
    parser.add_argument("--read-only", action="store_true", help="let no key change anything")


def top(args: argparse.Namespace) -> int:
    """Run `aiostreamq top` and return the exit code.

    Raises:
        UsageError: There is no such queue, or the extra is missing.
    """
    from importlib.util import find_spec

    is_live = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if is_live and find_spec("rich") is None:
        raise UsageError("top needs the extra: pip install 'aiostreamq[cli]'; or use info --watch")

    async def show(queue: "Queue") -> None:
        if not is_live:
            await _print_once(queue)
            return
        from aiostreamq.cli.top.live_view import LiveView

        await LiveView(queue, every=args.every, is_read_only=args.read_only).run()

    ask(queue_of(args), show)
    return 0


async def _print_once(queue: "Queue") -> None:
    from aiostreamq.cli.top.look import Looker
    from aiostreamq.cli.top.panes import headline, panes_of

    look = await Looker(queue).look()
    say(headline(look))
    for pane in panes_of(look):
        say(f"\n{pane.name}: {len(pane.rows) or 'none'}")
        if pane.rows:
            print_table(pane.heads, [row.cells for row in pane.rows])
