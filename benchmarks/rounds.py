"""Ask a question of every contestant, round by round, and report the answers.

Rounds, not rows: all contestants run once, then all again. A slow spell of the
machine then falls on everybody's round and not on one contestant's row. Each
round begins with another contestant, so none always follows the same one.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from subprocess import SubprocessError
from typing import NoReturn

from benchmarks import machine
from benchmarks.contestants import ALL, Contestant
from benchmarks.environments import Environments, prepare, versions_of
from benchmarks.processes import ContestantFailed
from benchmarks.report import Metric, Report, Sample, render, render_machine
from benchmarks.server import NotSettled, Server, running_server

#: A contestant that failed this often in a row is not asked again.
PATIENCE = 2


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to find out, and how to measure it once."""

    name: str
    title: str
    jobs: int
    metrics: tuple[Metric, ...]
    #: Measures one contestant once on a flushed server.
    measure: Callable[[Server, Contestant, int], Sample]
    contestants: tuple[Contestant, ...] = ALL
    #: Who can be asked at all: what goes through our own client nobody else answers, ever.
    able: tuple[Contestant, ...] = ALL


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line may change."""

    rounds: int
    only: tuple[str, ...]
    python: str | None
    jobs: int | None
    json: Path | None


def main(question: Question) -> None:
    """Answer one question from the command line."""
    options = parse_options(question.title)
    if not chosen(question, options.only):
        _refuse(f"only {', '.join(one.name for one in question.able)} can answer this")
    report = answer(question, options)
    print(render_machine(report), render(report), sep="\n\n")
    if options.json:
        write(report, options.json)


def parse_options(description: str) -> Options:
    """Return the options every question takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="contestants, separated by commas")
    parser.add_argument("--python", help="the interpreter all of them run on")
    parser.add_argument("--jobs", type=int, help="fewer or more jobs than the question asks for")
    parser.add_argument(
        "--json", type=Path, help="write the figures to this file (all: to files in this folder)"
    )
    arguments = parser.parse_args()
    return Options(
        rounds=arguments.rounds,
        only=tuple(arguments.only.split(",")) if arguments.only else (),
        python=arguments.python,
        jobs=arguments.jobs,
        json=arguments.json,
    )


def answer(question: Question, options: Options) -> Report:
    """Run all rounds of *question* and return what came out."""
    environments = prepare(chosen(question, options.only), options.python)
    with running_server() as server:
        report = _empty_report(question, options, environments, server)
        for number in range(options.rounds):
            for contestant in _rotated(environments.ready, number):
                _ask(question, contestant, server, report)
    return report


def chosen(question: Question, only: Sequence[str]) -> list[Contestant]:
    """Return who is asked: those of *only* who can be, if it names any.

    Raises:
        SystemExit: One of them is no contestant.
    """
    names = [contestant.name for contestant in ALL]
    if unknown := set(only) - set(names):
        _refuse(f"no such contestant: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if not only:
        return list(question.contestants)
    return [contestant for contestant in question.able if contestant.name in only]


def write(report: Report, path: Path) -> None:
    """Write the report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _ask(question: Question, contestant: Contestant, server: Server, report: Report) -> None:
    failures = report["failures"].get(contestant.name, [])
    if len(failures) >= PATIENCE and not report["samples"][contestant.name]:
        return
    _tell(f"{question.name}: {contestant.name} ...")
    server.flush()
    try:
        sample = question.measure(server, contestant, report["jobs"])
    except (ContestantFailed, NotSettled, SubprocessError) as error:
        _tell(f"{question.name}: {error}")
        report["failures"].setdefault(contestant.name, []).append(str(error))
    else:
        report["samples"][contestant.name].append(sample)


def _rotated(contestants: list[Contestant], by: int) -> list[Contestant]:
    start = by % len(contestants) if contestants else 0
    return contestants[start:] + contestants[:start]


def _empty_report(
    question: Question, options: Options, environments: Environments, server: Server
) -> Report:
    return Report(
        question=question.name,
        title=question.title,
        taken=f"{datetime.now(UTC):%Y-%m-%d}",
        jobs=options.jobs or question.jobs,
        rounds=options.rounds,
        machine=machine.describe(environments.interpreter.version, server.version),
        versions={c.name: versions_of(c) for c in environments.ready},
        metrics=list(question.metrics),
        samples={c.name: [] for c in environments.ready},
        failures={},
        left_out=environments.left_out,
    )


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _refuse(reason: str) -> NoReturn:
    raise SystemExit(reason)
