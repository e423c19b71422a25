"""Text from jobs, errors and users, made safe for a terminal.

Characters that a terminal would execute or hide are shown as escapes: control characters (ESC,
BEL, CR, the C1 set), marks that reverse the direction of text, zero-width spaces, and newlines in
text that must stay on one line.
"""

import re

# Everything except printable ASCII.
_NOT_ASCII = r"[^\x20-\x7e]"


def visible(text: str) -> str:
    r"""Return *text* as one line that cannot control a terminal.

    >>> print(visible("red: \x1b[31m"))
    red: \x1b[31m
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def visible_lines(text: str) -> str:
    r"""Return *text* so that it cannot control a terminal; lines are kept.

    >>> print(visible_lines("one\ntwo\r"))
    one
    two\r
    """
    return "\n".join(map(visible, text.split("\n")))


def ascii_json(written: str) -> str:
    r"""Return equivalent JSON that consists of ASCII only.

    >>> print(ascii_json('["\u202e"]'))
    ["\u202e"]
    """
    # In JSON such characters occur only in strings.
    return re.sub(_NOT_ASCII, _json_escape, written)


def _escaped(character: str) -> str:
    # The backslash too, so that text cannot imitate an escape.
    if character.isprintable() and character != "\\":
        return character
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
