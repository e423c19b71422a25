"""The rules of limits, as Redis knows them."""

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiostreamq.store.connection.link import Argument
    from aiostreamq.store.queue import QueueStore


class LimitRules:
    """The rules of the limits of one queue."""

    def __init__(self, queue: "QueueStore") -> None:
        self._queue = queue
        self._keys = [queue.keys.limit_defaults, queue.keys.limit_rules]

    async def declare(
        self, rules: "Mapping[str, str]", deadline: float | None = None
    ) -> "dict[str, str]":
        """Note the rules that the code has; return others that are in force, by token.

        Args:
            rules: The rules by the tokens of their limits.
            deadline: Seconds after which to stop trying; None is never.

        Raises:
            QueueUnavailable: *deadline* passed.
            BrokerError: Redis refused.
        """
        arguments: list[Argument] = [self._queue.keys.prefix]
        for token, rule in rules.items():
            arguments += (token, rule)
        reply = await self._queue.run("declare_limits", self._keys, arguments, deadline)
        texts = [one.decode() for one in cast("list[bytes]", reply)]
        return dict(zip(texts[::2], texts[1::2], strict=True))
