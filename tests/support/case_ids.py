"""Names of cases that are the same in each process: several may share the cases of a test."""

from __future__ import annotations

import re


def short(value: object) -> str:
    """The first 40 characters of what *value* looks like, without its address in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))[:40]
