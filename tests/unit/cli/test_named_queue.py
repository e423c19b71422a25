"""A command line names a queue in code, or one in Redis by its name; never both."""

from __future__ import annotations

import argparse
import shlex

import pytest

from aiostreamq import UsageError
from aiostreamq.cli.commands.completion import nodes_of
from aiostreamq.cli.examples import EXAMPLES
from aiostreamq.cli.main import build_parser
from aiostreamq.cli.named_queue import settle_target


def parsed(line: str) -> argparse.Namespace:
    """Parse a command line without the name of the program."""
    args = build_parser().parse_args(shlex.split(line))
    settle_target(args)
    return args


# The line, then the target, the name and what else is left of the arguments.
LINES: list[tuple[str, str | None, str | None, dict[str, object]]] = [
    ("info", None, None, {}),
    ("info app:queue", "app:queue", None, {}),
    ("info app", "app", None, {}),  # refused when the queue is loaded
    ("info --queue mail", None, "mail", {}),
    ("jobs show J", None, None, {"id": "J"}),
    ("jobs show app:queue J", "app:queue", None, {"id": "J"}),
    ("jobs show app:queue --json J", "app:queue", None, {"id": "J"}),
    ("jobs show --queue mail order:seven", None, "mail", {"id": "order:seven"}),
    ("jobs show order:7", None, None, {"id": "order:7"}),
    ("jobs cancel", None, None, {"ids": []}),
    ("jobs cancel app:queue --all", "app:queue", None, {"ids": []}),
    ("jobs cancel app:queue --json J K", "app:queue", None, {"ids": ["J", "K"]}),
    ("jobs cancel J --json K", None, None, {"ids": ["J", "K"]}),
    ("jobs cancel J K --queue mail", None, "mail", {"ids": ["J", "K"]}),
    ("jobs cancel app.py:queue J", "app.py:queue", None, {"ids": ["J"]}),
    ("dead replay 1-0 --queue mail", None, "mail", {"ids": ["1-0"]}),
    ("dead purge app:queue 1-0", "app:queue", None, {"ids": ["1-0"]}),
    ("schedules explain", None, None, {"name": None}),
    ("schedules explain nightly", None, None, {"name": "nightly"}),
    ("schedules explain app:queue", "app:queue", None, {"name": None}),
    ("schedules explain app:queue nightly", "app:queue", None, {"name": "nightly"}),
    ("schedules create n t --every 1s", None, None, {"name": "n", "task": "t"}),
    ("schedules create app:queue n t", "app:queue", None, {"name": "n", "task": "t"}),
    ("enqueue send", None, None, {"task": "send"}),
    ("enqueue app:queue send", "app:queue", None, {"task": "send"}),
]


@pytest.mark.parametrize(("line", "target", "name", "rest"), LINES)
def test_arguments(
    line: str, target: str | None, name: str | None, rest: dict[str, object]
) -> None:
    """A first argument of the form module:name is a queue in code, unless --queue is given."""
    args = vars(parsed(line))
    assert (args["target"], args["queue"]) == (target, name)
    assert {key: args[key] for key in rest} == rest


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("info app:queue --queue mail", "named twice, by 'app:queue' and by --queue mail"),
        ("jobs show app:queue J --queue mail", "named twice"),
        ("schedules explain app:queue nightly --queue mail", "named twice"),
        ("info app:queue --lanes a", "--lanes is for --queue"),
        ("jobs show app:queue", "the id is missing after the queue 'app:queue'"),
        ("schedules rm app:queue", "the name is missing"),
        ("enqueue app:queue", "the task is missing"),
        ("run --queue mail", "run has no --queue: .* as in `aiostreamq run app:queue`"),
        ("run --queue", "`aiostreamq run app:queue`"),
        ("run --queue=shop.work:mail", "`aiostreamq run shop.work:mail`"),
        ("run app:queue --workers 2 --queue mail", "run has no --queue"),
    ],
)
def test_mistakes(line: str, error: str) -> None:
    """Two queues, and a queue in the place of another argument, are refused."""
    with pytest.raises(UsageError, match=error):
        parsed(line)


def test_variable_is_only_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue in code wins over AIOSTREAMQ_QUEUE, and --queue over both."""
    monkeypatch.setenv("AIOSTREAMQ_QUEUE", "mail")
    assert parsed("info app:queue").target == "app:queue"
    assert parsed("info").queue == "mail"
    assert parsed("info --queue other").queue == "other"


@pytest.mark.parametrize("command", sorted(EXAMPLES))
def test_examples(command: str) -> None:
    """Each example of --help is a valid command line of its command or one below it."""
    for line in EXAMPLES[command]:
        if line.startswith("aiostreamq"):
            typed = line.partition(" > ")[0].removeprefix("aiostreamq ")
            assert typed.startswith(command)
            args = build_parser().parse_args(shlex.split(typed))
            if "target" in args and args.command != "run":
                settle_target(args)


def test_every_command_has_examples() -> None:
    """The help of each command ends with examples; the first one also has the exit codes."""
    paths = {one.path.strip() for one in nodes_of(build_parser())}
    commands = {path.replace("dead ", "dead-letters ") for path in paths}
    assert commands - {"dead"} == set(EXAMPLES)
    assert "exit codes:" in build_parser().format_help()
