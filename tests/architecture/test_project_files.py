"""Files of the project that repeat one another: versions, commands and workflows."""

import re
from pathlib import Path

import aiostreamq

ROOT = Path(__file__).parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()

#: Files that name `make` targets.
WITH_COMMANDS = [
    *(ROOT / ".ci" / "run", ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
    *sorted((ROOT / ".github").rglob("*.yml")),
    *sorted((ROOT / ".github").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]


def test_every_supported_python_is_tested() -> None:
    """The workflow runs on each Python that the classifiers name, the oldest one first."""
    classifiers = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT)
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    matrix = re.search(r"^ +python: \[(.+)\]$", workflow, flags=re.MULTILINE)
    assert matrix is not None
    assert re.findall(r"3\.\d+", matrix[1]) == classifiers
    assert f'requires-python = ">={classifiers[0]}"' in PYPROJECT


def test_make_targets_exist() -> None:
    """Each `make` command in a file is a target of the Makefile."""
    commands = re.compile(
        r"(?:`|^\s*(?:- run: |step )?|command: )make ([a-z][a-z-]*)", re.MULTILINE
    )
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    named = {path: set(commands.findall(path.read_text())) for path in WITH_COMMANDS}
    assert {path: names - targets for path, names in named.items() if names - targets} == {}


def test_changelog_has_the_version() -> None:
    """The newest release in the changelog is the version in the metadata."""
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    releases = [heading for heading in headings if heading != "Unreleased"]
    assert releases[0] == aiostreamq.__version__
