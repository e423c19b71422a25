"""The panes of `aiostreamq top` on a terminal, by rich."""

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.layout import Layout
from rich.panel import Panel
from rich.text import Text

from aiostreamq.cli.top.panes import Pane, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

# The rows of panes from top to bottom, with the share of the left pane in the width.
_GRID = ((0, 1, 2, 3), (2, 3, 3, 2), (4, 5, 1, 1))

_LEAST = 4  # columns of the cell that is cut
_FRAME = 4  # columns of a pane's border and its padding


class Cursor:
    """The selected pane, and the selected row of each pane.

    A row is remembered by its key: rows come and go between two looks, and an action must not
    hit another one.
    """

    def __init__(self) -> None:
        self.pane = 0
        self._keys: dict[str, str] = {}

    def move_pane(self, panes: "Sequence[Pane]", step: int) -> None:
        """Select another pane."""
        self.pane = (self.pane + step) % len(panes)

    def move_row(self, pane: Pane, step: int) -> None:
        """Select another row of *pane*."""
        if pane.rows:
            index = min(max(self.index_in(pane) + step, 0), len(pane.rows) - 1)
            self._keys[pane.name] = pane.rows[index].key

    def index_in(self, pane: Pane) -> int:
        """Return the index of the selected row, or that of the first."""
        wanted = self._keys.get(pane.name)
        return next((i for i, row in enumerate(pane.rows) if row.key == wanted), 0)

    def row_in(self, pane: Pane) -> Row | None:
        """Return the selected row, and remember it; None if there are no rows."""
        if not pane.rows:
            return None
        row = pane.rows[self.index_in(pane)]
        self._keys[pane.name] = row.key
        return row


def screen_of(
    panes: "Sequence[Pane]", cursor: Cursor, top: str, bottom: Text, width: int, height: int
) -> Layout:
    """Return the whole screen."""
    screen = Layout()
    body = max(height - 2, len(_GRID))
    rows: list[Layout] = []
    for number, (left, right, left_share, right_share) in enumerate(_GRID):
        size = body // len(_GRID) + (number < body % len(_GRID))
        left_width = width * left_share // (left_share + right_share)
        row = Layout(size=size)
        row.split_row(
            Layout(_panel(panes[left], cursor, left, left_width, size), size=left_width),
            Layout(_panel(panes[right], cursor, right, width - left_width, size)),
        )
        rows.append(row)
    head = Text(top, style="bold", no_wrap=True, overflow="ellipsis")
    screen.split_column(Layout(head, size=1), *rows, Layout(bottom, size=1))
    return screen


def _panel(pane: Pane, cursor: Cursor, number: int, width: int, height: int) -> Panel:
    is_current = number == cursor.pane
    selected = cursor.index_in(pane)
    room = max(height - 3, 1)  # without the border and the heads
    first = max(0, min(selected - room + 1, len(pane.rows) - room))
    shown = pane.rows[first : first + room]
    widths = _widths(pane, shown, width - _FRAME)
    lines = [Text(_line(pane.heads, widths), style="dim")]
    for index, row in enumerate(shown, first):
        style = "red" if row.is_bad else "yellow" if row.is_paused else ""
        if is_current and index == selected:
            style += " reverse"
        lines.append(Text(_line(row.cells, widths), style=style.strip()))
    more = f" {selected + 1}/{len(pane.rows)}" if len(pane.rows) > room else ""
    text = Text("\n", no_wrap=True, overflow="crop").join(lines)
    border = "bold cyan" if is_current else "dim"
    return Panel(text, title=pane.name + more, title_align="left", border_style=border)


def _widths(pane: Pane, rows: "Sequence[Row]", room: int) -> list[int]:
    """Return the widths of the columns; one of them gives way if the room is too small."""
    columns = zip(pane.heads, *(row.cells for row in rows), strict=True)
    widths = [max(map(cell_len, column)) for column in columns]
    if pane.widest != len(widths) - 1:
        others = sum(widths) - widths[pane.widest] + len(widths) - 1
        widths[pane.widest] = max(room - others, _LEAST)
    return widths


def _line(cells: "Sequence[str]", widths: "Sequence[int]") -> str:
    return " ".join(map(_fit, cells, widths))


def _fit(cell: str, width: int) -> str:
    return cell if cell_len(cell) == width else _cut(cell, width)


def _cut(cell: str, width: int) -> str:
    if cell_len(cell) < width:
        return set_cell_size(cell, width)
    return set_cell_size(cell, width - 1) + "…"
