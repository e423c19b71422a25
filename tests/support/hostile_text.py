"""Text that steers a terminal, or shows something else than it holds."""

from __future__ import annotations

#: Each begins and ends with a letter, so that nothing is stripped on its way.
HOSTILE_TEXTS = {
    "escape": "a\x1b[31mz",
    "title": "a\x1b]0;owned\x07z",
    "link": "a\x1b]8;;http://x\x1b\\z",
    "device control": "a\x1bP$qm\x1b\\z",
    "clear": "a\x1b[H\x1b[2Jz",
    "bell": "a\x07z",
    "carriage return": "a\rz",
    "backspace": "a\b\b\bz",
    "newline": "a\nz",
    "other newlines": "a\v\f\x1c\x85\u2028\u2029z",
    "control sequence introducer of C1": "a\x9b31mz",
    "operating system command of C1": "a\x9d0;owned\x9cz",
    "override": "a\u202ez",
    "isolate": "a\u2066z\u2069z",
    "marks of direction": "a\u200e\u200f\u061cz",
    "no width": "a\u200b\u200d\ufeff\u2060z",
    "soft hyphen": "a\u00adz",
    "tags": "a\U000e0041z",
    "delete": "a\x7fz",
    "zero": "a\0z",
    "half a pair": "a\ud800z",
}


def steering(text: str) -> list[str]:
    """Return what of *text* is not meant to be seen, but for the ends of lines."""
    return [character for character in text if not character.isprintable() and character != "\n"]
