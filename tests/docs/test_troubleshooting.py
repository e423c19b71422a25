"""The log lines that the page on troubleshooting quotes."""

import ast
import re
from pathlib import Path

import aiostreamq

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "troubleshoot.md"


def texts() -> set[str]:
    """Return all strings in the code of the package but docstrings, those in f-strings in parts."""
    found: set[str] = set()
    for path in Path(aiostreamq.__file__).parent.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and id(node) not in docstrings:
                found.add(str(node.value))
    return found


def test_log_lines_exist() -> None:
    """Each text in the table of log lines is part of a message in the package."""
    table = PAGE.read_text().partition("<!-- log lines: begin -->")[2].partition("<!--")[0]
    cells = re.findall(r"^\| (`.+?`) \|", table, flags=re.MULTILINE)
    quoted = [text for cell in cells for text in re.findall(r"`(.+?)`", cell)]
    assert len(quoted) > 10
    found = texts()
    missing = [text for text in quoted if not any(text in one for one in found)]
    assert not missing
