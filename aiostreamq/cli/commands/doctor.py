"""`aiostreamq doctor`: what is wrong with a queue or its Redis, with the fix."""

import argparse
import sys
from typing import TYPE_CHECKING

from aiostreamq.cli.connect import add_json, add_target, ask, queue_of
from aiostreamq.cli.output import print_json
from aiostreamq.model.terminal_text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNS = {"ok": "ok  ", "warning": "warn", "problem": "FAIL", "unknown": "?   "}


def add_doctor(add_parser: "Callable[..., argparse.ArgumentParser]", url: str | None) -> None:
    """Add the command to those of `aiostreamq`; *url* is the default of --url."""
    doctor = add_parser(
        "doctor",
        help="find out what is wrong",
        description="Look a queue and its Redis over, and say what to do about what is wrong. "
        "Looks at all keys in small steps (SCAN), up to about a million. The exit code is 1 if "
        "something is wrong that costs jobs. What Redis does not show is unknown, and does "
        "not change it.",
    )
    add_target(doctor, url)
    add_json(doctor, "one object a finding")


def doctor(args: argparse.Namespace) -> int:
    """Do what was *args* on the command line; returns the exit code."""
    from aiostreamq.client.doctor import PROBLEM, UNKNOWN, diagnose

    findings = ask(queue_of(args), diagnose)
    for finding in findings:
        if args.json:
            print_json(finding)
            continue
        print(f"{_SIGNS[finding.level]}  {finding.subject:<12} {visible(finding.text)}")
        if finding.fix:
            print(f"{'':<19}-> {visible(finding.fix)}")
    unknown = [finding.subject for finding in findings if finding.level == UNKNOWN]
    if unknown:
        told_of = f"of {len(findings)} subjects, unknown: {', '.join(unknown)}"
        print(told_of, file=sys.stderr)
    return int(any(finding.level == PROBLEM for finding in findings))
