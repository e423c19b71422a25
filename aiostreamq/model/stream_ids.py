"""Ids of stream entries, "<ms>-<number>": their form and their order."""

# The largest number in a stream id.
_LAST = 2**64 - 1


def is_stream_id(text: str) -> bool:
    """Whether *text* has the form of a stream id.

    >>> is_stream_id("1764000000000-0"), is_stream_id("019ab3c4d5eXyz")
    (True, False)
    """
    ms, dash, number = text.partition("-")
    return dash == "-" and all(
        part.isascii() and part.isdigit() and len(part) <= 20 and int(part) <= _LAST
        for part in (ms, number)
    )


def id_before(entry_id: str) -> str:
    """Return the largest id that is smaller.

    >>> id_before("1764000000000-1"), id_before("1764000000000-0")
    ('1764000000000-0', '1763999999999-18446744073709551615')
    """
    ms, number = _place(entry_id)
    if number:
        return f"{ms}-{number - 1}"
    return last_id_of(ms - 1) if ms else entry_id


def id_after(entry_id: str) -> str:
    """Return the smallest id that is larger.

    >>> id_after("1764000000000-0")
    '1764000000000-1'
    """
    ms, number = _place(entry_id)
    return f"{ms}-{number + 1}" if number < _LAST else f"{ms + 1}-0"


def last_id_of(ms: int) -> str:
    """Return the largest id of a millisecond; times before 1970 count as 0."""
    return f"{max(0, ms)}-{_LAST}"


def earlier(one: str, other: str) -> str:
    """Return the smaller of two ids; "+" is larger than all others.

    >>> earlier("10-0", "9-0"), earlier("+", "9-0")
    ('9-0', '9-0')
    """
    return min((entry_id for entry_id in (one, other) if entry_id != "+"), key=_place, default="+")


def later(one: str, other: str) -> str:
    """Return the larger of two ids.

    >>> later("10-0", "9-0")
    '10-0'
    """
    return max(one, other, key=_place)


def _place(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)
