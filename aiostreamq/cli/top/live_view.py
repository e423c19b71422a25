"""The loop of `aiostreamq top`: looks, draws, and does what keys ask for."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.text import Text

from aiostreamq import clock
from aiostreamq.cli.top.keyboard import BACK, DOWN, NEXT, UP, reading_keys
from aiostreamq.cli.top.look import Look, Looker
from aiostreamq.cli.top.panes import JOBS, LANES, LETTERS, TASKS, Pane, Row, headline, panes_of
from aiostreamq.cli.top.screen import Cursor, screen_of
from aiostreamq.errors import AioStreamQError
from aiostreamq.model.terminal_text import visible

if TYPE_CHECKING:
    from aiostreamq.queue import Queue

# Seconds that actions may take to end when the view does.
_GRACE = 2.0

# Seconds without an answer after which the view says so.
_PATIENCE = 3.0
_NO_LOOK = "no look"

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_KEYS = "q quit  tab pane  ↑↓ row  p pause  c cancel  r replay"
_READ_ONLY_KEYS = "q quit  tab pane  ↑↓ row  (read-only)"


class Question(NamedTuple):
    """An action that waits for y or n."""

    text: str
    action: Callable[[], Awaitable[str]]  #: returns what has happened


class LiveView:
    """The view of one queue on a terminal, from its start to its end.

    It has 14 attributes: the queue and its options, the last look, what keys have changed, and how
    it ends.
    """

    def __init__(self, queue: "Queue", *, every: float, is_read_only: bool) -> None:
        """Describe the view; *every* is the seconds between two looks."""
        self._queue = queue
        self._every = every
        self._is_read_only = is_read_only
        self._looker = Looker(queue)
        self._look: Look | None = None
        self._panes: tuple[Pane, ...] = ()
        self._cursor = Cursor()
        self._question: Question | None = None
        self._message = ""
        self._over = asyncio.Event()
        self._error: BaseException | None = None  # what has ended it
        self._news = asyncio.Event()  # an action has changed something: look again
        self._actions = set[asyncio.Task[None]]()
        self._live = Live(console=Console(), screen=True, auto_refresh=False)

    async def run(self) -> None:
        """Show the queue until a key or a signal ends it; the terminal is then as before."""
        loop = asyncio.get_running_loop()
        for number in _ENDS:
            loop.add_signal_handler(number, self._over.set)
        loop.add_signal_handler(signal.SIGWINCH, self._draw)
        loop.set_exception_handler(self._on_error)
        try:
            with reading_keys(sys.stdin.fileno(), self._on_key, self._over.set), self._live:
                looking = asyncio.create_task(self._keep_looking())
                looking.add_done_callback(self._on_end)
                await self._over.wait()
                loop.remove_signal_handler(signal.SIGWINCH)
                looking.cancel()
                await asyncio.wait([looking, *self._actions], timeout=_GRACE)
        finally:
            loop.set_exception_handler(None)
            for number in _ENDS:  # so that they end a close that takes long
                loop.remove_signal_handler(number)
        if self._error is not None:
            raise self._error

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """End the view with an error of a key or a signal; logged, it would spoil the screen."""
        del loop
        error = context.get("exception")
        if isinstance(error, Exception):
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self._over.set()

    async def _keep_looking(self) -> None:
        while True:
            self._news.clear()
            try:
                self._look = await self._patient_look()
                self._panes = panes_of(self._look)
                if self._message.startswith(_NO_LOOK):
                    self._message = ""
            except AioStreamQError as error:
                self._message = f"{_NO_LOOK}: {error}"
            self._draw()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._news.wait()

    async def _patient_look(self) -> Look:
        """Look at the queue, and say so while Redis does not answer."""
        began = clock.monotonic()
        looking = asyncio.create_task(self._looker.look())
        try:
            while not (await asyncio.wait([looking], timeout=_PATIENCE))[0]:
                seconds = clock.monotonic() - began
                self._message = f"{_NO_LOOK}: Redis has not answered for {seconds:.0f} s"
                self._draw()
            return looking.result()
        finally:
            looking.cancel()

    def _draw(self) -> None:
        width, height = self._live.console.size
        if self._look is None:
            shown = self._message or f"looking at {self._queue.name} ..."
            self._live.update(Text(visible(shown)), refresh=True)
            return
        top = headline(self._look)
        screen = screen_of(self._panes, self._cursor, top, self._bottom(), width, height)
        self._live.update(screen, refresh=True)

    def _bottom(self) -> Text:
        if self._question is not None:
            line, style = f"{self._question.text} y/n", "bold reverse"
        elif self._message:
            line, style = self._message, "bold"
        else:
            line, style = (_READ_ONLY_KEYS if self._is_read_only else _KEYS), "dim"
        return Text(visible(line), style=style, no_wrap=True, overflow="ellipsis")

    def _on_key(self, key: str) -> None:
        if key in {"q", "\x04"}:
            self._over.set()
        elif not self._panes:
            return
        elif self._question is not None:
            question, self._question = self._question, None
            if key in {"y", "Y"}:
                self._start(question.action)
            else:
                self._message = "nothing was changed"
        else:
            self._message = ""
            self._act(key)
        self._draw()

    def _act(self, key: str) -> None:
        pane = self._panes[self._cursor.pane]
        if key in {UP, DOWN}:
            self._cursor.move_row(pane, -1 if key == UP else 1)
        elif key in {NEXT, BACK}:
            self._cursor.move_pane(self._panes, 1 if key == NEXT else -1)
        elif key in {"p", "c", "r"}:
            row = self._cursor.row_in(pane)
            if self._is_read_only:
                self._message = "the view is read-only"
            elif row is None:
                self._message = f"there are no {pane.name}"
            else:
                self._change(key, pane.name, row)

    def _change(self, key: str, pane: str, row: Row) -> None:
        """Do, or ask about, what *key* means for the selected row."""
        if key == "p" and pane in {TASKS, LANES}:
            self._start(lambda: self._pause(pane, row))
        elif key == "c" and pane == JOBS:
            text = f"cancel job {row.key} of {row.cells[1]}?"
            self._question = Question(text, lambda: self._cancel(row.key))
        elif key == "r" and pane == LETTERS:
            text = f"replay {row.key}, {row.cells[1]}: {row.cells[2]}?"
            self._question = Question(text, lambda: self._replay(row.key))
        else:
            place = {"p": f"{TASKS} or {LANES}", "c": JOBS, "r": LETTERS}[key]
            self._message = f"{key} is for a row of {place}"

    def _start(self, action: Callable[[], Awaitable[str]]) -> None:
        task = asyncio.create_task(self._run(action))
        self._actions.add(task)
        task.add_done_callback(self._actions.discard)
        task.add_done_callback(self._on_end)

    async def _run(self, action: Callable[[], Awaitable[str]]) -> None:
        try:
            self._message = await action()
        except AioStreamQError as error:
            self._message = str(error)
        self._looker.forget()
        self._news.set()
        self._draw()

    async def _pause(self, pane: str, row: Row) -> str:
        task, lane = (row.key, None) if pane == TASKS else (None, row.key)
        kind = "task" if lane is None else "lane"
        if row.is_paused:
            await self._queue.resume(task=task, lane=lane)
            return f"{kind} {row.key} is resumed"
        await self._queue.pause(task=task, lane=lane)
        return f"{kind} {row.key} is paused until it is resumed"

    async def _cancel(self, job_id: str) -> str:
        was = await self._queue.job(job_id).cancel()
        return f"job {job_id} was {was} and is cancelled" if was == "running" else f"it was {was}"

    async def _replay(self, letter: str) -> str:
        count = await self._queue.dead_letters.replay(letter)
        return f"{count} replayed" if count else "it was kept: see `aiostreamq dead-letters show`"
