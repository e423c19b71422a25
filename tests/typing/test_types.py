"""Pyright infers the types of the public API as users rely on them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_typed_tasks() -> None:
    """The type checker sees what users rely on, and refuses what it must."""
    pytest.importorskip("pyright", reason="comes with the group `lint`")
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "tests/typing/typed_tasks.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    assert report["generalDiagnostics"] == []
