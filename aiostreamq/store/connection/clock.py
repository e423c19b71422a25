"""Redis's time, as it is known here between two replies."""

import asyncio
from typing import TYPE_CHECKING, cast

from aiostreamq import clock

if TYPE_CHECKING:
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.connection.reconnecting import ReconnectingLink

# For how long a time from Redis is used: its clock may be set. A bit longer than a worker sleeps
# between two looks at what is due, which bring the time too.
GOOD_MS = 20_000


class ServerClock:
    """Continues the last time that came from Redis, by this machine's steady clock.

    Redis dates all that is stored, so what is compared with that is Redis's time too: setting
    this machine's clock changes nothing.
    """

    def __init__(self, link: "ReconnectingLink") -> None:
        """Use this machine's clock until Redis sends a time.

        Args:
            link: Leads to the Redis whose time this is.
        """
        self._link = link
        self._asking = asyncio.Lock()
        self._opened = -1  # how often the link had been opened when the time came
        self._set_ms = 0.0  # when it came, by the steady clock
        self._ahead_ms = clock.wall() * 1000 - _steady_ms()

    def set(self, now_ms: float) -> None:
        """Note that Redis has just sent *now_ms*, milliseconds since 1970."""
        self._opened = self._link.opened
        self._set_ms = _steady_ms()
        self._ahead_ms = now_ms - self._set_ms

    def now_ms(self) -> int:
        """Return milliseconds since 1970, by Redis's clock if it is known."""
        return int(_steady_ms() + self._ahead_ms)

    @property
    def is_good(self) -> bool:
        """Whether a time came lately, and over the present connection.

        Another connection may lead to another machine.
        """
        link = self._link
        if self._opened != link.opened or not link.is_up:
            return False
        return _steady_ms() - self._set_ms < GOOD_MS

    async def ask(self, link: "Link") -> None:
        """Ask Redis over *link*."""
        seconds, microseconds = cast("list[bytes]", await link.call("TIME"))
        self.set(int(seconds) * 1000 + int(microseconds) / 1000)

    async def refresh(self, deadline: float | None = None) -> None:
        """Ask Redis, unless the time that is known is good.

        Raises:
            QueueUnavailable: *deadline* seconds have passed.
        """
        if not self.is_good:
            await self._link.persist(self._ask_once, deadline=deadline)

    async def _ask_once(self, link: "Link") -> None:
        async with self._asking:  # once for all callers of the same moment
            if not self.is_good:
                await self.ask(link)


def _steady_ms() -> float:
    return clock.steady() * 1000
