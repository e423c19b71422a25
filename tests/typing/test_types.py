"""Pyright infers the types of the public API as users rely on them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("file", ["typed_tasks.py", "typed_dependencies.py"])
def test_types(file: str) -> None:
    """The type checker sees what users rely on, and refuses what it must."""
    pytest.importorskip("pyright", reason="comes with the group `lint`")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", f"tests/typing/{file}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    assert report["generalDiagnostics"] == []
