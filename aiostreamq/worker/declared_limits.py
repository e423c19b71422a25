"""The limits of a worker's tasks, as Redis must know them before it admits a job."""

from typing import TYPE_CHECKING, Protocol

from aiostreamq.logs import get_logger
from aiostreamq.store.queue import OPEN_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.queue import QueueStore

logger = get_logger("aiostreamq.worker")


class BeginToAdmit(Protocol):
    """Begins to admit held jobs."""

    def __call__(self, *, is_for_all: bool) -> None:
        """Begin: with the jobs of the tasks that have limits, or of all."""
        ...


class DeclaredLimits:
    """The rules of the limits that the code of this release has."""

    def __init__(
        self, store: "QueueStore", specs: "Iterable[TaskSpec]", begin: "BeginToAdmit"
    ) -> None:
        """Find the rules.

        Args:
            store: The queue.
            specs: The tasks of the worker.
            begin: Begins to admit held jobs: of the tasks that have limits, or of all.
        """
        self._begin = begin
        self.rules: dict[str, str] = {}  #: by the token of the limit; empty if no task has any
        self._store = store
        limited = [spec for spec in specs if spec.options.limits]
        if limited:
            # Imported at the first use: most workers have no such tasks.
            from aiostreamq.model.limits import named, rule_of

            self.rules = {
                named(limit, spec.name): rule_of(limit)
                for spec in limited
                for limit in spec.options.limits
            }

    async def declare(self) -> None:
        """Have Redis know the rules, and begin to admit jobs. Does nothing if there are none.

        Raises:
            BrokerError: Redis refused.
        """
        if not self.rules:
            return
        from aiostreamq.store.limit_rules import LimitRules  # likewise

        await self._prepare()
        others = await LimitRules(self._store).declare(self.rules)
        for token, rule in others.items():
            logger.warning(
                "limit %r is %r here, but a newer release has set %r, which is in force",
                token[2:],
                self.rules[token],
                rule,
            )
        self._begin(is_for_all=False)

    async def admit_all(self) -> None:
        """Begin to admit held jobs of all tasks: some have no limits here, but had some earlier.

        Raises:
            BrokerError: Redis refused.
        """
        await self._prepare()
        self._begin(is_for_all=True)

    async def _prepare(self) -> None:
        if not self._store.has_limits:
            self._store.has_limits = True
            await self._store.persist(self._store.create_groups, OPEN_TIMEOUT)
