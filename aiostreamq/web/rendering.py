"""Templates and static files: read once, when the dashboard is made, and kept in memory."""

import hashlib
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, cast
from urllib.parse import urlencode

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from aiostreamq import clock
from aiostreamq.web.charts import share_bar
from aiostreamq.web.secret_names import text_without_secrets, without_secrets
from aiostreamq.web.values import as_html, as_line

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8",
          "svg": "image/svg+xml"}  # fmt: skip

#: Shown in place of what is unknown or does not apply.
NOTHING = "\N{EN DASH}"

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


class StaticFile(NamedTuple):
    """A file that browsers load beside the pages."""

    body: bytes
    media_type: str


class Assets:
    """The static files, and their hash, which is part of their addresses."""

    def __init__(self) -> None:
        self.files = {
            name: StaticFile(body, _TYPES[name.rpartition(".")[2]])
            for name, body in _files_in("static").items()
            if name.rpartition(".")[2] in _TYPES
        }
        every = b"".join(self.files[name].body for name in sorted(self.files))
        self.version = hashlib.sha256(every).hexdigest()[:12]


@cache
def make_environment() -> Environment:
    """Return the templates, compiled, with the filters that they use."""
    sources = {
        name: body.decode()
        for name, body in _files_in("templates").items()
        if name.endswith(".html")
    }
    environment = Environment(
        loader=DictLoader(sources),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(
        ago=ago, number=number, seconds=seconds, when=when, iso=iso, value=value, line=line,
        masked=text_without_secrets, spaced=spaced, query=query, dim=dim,
    )  # fmt: skip
    environment.globals["bar"] = cast("Any", share_bar)
    for name in sources:
        environment.get_template(name)
    return environment


@cache
def _files_in(folder: str) -> dict[str, bytes]:
    """Return the files of a folder of this package; they are read once in a process."""
    found = files("aiostreamq.web").joinpath(folder).iterdir()
    return {one.name: one.read_bytes() for one in found if one.is_file()}


def number(count: float) -> str:
    """Return a count with commas; of rates, as many digits as matter.

    >>> number(1234567), number(0.1234), number(12.34)
    ('1,234,567', '0.12', '12.3')
    """
    if isinstance(count, int):
        return f"{count:,}"
    if count and abs(count) < 1:
        return f"{count:.2g}"
    return f"{count:,.1f}" if abs(count) < 100 else f"{count:,.0f}"


def dim(count: float) -> Markup:
    """Return a count as `number` does, pale if it is 0: then others are seen at once."""
    return Markup('<span class="{}">{}</span>').format("some" if count else "zero", number(count))


def seconds(span: float | None) -> str:
    """Return a duration in the unit that suits it.

    >>> seconds(0.0032), seconds(1.44), seconds(75), seconds(90000)
    ('3.2 ms', '1.4 s', '1 m 15 s', '1 d 1 h')
    """
    if span is None:
        return NOTHING
    if span < 0.9995:
        return f"{span * 1000:.2g} ms" if span < 0.0995 else f"{span * 1000:.0f} ms"
    if span < _MINUTE:
        return f"{span:.1f} s" if span < 10 else f"{span:.0f} s"
    for unit, below, name, smaller in (
        (_MINUTE, _HOUR, "m", "s"),
        (_HOUR, _DAY, "h", "m"),
        (_DAY, float("inf"), "d", "h"),
    ):
        if span < below:
            whole, rest = divmod(span, unit)
            part = int(rest / {"m": 1, "h": _MINUTE, "d": _HOUR}[name])
            return f"{int(whole)} {name} {part} {smaller}" if part else f"{int(whole)} {name}"
    return ""


def ago(at: datetime | None) -> str:
    """Return how long ago a moment was, or in how long it will be."""
    if at is None:
        return NOTHING
    span = clock.wall() - at.timestamp()
    text = f"{seconds(span)} ago" if span >= 1 else "now" if span > -1 else f"in {seconds(-span)}"
    return _time(at, text)


def when(at: datetime | None) -> str:
    """Return a moment in full, in UTC."""
    return NOTHING if at is None else _time(at, f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}")


def iso(at: datetime) -> str:
    """Return a moment for the clock of the page."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def _time(at: datetime, text: str) -> Markup:
    title = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(at), title, text)


def value(found: object) -> Markup:
    """Return plain JSON as HTML, with secrets masked by their names."""
    return as_html(without_secrets(found))


def line(found: object, limit: int = 120) -> str:
    """Return plain JSON as one line, with secrets masked by their names."""
    return as_line(without_secrets(found), limit)


def spaced(name: str) -> str:
    """Return a state as it is written for people.

    >>> spaced("timed_out")
    'timed out'
    """
    return str(name).replace("_", " ")


def query(values: dict[str, object]) -> str:
    """Return the query of an address, without what is empty."""
    return urlencode({name: one for name, one in values.items() if one not in (None, "")})
