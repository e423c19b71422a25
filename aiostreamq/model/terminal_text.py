"""Text from jobs, errors and users, made safe for a terminal.

What a terminal would obey or hide is shown as an escape: control characters (ESC, BEL, CR, the
C1 set), marks that turn the direction of text around, spaces without width, and newlines where
one line is meant.
"""

import re

# Everything but the printable part of ASCII.
_NOT_ASCII = re.compile(r"[^\x20-\x7e]")


def visible(text: str) -> str:
    r"""Return *text* as one line that cannot steer a terminal.

    >>> print(visible("red: \x1b[31m"))
    red: \x1b[31m
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def visible_lines(text: str) -> str:
    r"""Return *text* with its lines, of which none can steer a terminal.

    >>> print(visible_lines("one\ntwo\r"))
    one
    two\r
    """
    return "\n".join(map(visible, text.split("\n")))


def ascii_json(written: str) -> str:
    r"""Return JSON as the same JSON in ASCII.

    >>> print(ascii_json('["\u202e"]'))
    ["\u202e"]
    """
    # In JSON these stand in strings only.
    return _NOT_ASCII.sub(_json_escape, written)


def _escaped(character: str) -> str:
    # The backslash too, so that nothing looks like an escape that is none.
    if character.isprintable() and character != "\\":
        return character
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n : n + 2].hex()}" for n in range(0, len(units), 2))
