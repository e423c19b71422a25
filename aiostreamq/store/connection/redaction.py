"""Passwords of URLs: never in a message, and refused if the URL would be misread.

A URL with a password that is not encoded is read as another URL, whose host, path or port is a
part of the password, and libraries quote those. So such a URL is refused first, with what is
wrong about it, and never quoted. `without_passwords` is the second line of defence: for texts
that may quote a URL that was typed in the wrong place.
"""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

_HIDDEN = "***"

# These are compiled at the first use, as few programs need them: that takes a millisecond.

# Up to the last @ of the line: a password that is not encoded may have spaces, slashes, quotes, @.
_WITH_USER = (
    r"(?i)\b((?:rediss?|valkeys?|unix|memory|[a-z0-9+.-]*sentinel[a-z0-9+.-]*):(?=\S)/*)[^\n]*@"
)
_ANY_SCHEME = r"(?i)\b([a-z][a-z0-9+.-]*:/+)[^\s/@]*@"
# Anything more than a host, a port, a database and options may be a password without its @.
_UNREADABLE = (
    r"(?i)\b((?:rediss?|valkeys?):/++)"
    r"(?!(?:[\w.-]+|\[[0-9a-f:.]+\]|\*{3}@\S*)(?::\d+)?(?:/\d*)?(?:\?[^\s'\"]*)?"
    r"(?:[\s'\",;)]|:\s|$))\S+"
)
_OPTION = r"(?i)([?&;][^=&\s]*(?:password|passwd|secret|token)[^=&\s]*=)[^&\s'\"]*"

# Options whose values may hold an @.
_TEXTS = frozenset({"client_name", "lib_name", "password", "username"})

ENCODE = (
    "percent-encode what has a meaning in URLs, in a password as in a user name: # is %23, "
    "/ is %2F, ? is %3F, the at sign is %40, : is %3A, [ is %5B, a space is %20, % is %25"
)
_IF = f"if that is part of a password, {ENCODE}"


def without_passwords(text: str) -> str:
    """Return *text* with the user names and passwords of all URLs in it replaced.

    >>> without_passwords("no module 'redis://:s3cret@cache:6379'")
    "no module 'redis://***@cache:6379'"
    """
    for pattern in (_WITH_USER, _ANY_SCHEME):
        text = re.sub(pattern, rf"\1{_HIDDEN}@", text)
    text = re.sub(_UNREADABLE, rf"\1{_HIDDEN}", text)
    return re.sub(_OPTION, rf"\1{_HIDDEN}", text)


def fault_of(url: str) -> str | None:
    """Return what is wrong with the address in the URL of a Redis, or None.

    Nothing of the URL is quoted: any part of it may be a part of a password.
    """
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return "it does not begin with one of these"
    if any(char <= " " or char == "\x7f" for char in url):
        return f"it has a space or a control character; {_IF}"
    try:
        parts = urlsplit(url)
        host, port, path = parts.hostname, parts.port, unquote(parts.path)
    except ValueError:
        return f"its host or port cannot be read; if that is because of a password, {ENCODE}"
    if "#" in url:
        return f"a # means nothing in it; {_IF}"
    if _has_stray_query(parts.query):
        return f"it has an at sign among its options; {_IF}"
    has_user = "@" in parts.netloc
    if parts.scheme == "unix":
        if path and (has_user or not parts.netloc):
            return None
        return f"what follows unix:// is not the path of a socket; {_IF}"
    if not host or port == 0:
        return "it has no host" if not host else "port 0 is invalid"
    if path not in {"", "/"} and not path[1:].removesuffix("/").isdecimal():
        return f"what follows the host is not the number of a database; {_IF}"
    return None


def _has_stray_query(query: str) -> bool:
    """Return whether the text after the ? is the rest of a password and the host."""
    if "@" not in query:
        return False
    try:
        options = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        return True
    return any("@" in name or ("@" in value and name not in _TEXTS) for name, value in options)
