"""The connector of a queue, which the sessions of the program and of `queue.sync` share.

A `memory://` without a name is one server as long as a session uses it, whatever its event loop.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.store.connection.connector import Connector


class SharedConnector:
    """The connector of a queue, created when a session needs it. All methods are thread-safe.

    Without locks, because a process that is forked would inherit them as they are.
    """

    def __init__(self, connect: "Callable[[], Connector]") -> None:
        self._connect = connect
        self._connectors: dict[None, Connector] = {}  # one or none: `setdefault` is atomic
        self._users: set[int] = set()

    def take(self, user: object) -> "Connector":
        """Return the connector for *user*, which keeps it until `release`.

        Raises:
            UsageError: The address is invalid, or an extra is missing.
        """
        self._users.add(id(user))
        connector = self._connectors.get(None)
        return connector or self._connectors.setdefault(None, self._connect())

    def release(self, user: object) -> None:
        """Note that *user* was closed. The next one gets a new connector if there is no other."""
        self._users.discard(id(user))
        if not self._users:
            self.forget()

    def forget(self) -> None:
        """Create a new connector for the next session."""
        self._connectors.clear()

    def replace_connect(self, connect: "Callable[[], Connector]") -> "Callable[[], Connector]":
        """Create the connectors of the next sessions with *connect*; return what did before."""
        before, self._connect = self._connect, connect
        self.forget()
        return before
