"""`WatchedConnector`: the connector of an isolated queue, which a test can watch and disturb."""

from typing import TYPE_CHECKING

from aiostreamq.store.connection.connector import REPLY_TIMEOUT, OnOutage
from aiostreamq.testing.faults import Faults, FaultyLink

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.store.connection.connector import Connector
    from aiostreamq.store.connection.link import Link
    from aiostreamq.store.connection.server import Server


class WatchedConnector:
    """Opens the links of another connector, and reports each."""

    on_outage: "OnOutage | None" = None

    def __init__(self, inner: "Connector", opening: "Callable[[], None]", faults: Faults) -> None:
        """Prepare.

        Args:
            inner: Opens the links.
            opening: Called before each link is opened, in its event loop.
            faults: The faults that the links have.
        """
        self._inner = inner
        self._faults = faults
        self._opening = opening
        self.is_in_memory = inner.is_in_memory  #: whether the server is part of this process

    @property
    def address(self) -> str:
        """The address for people, without user name and password."""
        return self._inner.address

    async def open_link(self, role: str, *, reply_timeout: float = REPLY_TIMEOUT) -> "Link":
        """Connect as the inner one does."""
        self._opening()
        return FaultyLink(
            await self._inner.open_link(role, reply_timeout=reply_timeout), self._faults
        )

    async def ask_server(self, link: "Link") -> "Server":
        """Ask which server *link* leads to."""
        server = await self._inner.ask_server(link)
        self._faults.know_server(server)
        return server

    def redirect(self, host: str, port: int) -> None:
        """Open the next links to another node of the cluster."""
        self._inner.redirect(host, port)
