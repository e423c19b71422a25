"""Redis's time, as it is known here between two answers."""

import asyncio
import sys
import time
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.connection.reconnecting import ReconnectingLink

# How long what Redis has told is good for: its clock may be set. Somewhat longer than a
# worker sleeps between two looks at what is due, which tell it the time too.
GOOD_MS = 20_000


class ServerClock:
    """Goes on from the last time that Redis told, by this machine's steady clock.

    All that is stored is dated by Redis, so what is compared with it is too: a
    step of this machine's own clock changes nothing.
    """

    def __init__(self, line: "ReconnectingLink") -> None:
        """Go by this machine's clock, until Redis tells.

        Args:
            line: Leads to the Redis that it is about.
        """
        self._line = line
        self._asking = asyncio.Lock()
        self._opened = -1  # what the line counted when Redis told
        self._told_ms = 0.0  # when, by the steady clock
        self._ahead_ms = time.time() * 1000 - steady_ms()

    def set(self, now_ms: float) -> None:
        """Note that Redis has just told *now_ms*, milliseconds since 1970."""
        self._opened = self._line.opened
        self._told_ms = steady_ms()
        self._ahead_ms = now_ms - self._told_ms

    def now_ms(self) -> int:
        """Milliseconds since 1970, by Redis's clock as far as it is known."""
        return int(steady_ms() + self._ahead_ms)

    @property
    def is_good(self) -> bool:
        """Whether Redis has told lately, and over the connection as it stands.

        Another connection may lead to another machine.
        """
        line = self._line
        if self._opened != line.opened or not line.is_up:
            return False
        return steady_ms() - self._told_ms < GOOD_MS

    async def ask(self, link: "Link") -> None:
        """Ask Redis over *link*."""
        seconds, microseconds = cast("list[bytes]", await link.call("TIME"))
        self.set(int(seconds) * 1000 + int(microseconds) / 1000)

    async def refresh(self, deadline: float | None = None) -> None:
        """Ask Redis, where what it told before may not hold any more.

        Raises:
            QueueUnavailable: *deadline* seconds have passed.
        """
        if not self.is_good:
            await self._line.persist(self._ask_once, deadline=deadline)

    async def _ask_once(self, link: "Link") -> None:
        async with self._asking:  # once for all who come at the same moment
            if not self.is_good:
                await self.ask(link)


def steady_ms() -> float:
    """This machine's steady clock, which goes on while the machine sleeps.

    That of time.monotonic() stands still then, on Linux and on macOS.
    """
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME) * 1000
    return time.clock_gettime(time.CLOCK_MONOTONIC) * 1000
