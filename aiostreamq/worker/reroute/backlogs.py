"""Jobs of limited tasks that no limit has let pass yet: they go to their backlogs.

They come from a retry, a schedule, another job, or a producer that does not know of the limits.
"""

from math import ceil
from typing import TYPE_CHECKING

from aiostreamq.aio.batching import GroupCommit
from aiostreamq.logs import get_logger
from aiostreamq.store.deliveries import SETTLE_LIMIT
from aiostreamq.worker.refused_batches import RefusedBatches

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.model.delivery import Delivery, EntryRef, HoldRequest
    from aiostreamq.model.envelope import Envelope
    from aiostreamq.model.functions.limit_keys import Line
    from aiostreamq.model.task import TaskSpec
    from aiostreamq.store.held import Hold, Quiet
    from aiostreamq.store.queue import QueueStore

logger = get_logger("aiostreamq.worker")


class Backlogs:
    """Has jobs wait in Redis until their limits have room."""

    def __init__(self, store: "QueueStore", accepted: "Callable[[], None]") -> None:
        """Prepare.

        Args:
            store: The queue.
            accepted: Called when Redis has accepted all that it had refused to hold.
        """
        self._store = store
        self._refused = RefusedBatches["Hold"]("jobs to be held", self._send, accepted)
        self._commit = GroupCommit["Hold"](self._refused.send, SETTLE_LIMIT)
        #: jobs that are on their way to their backlogs
        self.unheld: set[EntryRef] = set()
        # Quiet times that go to Redis before the next jobs are held, by the token of the rate.
        self._quiets: dict[str, Quiet] = {}

    def take_if_limited(self, delivery: "Delivery", envelope: "Envelope", spec: "TaskSpec") -> bool:
        """Have a job wait if it has not passed all limits of its task; return whether it does."""
        if self._has_passed(delivery, spec):
            return False
        self._hold(delivery, self._line_of(delivery, envelope, spec))
        return True

    def hold_again(self, request: "HoldRequest", envelope: "Envelope", spec: "TaskSpec") -> None:
        """Have a job that has run wait again, and nothing start until then under one of its limits.

        Args:
            request: Names the job, the limit, and until when it is quiet.
            envelope: Its envelope.
            spec: Its task, which has this limit.
        """
        # Imported at the first use: most workers have no such jobs.
        from aiostreamq.model.functions.limit_keys import instance_of
        from aiostreamq.store.held import Quiet

        delivery = request.delivery
        line = self._line_of(delivery, envelope, spec)
        token = instance_of(request.rate, delivery.permits, line.backlog)
        known = self._quiets.get(token)
        if known is None or known.until_ms < request.until_ms:
            after_ms = ceil(request.after * 1000)
            self._quiets[token] = Quiet(token, request.until_ms, after_ms, delivery.job_id)
        self._hold(delivery, line)

    def _hold(self, delivery: "Delivery", line: "Line") -> None:
        from aiostreamq.store.held import Hold

        self.unheld.add((delivery.stream, delivery.entry))
        self._commit.add(Hold(delivery, *line))

    def _has_passed(self, delivery: "Delivery", spec: "TaskSpec") -> bool:
        from aiostreamq.model.functions.limit_keys import has_passed

        permits = delivery.permits
        # In another stream they are those of an earlier delivery, moved by an older release.
        is_own = permits == b"-" or self._store.is_admitted(delivery.stream)
        return permits is not None and is_own and has_passed(spec, permits)

    @property
    def refused(self) -> int:
        """How many jobs wait because Redis has refused to hold them."""
        return self._refused.refused

    async def join(self) -> None:
        """Wait until all are held, or refused once more. Cancelling is safe."""
        await self._commit.join()
        await self._refused.try_again()  # the reason of a refusal was logged

    def close(self) -> None:
        """Stop retrying refused jobs: they are recovered from this worker."""
        self._refused.close()

    def _line_of(self, delivery: "Delivery", envelope: "Envelope", spec: "TaskSpec") -> "Line":
        from aiostreamq.model.functions.limit_keys import line_of, line_of_unkeyed

        lane = self._store.lane_at(delivery.stream) or spec.options.lane
        try:
            args, kwargs = envelope.args, envelope.kwargs
            if spec.signature is None:
                return line_of(spec, lane, args, kwargs)
            return line_of(spec, lane, *spec.signature.restore_arguments(args, kwargs))
        except BaseException as error:  # noqa: BLE001  # the function of a key may raise anything
            logger.warning(
                "a job waits with all others of task %r whose limits cannot be found: %s",
                spec.name,
                type(error).__name__,
                extra={"job_id": delivery.job_id, "task": spec.name},
            )
            return line_of_unkeyed(spec, lane)

    async def _send(self, batch: "list[Hold]") -> None:
        from aiostreamq.store.held import HeldJobs

        held_jobs, quiets = HeldJobs(self._store), list(self._quiets.values())
        if quiets:  # first: a job that is held before may be admitted at once
            await held_jobs.quiet(quiets)
            for one in quiets:
                if self._quiets.get(one.token) is one:
                    del self._quiets[one.token]
        await held_jobs.hold(batch)
        self.unheld.difference_update((one.delivery.stream, one.delivery.entry) for one in batch)
