"""JSON values as HTML: coloured by type, folded if they are long, and cut if they are huge."""

from collections.abc import Iterable, Mapping
from typing import cast

import orjson
from markupsafe import Markup, escape

# Items and characters that are shown unfolded; and items and characters that are shown at all.
_SHORT_ITEMS = 8
_SHORT_TEXT = 400
_MOST_ITEMS = 200
_MOST_TEXT = 20_000
_DEEPEST = 20

# Values that a page shows of one argument or result.
_MOST_VALUES = 2000

_LITERALS = {None: "null", True: "true", False: "false"}


def as_html(value: object) -> Markup:
    """Return a value as HTML. Numbers are exact, whatever their size."""
    return _Writer().write(value)


def as_line(value: object, limit: int = 120) -> str:
    """Return a value as one line of JSON, cut after *limit* characters.

    >>> as_line({"a": [1, 2, 3]}, 8)
    '{"a":[1,…'
    """
    text = orjson.dumps(value, default=str, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()
    return text if len(text) <= limit else text[:limit] + "…"


class _Writer:
    def __init__(self) -> None:
        self._left = _MOST_VALUES

    def write(self, value: object, depth: int = 0) -> Markup:
        self._left -= 1
        if isinstance(value, Mapping):
            return self._object(cast("Mapping[str, object]", value), depth)
        if isinstance(value, list):
            return self._list(cast("list[object]", value), depth)
        if isinstance(value, str):
            return _string(value)
        if value is None or isinstance(value, bool):
            return Markup('<span class="v-literal">{}</span>').format(_LITERALS[value])
        return Markup('<span class="v-number">{}</span>').format(str(value))

    def _object(self, value: Mapping[str, object], depth: int) -> Markup:
        rows = (
            Markup('<span class="v-name">{}</span>: {}').format(name, self.write(one, depth + 1))
            for name, one in value.items()
        )
        return self._block("{", rows, "}", len(value), "field", depth)

    def _list(self, value: list[object], depth: int) -> Markup:
        rows = (self.write(one, depth + 1) for one in value)
        return self._block("[", rows, "]", len(value), "item", depth)

    def _block(
        self, left: str, rows: Iterable[Markup], right: str, count: int, noun: str, depth: int
    ) -> Markup:
        if not count:
            return Markup('<span class="v-sign">{}{}</span>').format(left, right)
        if depth >= _DEEPEST or self._left <= 0:
            return Markup('<span class="v-more">{}…{}</span>').format(left, right)
        shown: list[Markup] = []
        for row in rows:
            if len(shown) >= _MOST_ITEMS or self._left <= 0:
                more = count - len(shown)
                shown.append(Markup('<span class="v-more">and {} more</span>').format(more))
                break
            shown.append(row)
        lines = Markup("").join(Markup("<li>{}</li>").format(row) for row in shown)
        opened = Markup(" open") if count <= _SHORT_ITEMS else Markup("")
        plural = noun if count == 1 else f"{noun}s"
        return Markup(
            '<details class="v-block"{}><summary><span class="v-sign">{}</span> '
            '<span class="v-more">{} {}</span></summary><ul>{}</ul>'
            '<span class="v-sign">{}</span></details>'
        ).format(opened, left, count, plural, lines, right)


def _string(text: str) -> Markup:
    cut = text[:_MOST_TEXT]
    more = f"… {len(text) - len(cut):,} more characters" if len(cut) < len(text) else ""
    body = Markup('<span class="v-string">"{}"</span>').format(escape(cut))
    if more:
        body += Markup('<span class="v-more">{}</span>').format(more)
    if len(text) <= _SHORT_TEXT:
        return body
    start = text[:60].replace("\n", " ")
    return Markup(
        '<details class="v-block"><summary><span class="v-string">"{}…"</span> '
        '<span class="v-more">{} characters</span></summary>{}</details>'
    ).format(start, f"{len(text):,}", body)
