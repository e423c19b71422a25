"""Stopping what was asked for: cancelled jobs."""

from contextlib import suppress
from typing import TYPE_CHECKING, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.keys import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiostreamq.store.broker import Broker
    from aiostreamq.store.link import Argument

# How many jobs a call cancels: some 2 ms of Redis.
CANCEL_LIMIT = 100

# How long the outcome of a cancelled job is kept where its envelope does not say. The
# option of its task is known to the workers, and none may ever see the job.
KEEP_CANCELLED_MS = 3600 * 1000


class Steering:
    """What can be said about jobs that are on their way."""

    def __init__(self, broker: "Broker") -> None:
        self._broker = broker
        self._keys = broker.keys

    async def cancel(
        self, job_ids: "Sequence[str]", states: "Iterable[str]" = ()
    ) -> "list[bytes | None]":
        """End jobs; returns for each where it was caught, as cancel.lua tells it.

        Args:
            job_ids: Any number of them.
            states: Only of jobs in these; empty is any.
        """
        answers: list[bytes | None] = []
        keys = [self._keys.delayed, self._keys.control, self._keys.cancelled]
        for start in range(0, len(job_ids), CANCEL_LIMIT):
            arguments: list[Argument] = [GROUP, self._keys.prefix, KEEP_CANCELLED_MS]
            arguments += [" ".join(states), *job_ids[start : start + CANCEL_LIMIT]]
            found = cast("list[bytes | None]", await self._broker.run("cancel", keys, arguments))
            # A table of Lua's ends at the last answer that is none.
            answers += found + [None] * (min(CANCEL_LIMIT, len(job_ids) - start) - len(found))
        return answers

    async def cancelled_among(self, job_ids: "Sequence[str]") -> set[str]:
        """Which of some jobs that have not ended are to be cancelled."""
        if not job_ids:
            return set()
        scores = await self._broker.call("ZMSCORE", self._keys.cancelled, *job_ids)
        found = zip(job_ids, cast("list[bytes | None]", scores), strict=True)
        return {job_id for job_id, asked in found if asked is not None}

    def entries_in(self, word: "Mapping[str, str]") -> list[tuple[int, bytes]]:
        """The entries that a word names, as (place of the stream, entry)."""
        told = word.get("entries", "").split()
        found: list[tuple[int, bytes]] = []
        for lane, entry in zip(told[::2], told[1::2], strict=False):
            with suppress(UsageError):  # a lane of others, with the same queue
                found.append((self._broker.place_of(lane), entry.encode()))
        return found
