"""The sizes of modules, classes and functions, and the reasons for exceptions."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import aiostreamq

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = Path(aiostreamq.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

LONGEST_MODULE = 330
SHORTEST_MODULE = 40
LONGEST_FUNCTION = 40  # lines, without its signature and docstring
MOST_METHODS = 20
MOST_ATTRIBUTES = 12

#: "path/in/package.py": why it is shorter. Files named `__init__` and `__main__` may be short.
SHORT_MODULES = {
    "aio/backoff.py": "one class that several layers use",
    "cli/process/reload.py": "the only user of watchfiles, which is optional",
    "cli/process/signal_echo.py": "one rule about signals, tested by itself",
    "contrib/django/worker.py": "sets Django up, which only a worker may have done at import",
    "contrib/structlog.py": "one processor, which no other framework needs",
    "contrib/prometheus/loop_lag.py": "one measurement, which knows nothing of metrics",
    "model/schedules/unreadable.py": "a value that the store returns and the client reads",
    "model/stored.py": "readers of stored values, for several modules of the model",
    "model/worker_state.py": "a value that the worker writes and the command line reads",
    "store/inspect/stream_info.py": "replies of one command, which several modules read",
    "store/limit_rules.py": "what a worker does with rules, beside what an operator does",
    "store/pauses.py": "one concern, named as in the other layers",
    "telemetry.py": "public names, defined in the model",
    "untrusted.py": "the bottom layer: imports nothing",
    "version.py": "one name, which the build reads too",
    "worker/run/run_services.py": "one value, which all parts of the executor get",
    "worker/run/python_command.py": "one rule, for the processes of tasks and of workers",
    "web/forms.py": "one rule, for all that is sent to the dashboard",
    "web/pages/audit_trail.py": "one page of the dashboard",
    "web/pages/workers.py": "one page of the dashboard",
    "worker/listener_events.py": "the worker's half of the events for listeners",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def nodes_of(path: Path) -> list[ast.AST]:
    """Return all nodes of a module."""
    return list(ast.walk(ast.parse(path.read_text())))


def name_in(path: Path, node: ast.ClassDef | Function) -> str:
    """Return the name of a class or function as the lists above have it."""
    return f"{path.relative_to(PACKAGE)}::{node.name}"


def body_lines(function: Function) -> int:
    """Count the lines of a function without its signature and docstring."""
    first = function.body[1 if ast.get_docstring(function) and len(function.body) > 1 else 0]
    assert function.end_lineno is not None
    return function.end_lineno - first.lineno + 1


def methods_of(node: ast.ClassDef) -> set[str]:
    """Return the methods and properties of a class; overloads of one method count once."""
    return {inner.name for inner in node.body if isinstance(inner, Function)}


def attributes_of(node: ast.ClassDef) -> set[str]:
    """Return what the methods of a class assign to `self`."""
    return {
        inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute)
        and isinstance(inner.ctx, ast.Store)
        and isinstance(inner.value, ast.Name)
        and inner.value.id == "self"
    }


def test_no_module_is_long() -> None:
    """A module has 330 lines at most."""
    long = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if len(path.read_text().splitlines()) > LONGEST_MODULE
    }
    assert long == set()


def test_short_modules_have_a_reason() -> None:
    """A module of fewer than 40 lines is on the list, and nothing else is."""
    short = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if len(path.read_text().splitlines()) < SHORTEST_MODULE
        and path.stem not in {"__init__", "__main__"}
    }
    assert short == set(SHORT_MODULES)


def test_no_function_is_long() -> None:
    """A function has 40 lines at most."""
    long = {
        name_in(path, node)
        for path in MODULES
        for node in nodes_of(path)
        if isinstance(node, Function) and body_lines(node) > LONGEST_FUNCTION
    }
    assert long == set()


@pytest.mark.parametrize(
    ("members_of", "most", "reason"),
    [
        pytest.param(methods_of, MOST_METHODS, "methods", id="methods"),
        pytest.param(attributes_of, MOST_ATTRIBUTES, "attribute", id="attributes"),
    ],
)
def test_large_classes_have_a_reason(
    members_of: Callable[[ast.ClassDef], set[str]], most: int, reason: str
) -> None:
    """A class of more than 20 methods or 12 attributes says in its docstring why it has them."""
    large = {
        name_in(path, node)
        for path in MODULES
        for node in nodes_of(path)
        if isinstance(node, ast.ClassDef)
        and len(members_of(node)) > most
        and reason not in (ast.get_docstring(node) or "")
    }
    assert large == set()
