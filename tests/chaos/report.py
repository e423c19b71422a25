"""One line a scenario: what was done, and what became of the jobs.

Each line is printed at the end of the run and, where `AIOSTREAMQ_CHAOS_REPORT` names a directory,
written there as JSON, for `python -m tests.chaos.tables`.
"""

import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from tests.chaos.scale import FORM
from tests.support.redis_server import find_executable

VARIABLE = "AIOSTREAMQ_CHAOS_REPORT"

#: What is shown where there is no figure.
NOTHING = "-"


@cache
def describe_machine() -> str:
    """Return what the figures were taken on."""
    told = subprocess.run(
        [find_executable(), "--version"], capture_output=True, text=True, check=True
    ).stdout
    version = re.search(r"v=(\S+)", told)
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return (
        f"{cores} cores, {platform.system()}, Python {platform.python_version()}, "
        f"Redis {version[1] if version else told.strip()}"
    )


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of one scenario. Report them before anything is asserted about them."""

    name: str  #: of the file with the figures, such as "kills"
    scenario: str  #: for people
    jobs: int  #: accepted by Redis
    faults: str  #: how many of what, such as "60 kill -9"
    lost: int  #: accepted, and without an outcome
    duplicates: int  #: bodies that got to their end after another of the same job had
    recovery: float | None = None  #: seconds from a fault to the last job hit running again
    figures: dict[str, str] = field(default_factory=dict[str, str])  #: the others
    form: str = FORM
    taken: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    machine: str = field(default_factory=describe_machine)

    def __str__(self) -> str:
        told = [f"{self.jobs:,} jobs", self.faults, f"{self.lost} lost"]
        told += [f"{self.duplicates} duplicates", f"slowest recovery {seconds(self.recovery)}"]
        told += [f"{name} {value}" for name, value in self.figures.items()]
        return f"{self.scenario} ({self.form}): {', '.join(told)}"


class Report:
    """Takes the lines of a run."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def add(self, line: Line) -> None:
        """Keep a line, and write it to the directory that was asked for."""
        self.lines.append(line)
        if directory := os.environ.get(VARIABLE):
            path = Path(directory, f"{line.name}.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(line), indent=2) + "\n")


def seconds(value: float | None) -> str:
    """Return a time for people."""
    return NOTHING if value is None else f"{value:.2f} s"
