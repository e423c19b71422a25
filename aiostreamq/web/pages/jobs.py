"""The jobs of a queue, by state, with filters and a search in their arguments."""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from starlette.exceptions import HTTPException

from aiostreamq.model.job_state import OPEN_STATES, JobState
from aiostreamq.web.arguments import arguments_of, call_in_line, holds_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.info import JobPage, MinuteInfo, QueueInfo
    from aiostreamq.web.site import Site

# Jobs of a page; seconds that a page searches for them, and that "search on" does.
LIMIT = 50
_SEARCH_TIME = 0.05
_LONG_SEARCH = 3.0
_SEARCHED = 1_000_000

# The states at the side of the page, in their order.
STATES = (
    *(JobState.RUNNING, JobState.QUEUED, JobState.DELAYED, JobState.PARKED, JobState.DONE),
    *(JobState.FAILED, JobState.TIMED_OUT, JobState.DEAD, JobState.CANCELLED, JobState.DROPPED),
    JobState.EXPIRED,
)

# Ended jobs of these states have arguments and errors, from their dead letters.
WITH_LETTER = frozenset({JobState.FAILED, JobState.TIMED_OUT, JobState.DEAD})


class Filters(NamedTuple):
    """The filters of a page, as its address has them; empty ones are any."""

    task: str = ""
    lane: str = ""
    tag: str = ""
    error: str = ""
    text: str = ""

    @classmethod
    def of(cls, given: "Mapping[str, str]") -> "Filters":
        """Return the filters in the query of an address, or in a form."""
        return cls(*(str(given.get(name, "")).strip()[:500] for name in cls._fields))

    async def page(
        self, queue: "QueueClient", state: JobState, after: str | None, timeout: float, limit: int
    ) -> "JobPage":
        """Return a page of the jobs that match.

        Values that are masked by their names are not searched: a search could find them out
        letter by letter.

        Raises:
            UsageError: *after* is not a place of a job.
        """
        page = await queue.job_page(
            state,
            task=self.task or None,
            lane=self.lane or None,
            tag=self.tag or None,
            error=self.error or None,
            contains=self.text or None,
            after=after,
            limit=limit,
            searched=_SEARCHED,
            timeout=timeout,
        )
        if not self.text:
            return page
        found = (one for one in page.jobs if holds_text(arguments_of(queue, one), self.text))
        return replace(page, jobs=tuple(found))

    @property
    def are_open(self) -> bool:
        """Whether every job matches."""
        return not any(self)


def state_in(request: "Request") -> JobState:
    """Return the state in the path of a request.

    Raises:
        HTTPException: 404 if it is not a state.
    """
    try:
        return JobState(request.path_params["state"])
    except ValueError:
        raise HTTPException(404, "There is no such state of jobs.") from None


async def jobs(site: "Site", request: "Request") -> "Response":
    """Return the page."""
    shown, state = site.shown(request), state_in(request)
    info = await shown.looks.info.get()
    counts = counts_of(info, await shown.looks.history.get())
    if request.query_params.get("part"):
        return site.render(request, "jobs.html", {"counts": counts, "state": state}, shown=shown)
    filters = Filters.of(request.query_params)
    after = request.query_params.get("after")
    is_long = "long" in request.query_params
    timeout = _LONG_SEARCH if is_long else _SEARCH_TIME
    page = await filters.page(shown.queue, state, after, timeout, LIMIT)
    before = request.query_params.get("searched", "0")
    searched = page.searched + (int(before) if before.isdecimal() and len(before) < 12 else 0)
    values = {
        "state": state,
        "counts": counts,
        "filters": filters._asdict(),
        "are_open": filters.are_open,
        "page": page,
        "searched": searched,
        "total": counts[state],
        "is_first": after is None,
        "rows": [(job, call_in_line(arguments_of(shown.queue, job))) for job in page.jobs],
        "is_live": state in OPEN_STATES,
        "can_cancel": state in OPEN_STATES,
        "can_replay": state in WITH_LETTER,
        "tasks": [task.name for task in info.tasks][:500],
        "lanes": [lane.name for lane in info.lanes],
    }
    return site.render(request, "jobs.html", values, shown=shown)


def counts_of(info: "QueueInfo", minutes: "Sequence[MinuteInfo]") -> dict[JobState, int]:
    """Return how many jobs are in each state; of ended ones, those that ended in the last hour."""
    counts = Counter[JobState]()
    for minute in minutes[-60:]:
        counts.update(minute.ended)
    counts[JobState.RUNNING], counts[JobState.QUEUED] = info.running, info.waiting
    counts[JobState.DELAYED], counts[JobState.PARKED] = info.delayed, info.parked
    return {state: counts[state] for state in STATES}
