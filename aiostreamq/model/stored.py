"""Reading values that another program may have written: unreadable ones become a default."""

from typing import cast

import orjson


def text(raw: bytes) -> str:
    """Return *raw* decoded; bytes that are not UTF-8 are shown as escapes."""
    return raw.decode("utf-8", "backslashreplace")


def string(value: object) -> str:
    """Return *value* if it is a string, otherwise an empty one."""
    return value if isinstance(value, str) else ""


def number(raw: bytes | None, default: int) -> int:
    """Return the number that *raw* consists of, or *default*.

    >>> number(b"12", 0), number(b" 1_2", 0), number(None, 1)
    (12, 0, 1)
    """
    # int() alone would accept " 1_000" and raise for 5,000 digits. No number that aiostreamq
    # writes has more than 15 digits, and Lua would lose precision beyond that.
    if raw is None or len(raw) > 15 or not raw.isdigit():
        return default
    return int(raw)


def json_object(raw: bytes) -> dict[str, object]:
    """Return the JSON object in *raw*, or an empty one."""
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return cast("dict[str, object]", found) if isinstance(found, dict) else {}
