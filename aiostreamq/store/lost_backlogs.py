"""Backlogs that no worker would look at, as another program has deleted what leads to them."""

from typing import TYPE_CHECKING, cast

from aiostreamq.store.inspect.key_scan import STEP, scan

if TYPE_CHECKING:
    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.queue import QueueStore


class LostBacklogs:
    """Finds the backlogs of one queue again."""

    def __init__(self, queue: "QueueStore") -> None:
        """Prepare.

        Args:
            queue: The queue.
        """
        self._queue = queue
        keys = queue.keys
        self._keys = [keys.ready, keys.due, keys.held]

    async def find(self) -> int:
        """Have workers look again at lost backlogs; return how many there were.

        Up to a million keys of Redis are looked at, in steps between which it serves others.

        Raises:
            CommandError: Redis refused; the user may not run SCAN.
            QueueUnavailable: Redis cannot be reached.
        """
        found, is_whole = await scan(self._queue, self._queue.keys.backlog(""))
        names = sorted(found)
        lost = 0
        for start in range(0, max(1, len(names)), STEP):
            some = names[start : start + STEP]
            is_all = is_whole and len(some) == len(names)
            arguments: list[Argument] = [self._queue.keys.prefix, int(is_all), *some]
            lost += cast("int", await self._queue.run("find_lost_backlogs", self._keys, arguments))
        return lost
