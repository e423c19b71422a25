"""The trees of earlier releases, for tests with workers of two releases."""

import subprocess
from pathlib import Path

from tests.support.warm_start import ROOT


def commit_of(version: str) -> str | None:
    """Return the commit of a release, or None if this is not a checkout with its history."""
    found = subprocess.run(
        ["git", "log", "-1", "--format=%H", "--perl-regexp", f"--grep=^Release {version}$"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None


def unpack(commit: str, to: Path) -> Path:
    """Write the tree of a commit into a directory that does not exist; return the directory."""
    to.mkdir()
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x"], cwd=to, input=archive.stdout, check=True)
    return to
