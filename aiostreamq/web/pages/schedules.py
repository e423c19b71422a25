"""The schedules of a queue: when each is due, in words and as times."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aiostreamq import clock

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aiostreamq.client.schedules.schedule import Schedule
    from aiostreamq.web.site import Site

# The next ticks that are shown.
_SHOWN = 3

# Schedules that are listed.
_MOST = 200

# Workers declare the schedules of their code each minute: one that was not declared for this long
# is in the code of no worker that runs.
_UNSEEN = timedelta(minutes=3)


async def schedules(site: "Site", request: "Request") -> "Response":
    """Return the page."""
    shown = site.shown(request)
    found = await shown.queue.schedules.list()
    now = datetime.fromtimestamp(clock.wall(), UTC)
    rows = [(one, one.upcoming(_SHOWN), state_of(one, now)) for one in found[:_MOST]]
    values = {"rows": rows, "more": max(0, len(found) - _MOST)}
    return site.render(request, "schedules.html", values, shown=shown)


def state_of(schedule: "Schedule", now: datetime) -> str:
    """Return the state of a schedule, as it is shown."""
    declared = schedule.declared_at
    if declared is not None and now - declared > _UNSEEN:
        return "in no worker's code"
    if schedule.is_paused:
        return "paused"
    if schedule.next is None:
        return "over"
    return "on, jobs paused" if schedule.are_jobs_paused else "on"
