"""The figures of the documentation are those of the last long runs."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.chaos.tables import HERE, ORDER, PAGE, RESULTS, filled, load

#: Take the name of a scenario first.
REPORTS = ("ending.report", "Line")


def test_page_shows_the_results() -> None:
    """The table in the page is what `python -m tests.chaos.tables` writes there."""
    lines = load(RESULTS)
    assert lines
    assert PAGE.read_text() == filled(PAGE.read_text(), lines)


def test_results_are_of_the_long_form() -> None:
    """No figure in the page comes from a run that was made for being quick."""
    assert {line.form for line in load(RESULTS)} == {"long"}


def test_page_names_all_scenarios() -> None:
    """Each file with a scenario is told of where the page says how to run it, and no other is."""
    told = set(re.findall(r"\| `(test_\w+\.py)` \|$", PAGE.read_text(), flags=re.MULTILINE))
    assert told == {path.name for path in HERE.glob("test_*.py")} - {"test_tables.py"}


def test_order_has_all_scenarios() -> None:
    """The table has a place for each line that a scenario reports, and for no other."""
    names = {name for path in HERE.glob("test_*.py") for name in names_in(path)}
    assert names == set(ORDER)
    assert len(ORDER) == len(names), "a scenario has two places"


def names_in(path: Path) -> Iterator[str]:
    """Give the names of the lines that a file reports.

    They are written there, or are a constant of the file, or values of a table there.
    """
    module = import_module(f"tests.chaos.{path.stem}")
    for call in ast.walk(ast.parse(path.read_text())):
        if not isinstance(call, ast.Call) or ast.unparse(call.func) not in REPORTS:
            continue
        named = [one.value for one in call.keywords if one.arg == "name"]
        match [*call.args, *named][0]:
            case ast.Constant(value=str(name)):
                yield name
            case ast.Name(id=constant):
                yield getattr(module, constant)
            case ast.Subscript(value=ast.Name(id=table)):
                yield from getattr(module, table).values()
            case other:
                pytest.fail(f"{path.name}:{other.lineno} gives no name that can be read here")
