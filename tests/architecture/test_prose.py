"""The check of the prose finds what `docs/contributing/writing.md` advises against."""

import importlib.machinery
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "contributing" / "writing.md"
_ROW = re.compile(r"^\| (\d+) \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
EXAMPLES = [(int(rule), bad, good) for rule, bad, good in _ROW.findall(PAGE.read_text())]


@pytest.fixture(scope="module", name="prose")
def load_prose() -> ModuleType:
    """The script, as a module."""
    path = ROOT / "scripts" / "check-prose"
    loader = importlib.machinery.SourceFileLoader("check_prose", str(path))
    spec = importlib.util.spec_from_loader("check_prose", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def rules_in(prose: ModuleType, text: str) -> set[int]:
    """Return the numbers of the rules that *text* breaks."""
    return {rule for _, rule, _ in prose.in_text(text)}


@pytest.mark.parametrize(("rule", "bad", "good"), EXAMPLES)
def test_each_example_breaks_its_rule_and_the_better_text_breaks_none(
    prose: ModuleType, rule: int, bad: str, good: str
) -> None:
    """A pattern that no longer finds its own example would let the count fall for nothing."""
    assert rule in rules_in(prose, bad)
    assert rules_in(prose, good) == set()


def test_every_pattern_has_an_example(prose: ModuleType) -> None:
    """The page explains each number that the check prints."""
    assert {rule for rule, _, _ in EXAMPLES} == set(prose.PATTERNS)


def test_right_uses_are_not_counted(prose: ModuleType) -> None:
    """Only the bad uses of common words are patterns."""
    right = (
        "There is no schedule. See where it is. It is no longer kept. Tell them apart. Who is it?"
    )
    assert rules_in(prose, right) == set()


MODULE = '''"""Return the lane.

    Args:
        lane: Of the job.
    """
# One that whoever
# reads it finds.
told = f"{1}: where it " "cannot be " \\
    "meant"
'''


def test_places_are_found_in_all_texts_of_a_module(prose: ModuleType, tmp_path: Path) -> None:
    """Docstrings, comments, names and messages count, each at its line, across line ends."""
    path = tmp_path / "module.py"
    path.write_text(MODULE)
    places = {(line, rule) for _, line, rule, _ in prose.search(path)}
    assert places == {(4, 7), (6, 5), (8, 3), (8, 4), (8, 1)}
