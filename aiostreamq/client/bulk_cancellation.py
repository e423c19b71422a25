"""Bulk cancellation: find open jobs by filters and cancel them."""

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import aclosing
from math import ceil
from typing import TYPE_CHECKING, Self, cast

from aiostreamq.client.ids import made_ms
from aiostreamq.client.task_argument import name_of
from aiostreamq.errors import UsageError
from aiostreamq.model.duration import seconds
from aiostreamq.model.envelope import Malformed, decode_envelope
from aiostreamq.model.job_state import JobState, states_of
from aiostreamq.model.keys import checked_name
from aiostreamq.model.record import record
from aiostreamq.store.cancellation import Cancellation, LaneFilter
from aiostreamq.store.inspect.walk import Walk

if TYPE_CHECKING:
    from aiostreamq.client.task_argument import Named
    from aiostreamq.model.duration import Duration
    from aiostreamq.store.inspect.walk import OpenJob
    from aiostreamq.store.queue import QueueStore

# The states of jobs that have not ended.
OPEN = (JobState.DELAYED, JobState.HELD, JobState.PARKED, JobState.QUEUED, JobState.RUNNING)

# Those of jobs that are in no lane.
_OFF_LANE = {JobState.DELAYED, JobState.HELD, JobState.PARKED}


@record
class OpenJobFilter:
    """The jobs that a bulk cancellation selects."""

    task: str | None
    older_than: float  #: seconds
    states: tuple[JobState, ...]

    @classmethod
    def of(
        cls,
        task: "Named | str | None",
        older_than: "Duration | None",
        state: JobState | Iterable[JobState] | None,
        *,
        everything: bool,
    ) -> Self:
        """Check the filters as users give them.

        Raises:
            UsageError: A filter is invalid, or neither or both of filters and *everything* are
                given.
        """
        has_filters = not (task is None and older_than is None and state is None)
        if has_filters == everything:
            raise UsageError("specify which jobs to cancel: filters, or everything=True for all")
        named = None if task is None else checked_name("task", name_of(task))
        age = 0.0 if older_than is None else seconds("older_than", older_than)
        states = OPEN if state is None else states_of(state, OPEN)
        for one in states:
            if one not in OPEN:
                raise UsageError(
                    f"state={one!r}: only jobs that have not ended can be cancelled: "
                    f"{', '.join(OPEN)}"
                )
        return cls(named, age, states)

    def fits(self, found: "OpenJob", now_ms: float) -> bool:
        """Return whether a job matches the filters other than its state."""
        if self.older_than:
            since = found.since_ms or made_ms(found.job_id)
            if since is None or now_ms - since <= self.older_than * 1000:
                return False
        return self.task is None or self.task == _task_in(found.envelope)


async def cancel_many(
    store: "QueueStore", tasks: Collection[str], wanted: OpenJobFilter
) -> dict[JobState, int]:
    """Cancel the jobs that are *wanted*; return how many were in each state.

    Args:
        store: The queue.
        tasks: The known tasks, for which jobs may be parked.
        wanted: The filter.
    """
    await store.open()
    parked_for = tasks if wanted.task is None else [wanted.task]
    cancelled = dict.fromkeys(wanted.states, 0)
    for walk in (_off_lane(store, parked_for, wanted), _in_lanes(store, wanted)):
        async with aclosing(walk) as counts:
            async for state, count in counts:
                if state in cancelled:
                    cancelled[state] += count
    return cancelled


async def _off_lane(
    store: "QueueStore", parked_for: Collection[str], wanted: OpenJobFilter
) -> "AsyncGenerator[tuple[JobState, int]]":
    """Cancel the jobs that are in no lane, page by page; yield how many were in each state."""
    cancellation = Cancellation(store)
    states = [state for state in wanted.states if state in _OFF_LANE]
    # No page is read ahead: what is in the next one depends on how many were cancelled before.
    walk = Walk(store).jobs_off_lane(states, parked_for, wanted.task)
    async with aclosing(walk) as pages:
        async for page in pages:
            now_ms = await _now_ms(store)
            ids = [found.job_id for found in page if wanted.fits(found, now_ms)]
            for answer, count in Counter(await cancellation.cancel(ids, wanted.states)).items():
                if answer is not None:
                    yield cast("JobState", answer.decode()), count


async def _in_lanes(
    store: "QueueStore", wanted: OpenJobFilter
) -> "AsyncGenerator[tuple[JobState, int]]":
    """Cancel the jobs that wait or run, part by part of each lane; yield how many in each state."""
    cancellation, walk = Cancellation(store), Walk(store)
    states = [state for state in wanted.states if state in {JobState.QUEUED, JobState.RUNNING}]
    for stream in store.streams if states else ():
        first, last = await walk.range_of(stream, states)
        while first:
            before_ms = None
            if wanted.older_than:
                before_ms = ceil(await _now_ms(store) - wanted.older_than * 1000)
            lane_filter = LaneFilter(states, before_ms, wanted.task)
            part = await cancellation.cancel_part(stream, first, last, lane_filter)
            yield JobState.QUEUED, part.queued
            yield JobState.RUNNING, part.running
            first = part.last and f"({part.last}"


async def _now_ms(store: "QueueStore") -> int:
    await store.clock.refresh()
    return store.clock.now_ms()


def _task_in(envelope: bytes) -> str | None:
    try:
        return decode_envelope(envelope).task
    except Malformed:
        return None
