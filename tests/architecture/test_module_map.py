"""The map of the modules in `docs/explanation/architecture.md`, and the names of the modules."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import aiostreamq

PACKAGE = Path(aiostreamq.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "architecture.md"
MODULES = {
    str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"
}

#: Base names of several modules: one concern in several layers.
SHARED_NAMES = {
    "audit.py": "the audit trail",
    "cancellation.py": "bulk cancel",
    "clock.py": "the clocks of this process, of Redis, and of a test",
    "dashboard.py": "the dashboard, and its command",
    "dead_letters.py": "dead letters",
    "doctor.py": "the diagnosis, and its command",
    "enqueue.py": "the enqueue, and its command",
    "job_events.py": "events of jobs",
    "info.py": "the state of queue, jobs and workers",
    "jobs.py": "the command about jobs, and how they look",
    "logs.py": "the logger of the package, and its set-up by the command line",
    "parking.py": "parked jobs",
    "callbacks.py": "callbacks of jobs",
    "pauses.py": "paused tasks and lanes",
    "protocols.py": "the protocols between the parts of a layer",
    "queue.py": "the queue, for users and in Redis",
    "unique.py": "uniqueness: the rules, and the enqueue of unique jobs",
    "results.py": "outcomes, and waiting for them",
    "schedules.py": "schedules",
    "task.py": "tasks",
    "limits.py": "limits: the rules, the command, and how they look",
    "listener_events.py": "events for listeners",
    "worker.py": "the worker, and the queue that a worker of Django serves",
    "workers.py": "the workers of a queue, in Redis and on the screen",
}


def rows() -> set[str]:
    """Return the modules that have a row on the page."""
    found: set[str] = set()
    folder = None
    for line in PAGE.read_text().splitlines():
        if heading := re.match(r"### `aiostreamq/([\w/]*)`", line):
            folder = heading[1]
        elif folder is not None and (row := re.match(r"\| `(\w+\.py)` \| \S", line)):
            found.add(folder + row[1])
    return found


def row_of(module: str) -> str:
    """Return a row to paste, made of the first line of the docstring."""
    docstring = ast.get_docstring(ast.parse((PACKAGE / module).read_text())) or ""
    return f"| `{Path(module).name}` | {docstring.partition(chr(10))[0].rstrip('.')} |"


def test_every_module_has_a_row_in_the_map() -> None:
    """A module that is missing is printed as a row, under its folder."""
    missing = [f"{Path(module).parent}: {row_of(module)}" for module in sorted(MODULES - rows())]
    assert not missing, "\n".join(missing)


def test_every_row_of_the_map_is_a_module() -> None:
    """A row goes when its module goes."""
    assert rows() <= MODULES


def test_modules_with_one_name_are_one_concern() -> None:
    """A name that stands twice for different things misleads."""
    paths = defaultdict[str, list[str]](list)
    for module in MODULES:
        paths[Path(module).name].append(module)
    shared = {name: sorted(found) for name, found in paths.items() if len(found) > 1}
    assert {name: found for name, found in shared.items() if name not in SHARED_NAMES} == {}
