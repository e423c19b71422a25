"""`aiostreamq dead-letters`: look at the dead letters, replay them, purge them.

Nothing but argparse is imported on top: the parser of every command is made
before it is known which one was meant.
"""

import argparse
import sys
from typing import TYPE_CHECKING, TypeVar, cast

from aiostreamq.cli.arguments import add_value, duration, rate, whole
from aiostreamq.cli.connect import add_json, add_target, ask, queue_of
from aiostreamq.cli.output import print_listing, say
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiostreamq.client.dead_letters import DeadLetterFilters, DeadLetters
    from aiostreamq.queue import Queue

T = TypeVar("T")


def add_dead(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the command to those of `aiostreamq`; *url* is the default of --url."""
    dead = add_parser(
        "dead-letters",
        aliases=["dead"],
        help="look at jobs that failed for good, replay them, purge them",
        description="Look at the dead letters of a queue, replay them, purge them.",
    )
    actions = dead.add_subparsers(dest="action", metavar="ACTION", required=True)
    ls = actions.add_parser("ls", help="list the newest", description="List dead letters.")
    add_target(ls, url)
    _add_filters(ls)
    add_value(ls, "--limit", whole, "how many (default: %(default)s)", default=100)
    add_json(ls, "one object a letter")
    show = actions.add_parser("show", help="show one in full", description="Show a dead letter.")
    add_target(show, url)
    show.add_argument("id", help="of the letter or of its job")
    add_json(show, "one object a letter")
    replay = actions.add_parser(
        "replay", help="let jobs run again", description="Let jobs run again, under their ids."
    )
    add_target(replay, url)
    _add_which(replay)
    replay.add_argument(
        "--edit", action="store_true", help="change the arguments of one job in $EDITOR first"
    )
    add_value(replay, "--rate", rate, "jobs per second at most")
    purge = actions.add_parser(
        "purge", help="throw letters away", description="Throw dead letters away, for good."
    )
    add_target(purge, url)
    _add_which(purge)
    purge.add_argument("--yes", action="store_true", help="do not ask")


def dead(args: argparse.Namespace) -> int:
    """Do what was *args* on the command line; returns the exit code."""
    actions = {"ls": _ls, "show": _show, "replay": _replay, "purge": _purge}
    return actions[args.action](queue_of(args), args)


def _add_which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="id", help="of letters or of their jobs")
    _add_filters(parser)
    parser.add_argument("--all", action="store_true", help="all of them")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", help="only of this task")
    parser.add_argument("--error", help="only with this type of error, as in ValueError")
    add_value(parser, "--older-than", duration, "only if longer ago, as in 7d", metavar="TIME")
    add_value(parser, "--newer-than", duration, "only if less long ago, as in 2h", metavar="TIME")
    parser.add_argument("--before", metavar="ID", help="only if older than this letter")


def _ls(queue: "Queue", args: argparse.Namespace) -> int:
    from aiostreamq.cli.format.dead_letters import HEADS, as_json, as_row

    # One more than asked for, to know whether there are more.
    found = _ask(queue, lambda letters: letters.list(limit=args.limit + 1, **_words(args)))
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
    words = _which(args)
    positional = keywords = None
    if args.edit:
        if len(args.ids) != 1:
            raise UsageError("--edit changes the arguments of one job: give exactly one id")
        from aiostreamq.cli.editor import edit_arguments

        letter = _ask(queue, lambda letters: letters.show(args.ids[0]))
        # The letter itself from here on: its job may die once more while it is edited.
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
            **words,
        ),
    )
    say(f"replayed {replayed} {_jobs(replayed)}")
    return 0


def _purge(queue: "Queue", args: argparse.Namespace) -> int:
    words = _which(args)
    if not args.yes:
        if not sys.stdin.isatty():
            raise UsageError("there is nobody to ask whether to destroy letters: say --yes")
        if not args.ids:
            # What dies while the question stands has not been asked about.
            words = _up_to_now(queue, words)
        count = len(args.ids) or _ask(queue, lambda letters: letters.count(**words))
        if not _is_sure(f"Destroy {count} dead {_letters(count)} of queue {queue.name!r}?"):
            say("nothing was destroyed")
            return 1
    everything = args.all and "before" not in words
    purged = _ask(queue, lambda letters: letters.purge(*args.ids, everything=everything, **words))
    say(f"purged {purged} dead {_letters(purged)}")
    return 0


def _up_to_now(queue: "Queue", words: "DeadLetterFilters") -> "DeadLetterFilters":
    from aiostreamq.model.stream_ids import earlier, id_after

    newest = _ask(queue, lambda letters: letters.list(limit=1))
    end = id_after(newest[0].id) if newest else "0-1"
    before = words.get("before")
    return {**words, "before": earlier(before, end) if before else end}


def _is_sure(question: str) -> bool:
    try:
        answer = input(f"{question} They cannot be brought back. [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in {"y", "yes"}


def _ask(queue: "Queue", question: "Callable[[DeadLetters], Awaitable[T]]") -> T:
    return ask(queue, lambda queue: question(queue.dead_letters))


def _which(args: argparse.Namespace) -> "DeadLetterFilters":
    """The filters, of a command that must be args which letters it is about."""
    words = _words(args)
    if not (args.ids or args.all or words):
        raise UsageError("it is not said which letters are meant: give ids, filters or --all")
    return words


def _words(args: argparse.Namespace) -> "DeadLetterFilters":
    words: dict[str, object] = {
        "task": args.task,
        "error": args.error,
        "older_than": args.older_than,
        "newer_than": args.newer_than,
        "before": args.before,
    }
    return cast("DeadLetterFilters", {k: v for k, v in words.items() if v is not None})


def _jobs(count: int) -> str:
    return "job" if count == 1 else "jobs"


def _letters(count: int) -> str:
    return "letter" if count == 1 else "letters"
