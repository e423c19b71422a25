"""The rules of limits that operators set in place of those of the code."""

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiostreamq.store.queue import QueueStore

#: The answer for a rule that would concern no job: the code has a limit of the other kind.
OTHER_KIND = -1

#: The same if the code has an order under its name.
ORDER = -2


class LimitOverrides:
    """The rules that operators have set for the limits of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = [queue.keys.limits, queue.keys.limit_defaults]

    async def set(self, token: str, rule: str, who: str) -> int:
        """Set the rule of a limit; return the version of the rule, or OTHER_KIND or ORDER.

        Raises:
            BrokerError: Redis refused.
        """
        (version,) = await self._change([token], rule, who)
        return version

    async def clear(self, tokens: "Sequence[str]") -> int:
        """Take rules back; return how many there were.

        Raises:
            BrokerError: Redis refused.
        """
        return sum(version > 0 for version in await self._change(tokens, "", ""))

    async def end_quiet(self, token: str) -> int:
        """Let a rate pass jobs again; return how many of its values were quiet.

        Raises:
            BrokerError: Redis refused.
        """
        arguments = [self._queue.keys.prefix, token]
        return cast("int", await self._queue.run("end_quiet", [self._queue.keys.due], arguments))

    async def _change(self, tokens: "Sequence[str]", rule: str, who: str) -> list[int]:
        arguments = [self._queue.keys.prefix, rule, who, *tokens]
        return cast("list[int]", await self._queue.run("set_limit", self._keys, arguments))
