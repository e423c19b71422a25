"""`aiostreamq dead-letters`: list and show dead letters, replay them, purge them."""

import argparse
import sys
from typing import TYPE_CHECKING, TypeVar, cast

from aiostreamq.cli.connect import add_json, add_target, ask, queue_of
from aiostreamq.cli.option_values import add_value, duration, rate, whole
from aiostreamq.cli.output import print_listing, say
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiostreamq.cli.parser import Options
    from aiostreamq.client.dead_letters.dead_letters import DeadLetters
    from aiostreamq.client.dead_letters.selection import DeadLetterFilters
    from aiostreamq.queue import Queue

T = TypeVar("T")


def add_dead(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    dead = add_parser(
        "dead-letters",
        aliases=["dead"],
        help="list, replay and purge jobs that failed for good",
        description="List and show the dead letters of a queue, replay them, purge them.",
    )
    actions = dead.add_subparsers(dest="action", metavar="ACTION", required=True)
    ls = actions.add_parser(
        "ls", help="list the newest", description="List the newest dead letters."
    )
    add_target(ls)
    add_value(
        _add_filters(ls), "--limit", whole, "how many at most (default: %(default)s)", default=100
    )
    add_json(ls, "an object for each letter")
    show = actions.add_parser(
        "show", help="show a letter in full", description="Show a dead letter in full."
    )
    add_target(show, id="the id of the letter or of its job")
    add_json(show, "an object")
    _add_replay(actions.add_parser)
    purge = actions.add_parser(
        "purge", help="delete letters", description="Delete dead letters for good."
    )
    add_target(purge, rest="ids")
    _add_selection(purge)
    purge.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def _add_replay(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    replay = add_parser(
        "replay", help="run jobs again", description="Run jobs again, under their ids."
    )
    add_target(replay, rest="ids")
    _add_selection(replay)
    replay.add_argument(
        "--edit", action="store_true", help="edit the arguments of one job in $EDITOR first"
    )
    add_value(replay, "--rate", rate, "jobs per second at most")
    replay.add_argument(
        "--ignore-keys",
        action="store_true",
        help="replay unique jobs although other jobs hold their keys",
    )


def dead(args: argparse.Namespace) -> int:
    """Run an action of `aiostreamq dead-letters` and return the exit code."""
    actions = {"ls": _ls, "show": _show, "replay": _replay, "purge": _purge}
    return actions[args.action](queue_of(args), args)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="id", help="the id of a letter or of its job")
    which = _add_filters(parser)
    which.add_argument("--all", action="store_true", help="all letters")


def _add_filters(parser: argparse.ArgumentParser) -> "Options":
    which = parser.add_argument_group("which letters")
    which.add_argument("--task", help="only letters of this task")
    which.add_argument("--error", help="only letters with this type of error, such as ValueError")
    add_value(which, "--older-than", duration, "only older letters, as in 7d", metavar="TIME")
    add_value(which, "--newer-than", duration, "only newer letters, as in 2h", metavar="TIME")
    which.add_argument("--before", metavar="ID", help="only letters before this one")
    return which


def _ls(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.cli.format.dead_letters import HEADS, as_json, as_row

    # One more than --limit, to know whether there are more.
    found = _ask(queue, lambda letters: letters.list(limit=args.limit + 1, **_filters(args)))
    print_listing(
        found,
        heads=HEADS,
        as_row=as_row,
        as_json=as_json,
        is_json=args.json,
        none="no dead letters",
        limit=args.limit,
        more=lambda last: f"--before {last.id}",
    )
    return 0


def _show(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.cli.format.dead_letters import as_json, as_page

    letter = _ask(queue, lambda letters: letters.show(args.id))
    say(as_json(letter) if args.json else as_page(letter))
    return 0


def _replay(queue: "Queue", args: argparse.Namespace) -> int:
    filters = _selection(args)
    positional = keywords = None
    if args.edit:
        if len(args.ids) != 1:
            raise UsageError("--edit is for one job: give exactly one id")
        from aiostreamq.cli.editor import edit_arguments

        letter = _ask(queue, lambda letters: letters.show(args.ids[0]))
        # The id of the letter, not of the job, which may die once more during the editing.
        args.ids = [letter.id]
        positional, keywords = edit_arguments(letter)
    replayed = _ask(
        queue,
        lambda letters: letters.replay(
            *args.ids,
            everything=args.all,
            args=positional,
            kwargs=keywords,
            rate=args.rate,
            ignore_keys=args.ignore_keys,
            **filters,
        ),
    )
    say(f"replayed {replayed} {_jobs(replayed)}")
    return 0


def _purge(queue: "Queue", args: argparse.Namespace) -> int:
    filters = _selection(args)
    if not args.yes:
        if not sys.stdin.isatty():
            raise UsageError("purge cannot ask for confirmation without a terminal: give --yes")
        if not args.ids:
            # The question does not include letters that arrive while it is open.
            filters = _up_to_now(queue, filters)
        count = len(args.ids) or _ask(queue, lambda letters: letters.count(**filters))
        if not _is_sure(f"Delete {count} dead {_letters(count)} of queue {queue.name!r}?"):
            say("nothing was deleted")
            return 1
    everything = args.all and "before" not in filters
    purged = _ask(queue, lambda letters: letters.purge(*args.ids, everything=everything, **filters))
    say(f"purged {purged} dead {_letters(purged)}")
    return 0


def _up_to_now(queue: "Queue", filters: "DeadLetterFilters") -> "DeadLetterFilters":
    from aiostreamq.model.stream_ids import earlier, id_after

    newest = _ask(queue, lambda letters: letters.list(limit=1))
    end = id_after(newest[0].id) if newest else "0-1"
    before = filters.get("before")
    return {**filters, "before": earlier(before, end) if before else end}


def _is_sure(question: str) -> bool:
    try:
        answer = input(f"{question} They cannot be restored. [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}


def _ask(queue: "Queue", question: "Callable[[DeadLetters], Awaitable[T]]") -> T:
    return ask(queue, lambda queue: question(queue.dead_letters))


def _selection(args: argparse.Namespace) -> "DeadLetterFilters":
    """Return the filters of a command that needs a selection of letters."""
    filters = _filters(args)
    if not (args.ids or args.all or filters):
        raise UsageError("no letters are selected: give ids, filters or --all")
    return filters


def _filters(args: argparse.Namespace) -> "DeadLetterFilters":
    given: dict[str, object] = {
        "task": args.task,
        "error": args.error,
        "older_than": args.older_than,
        "newer_than": args.newer_than,
        "before": args.before,
    }
    return cast("DeadLetterFilters", {k: v for k, v in given.items() if v is not None})


def _jobs(count: int) -> str:
    return "job" if count == 1 else "jobs"


def _letters(count: int) -> str:
    return "letter" if count == 1 else "letters"
