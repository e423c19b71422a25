"""Pyright and mypy infer the types of the public API as users rely on them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


FILES = ("typed_tasks.py", "typed_dependencies.py")


@pytest.mark.parametrize("file", FILES)
def test_pyright(file: str) -> None:
    """Pyright sees what users rely on, and refuses what it must."""
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


def test_mypy() -> None:
    """Mypy refuses the same lines. A comment `mypy:` says where it differs from pyright."""
    pytest.importorskip("mypy", reason="comes with the group `lint`")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *(f"tests/typing/{file}" for file in FILES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    refused = re.findall(r"^tests/typing/(\w+\.py):(\d+): error", done.stdout, re.MULTILINE)
    wrong = {
        (file, str(number))
        for file in FILES
        for number, line in enumerate((ROOT / "tests/typing" / file).read_text().splitlines(), 1)
        if ("pyright: ignore" in line) != ("# mypy: " in line)
    }
    assert set(refused) == wrong, done.stdout + done.stderr
