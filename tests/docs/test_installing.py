"""What the tutorials have one install is what their code needs."""

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.docs.page import blocks_of

TUTORIALS = sorted((Path(__file__).parents[2] / "docs" / "tutorial").glob("*.md"))

#: What stands in code that needs an extra.
EXTRAS = {"memory": "memory://", "uvloop": "uvloop", "cli": "--reload"}

#: What is installed with a package that is named.
BROUGHT = {"fastapi": {"anyio", "pydantic"}}

#: Programs of packages that blocks of shell commands run.
PROGRAMS = {"uvicorn"}


def imported(code: str) -> set[str]:
    """Return the packages that some code imports, but for Python's own and the page's."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"aiostreamq", "app"}


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.name)
def test_a_tutorial_installs_what_it_needs(page: Path) -> None:
    """Its line of pip names the extras and the packages of its code: all of them, and no other."""
    blocks = list(blocks_of(page.read_text()))
    code = "\n".join(block.text for block in blocks if block.language == "python")
    shell = "\n".join(block.text for block in blocks if block.language == "bash")
    line = re.search(r"pip install '?aiostreamq(?:\[([\w,]+)\])?'?(.*)", shell)
    assert line is not None
    wanted = {extra for extra, sign in EXTRAS.items() if sign in code + shell}
    assert set((line[1] or "").split(",")) - {""} == wanted
    packages = set(line[2].split())
    needed = imported(code) | {word for word in PROGRAMS if f"\n{word} " in f"\n{shell}"}
    assert needed - set().union(*(BROUGHT.get(one, set()) for one in packages)) == packages
