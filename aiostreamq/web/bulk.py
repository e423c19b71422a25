"""Bulk actions: on all jobs or dead letters that match a filter, which are counted first."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from starlette.exceptions import HTTPException

from aiostreamq import clock
from aiostreamq.errors import JobNotFound
from aiostreamq.model.job_state import OPEN_STATES, JobState
from aiostreamq.web.actions import note, refuse_reader
from aiostreamq.web.forms import read_form
from aiostreamq.web.notices import notice
from aiostreamq.web.pages.jobs import WITH_LETTER, Filters
from aiostreamq.web.site import redirect_back

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.info import QueueInfo
    from aiostreamq.web.site import Site

# In place of a state in the address: all dead letters.
LETTERS = "letters"

# Seconds that a count may take, and that one action may. The next action does the rest.
_COUNT_TIME = 1.0
_ACT_TIME = 20.0

# Jobs of one page of the search for those that match, and the seconds that it may take.
_PAGE = 200
_PAGE_TIME = 1.0

# Jobs that one request changes if their filter needs a search, and how many at once.
_MOST = 100_000
_AT_ONCE = 100


class Count(NamedTuple):
    """How many jobs match, before something is done to them."""

    found: int
    is_whole: bool  #: whether all jobs were looked at


class Selection(NamedTuple):
    """The jobs or letters that a bulk action is about."""

    state: JobState | None  #: None is all dead letters
    filters: Filters
    after: str | None = None  #: only those after this place: an earlier request did the others

    @classmethod
    def of(cls, request: "Request", given: "Mapping[str, str]") -> "Selection":
        """Return the selection in an address.

        Raises:
            HTTPException: 404 if its jobs cannot be changed.
        """
        name = str(request.path_params["state"])
        if name == LETTERS:
            return cls(None, Filters.of(given))
        after = given.get("after") or None
        if name not in OPEN_STATES | WITH_LETTER:
            raise HTTPException(404, "There is no bulk action for these jobs.")
        return cls(JobState(name), Filters.of(given), after)

    @property
    def is_cancel(self) -> bool:
        """Whether they are cancelled; otherwise they are replayed."""
        return self.state in OPEN_STATES

    @property
    def path(self) -> str:
        """The page that lists them, from the first page of the queue."""
        return "dead-letters" if self.state is None else f"jobs/{self.state.value}"

    @property
    def states(self) -> tuple[JobState, ...]:
        """The states of its jobs."""
        return (*sorted(WITH_LETTER),) if self.state is None else (self.state,)

    @property
    def chosen(self) -> dict[str, str]:
        """The filters that are not empty."""
        return {name: one for name, one in self.filters._asdict().items() if one}

    def __str__(self) -> str:
        what = "dead letters" if self.state is None else f"{self.state.value} jobs"
        chosen = ", ".join(f"{name}={one}" for name, one in self.chosen.items())
        return f"all {what}" + (f" with {chosen}" if chosen else "")


async def confirm(site: "Site", request: "Request") -> "Response":
    """Return the page that says how many match, with the button that does it."""
    shown = site.shown(request)
    refuse_reader(site, request)
    selection = Selection.of(request, request.query_params)
    count = await count_of(shown.queue, selection, await shown.looks.info.get())
    values = {
        "selection": selection,
        "count": count,
        "verb": "Cancel" if selection.is_cancel else "Replay",
        "filters": selection.chosen,
        "name": request.path_params["state"],
    }
    return site.render(request, "confirm.html", values, shown=shown)


async def count_of(queue: "QueueClient", selection: Selection, info: "QueueInfo") -> Count:
    """Count what a selection holds, within a second."""
    state, filters, after = selection
    if filters.are_open and after is None:
        known = {
            None: info.dead,
            JobState.RUNNING: info.running,
            JobState.QUEUED: info.waiting,
            JobState.DELAYED: info.delayed,
            JobState.PARKED: info.parked,
        }
        if state in known:
            return Count(known[state], is_whole=True)
    found = await _find(queue, selection, _COUNT_TIME)
    return Count(len(found.ids), is_whole=found.state is None)


class Found(NamedTuple):
    """The jobs that match, among those that were looked at."""

    ids: list[str]
    state: JobState | None  #: in which state the search stopped; None if it is complete
    after: str | None  #: and after which job


async def _find(queue: "QueueClient", selection: Selection, seconds: float) -> Found:
    """Find the jobs of a selection before any is changed: that would move the others."""
    ids: list[str] = []
    until = clock.monotonic() + seconds
    after = selection.after
    for state in selection.states:
        while True:
            page = await selection.filters.page(queue, state, after, _PAGE_TIME, _PAGE)
            # A letter is found by its own id at once, and by that of its job only by a search.
            ids += [job.dead_letter or job.id for job in page.jobs]
            after = page.after
            if after is None:
                break
            if clock.monotonic() > until or len(ids) >= _MOST:
                return Found(ids, state, after)
    return Found(ids, None, None)


async def act_on_all(site: "Site", request: "Request") -> "Response":
    """Cancel or replay all that match; if one request cannot, ask whether to continue."""
    shown = site.shown(request)
    refuse_reader(site, request)
    form = await read_form(request)
    selection = Selection.of(request, form)
    action = "cancel" if selection.is_cancel else "replay"
    await note(shown, request, action, str(selection))
    done, left = await _act(shown.queue, selection)
    await note(shown, request, f"{action}: done", f"{done:,} jobs of {selection}")
    shown.looks.forget()
    home = f"q/{shown.slug}/"
    if left is None:
        did = "cancelled" if selection.is_cancel else "replayed"
        return redirect_back(request, home + selection.path, notice(did, done))
    rest = urlencode({**selection.chosen, **({"after": left} if left else {})})
    back = f"{home}bulk/{request.path_params['state']}?{rest}"
    return redirect_back(request, back, notice("more", done))


async def _act(queue: "QueueClient", selection: Selection) -> tuple[int, str | None]:
    """Return how many jobs were changed, and where to continue: None is nowhere.

    Simple filters are left to one call. It goes through all jobs, whatever their number.
    """
    state, filters, after = selection
    if after is None and state in OPEN_STATES and not any(filters._replace(task="")):
        counts = await queue.cancel_many(task=filters.task or None, state=state)
        return sum(counts.values()), None
    if after is None and state is None and not any(filters._replace(task="", error="")):
        if filters.are_open:
            return await queue.dead_letters.replay(everything=True), None
        task, error = filters.task or None, filters.error or None
        return await queue.dead_letters.replay(task=task, error=error), None
    found = await _find(queue, selection, _ACT_TIME)
    act = _cancel if selection.is_cancel else _replay
    done = 0
    for start in range(0, len(found.ids), _AT_ONCE):
        some = found.ids[start : start + _AT_ONCE]
        done += sum(await asyncio.gather(*(act(queue, job_id) for job_id in some)))
    if found.state is None:
        return done, None
    # A place among delayed jobs is a number of jobs, some of which are gone now.
    is_lasting = len(selection.states) == 1 and found.state is not JobState.DELAYED
    return done, (found.after if is_lasting else None) or ""


async def _cancel(queue: "QueueClient", job_id: str) -> int:
    with suppress(JobNotFound):  # it ended since
        return int(await queue.job(job_id).cancel() in OPEN_STATES)
    return 0


async def _replay(queue: "QueueClient", job_id: str) -> int:
    with suppress(JobNotFound):  # replayed or deleted since
        return await queue.dead_letters.replay(job_id)
    return 0
