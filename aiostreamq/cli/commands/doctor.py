"""`aiostreamq doctor`: problems of a queue or its Redis, each with a fix."""

import argparse
from typing import TYPE_CHECKING

from aiostreamq.cli.connect import add_json, add_target, ask, queue_of
from aiostreamq.cli.output import complain, print_json
from aiostreamq.model.terminal_text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNS = {"ok": "ok  ", "warning": "warn", "problem": "FAIL", "unknown": "?   "}


def add_doctor(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    doctor = add_parser(
        "doctor",
        help="find problems of a queue and its Redis",
        description="Check a queue and its Redis, and print a fix for each problem. Reads all keys "
        "in small steps (SCAN), up to about a million. The exit code is 1 if there is a problem "
        "that may lose jobs. Settings that Redis does not show are unknown, and do not change "
        "the exit code.",
    )
    add_target(doctor)
    add_json(doctor, "an object for each finding")


def doctor(args: argparse.Namespace) -> int:
    """Run `aiostreamq doctor` and return the exit code."""
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
        complain(f"of {len(findings)} subjects, unknown: {', '.join(unknown)}")
    return int(any(finding.level == PROBLEM for finding in findings))
