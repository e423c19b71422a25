"""Time passes through one module, so that a test can move it."""

from __future__ import annotations

import re
from pathlib import Path

import aiostreamq

PACKAGE = Path(aiostreamq.__file__).parent

#: What looks at a clock of this process by itself.
LOOKS = re.compile(
    r"\btime\.(monotonic|time|perf_counter)(_ns)?\b|\.time\(\)|\b(now|utcnow|today)\((UTC|tz=.*)?\)"
    r"|from time import (?!sleep)"
)


def test_nothing_looks_at_a_clock_by_itself() -> None:
    """Only `aiostreamq.clock` does. Examples in texts are no looks."""
    found = {
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in PACKAGE.rglob("*.py")
        if path.name != "clock.py" or path.parent != PACKAGE
        for line in path.read_text().splitlines()
        if LOOKS.search(line) and not re.search(r"datetime\.now\(UTC\) (or|\+)", line)
    }
    assert not found, "\n".join(sorted(found))
