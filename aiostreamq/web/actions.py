"""The actions of the dashboard: what its buttons do. Each is noted before it is done."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from starlette.exceptions import HTTPException

from aiostreamq.client.audit import note_action
from aiostreamq.model.job_state import JobState
from aiostreamq.web.forms import read_form
from aiostreamq.web.guard import access_of
from aiostreamq.web.notices import notice
from aiostreamq.web.site import redirect_back

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.web.site import Shown, Site

Form = Mapping[str, str]


class Action(NamedTuple):
    """The action of a button."""

    name: str  #: for the audit trail
    fields: tuple[str, ...]  #: of the form, one of which names the subject
    act: "Callable[[QueueClient, Form], Awaitable[str]]"  #: returns the notice


async def _cancel(queue: "QueueClient", form: Form) -> str:
    state = await queue.job(form["id"]).cancel()
    if state is JobState.RUNNING:
        return notice("stopping")
    is_open = state in {JobState.QUEUED, JobState.DELAYED, JobState.PARKED}
    return notice("cancelled", 1) if is_open else notice("ended")


async def _replay(queue: "QueueClient", form: Form) -> str:
    count = await queue.dead_letters.replay(form["id"])
    return notice("replayed", count) if count else notice("kept")


async def _purge(queue: "QueueClient", form: Form) -> str:
    return notice("purged", await queue.dead_letters.purge(form["id"]))


async def _pause(queue: "QueueClient", form: Form) -> str:
    await queue.pause(task=form.get("task"), lane=form.get("lane"))
    return notice("paused")


async def _resume(queue: "QueueClient", form: Form) -> str:
    await queue.resume(task=form.get("task"), lane=form.get("lane"))
    return notice("resumed")


async def _trigger(queue: "QueueClient", form: Form) -> str:
    await queue.schedules.trigger(form["schedule"])
    return notice("triggered")


async def _pause_schedule(queue: "QueueClient", form: Form) -> str:
    await queue.schedules.pause(form["schedule"])
    return notice("paused")


async def _resume_schedule(queue: "QueueClient", form: Form) -> str:
    await queue.schedules.resume(form["schedule"])
    return notice("resumed")


#: The actions by their names in addresses.
ACTIONS = {
    "cancel": Action("cancel", ("id",), _cancel),
    "replay": Action("replay", ("id",), _replay),
    "purge": Action("delete dead letter", ("id",), _purge),
    "pause": Action("pause", ("task", "lane"), _pause),
    "resume": Action("resume", ("task", "lane"), _resume),
    "trigger": Action("run now", ("schedule",), _trigger),
    "pause-schedule": Action("pause", ("schedule",), _pause_schedule),
    "resume-schedule": Action("resume", ("schedule",), _resume_schedule),
}


async def act(site: "Site", request: "Request") -> "Response":
    """Carry out the action of a form, and return to the page that it was on."""
    shown = site.shown(request)
    refuse_reader(site, request)
    action = ACTIONS.get(str(request.path_params["action"]))
    if action is None:
        raise HTTPException(404, "There is no such action.")
    form = await read_form(request)
    named = {name: form[name] for name in action.fields if form.get(name)}
    if len(named) != 1:
        raise HTTPException(400, f"Give one of: {', '.join(action.fields)}.")
    ((field, subject),) = named.items()
    await note(shown, request, action.name, f"{'job' if field == 'id' else field} {subject}")
    did = await action.act(shown.queue, named)
    shown.looks.forget()
    return redirect_back(request, form.get("back", ""), did)


def refuse_reader(site: "Site", request: "Request") -> None:
    """Refuse a request that may change nothing.

    Raises:
        HTTPException: 403, and what to do about it.
    """
    if not site.write:
        raise HTTPException(
            403, "This dashboard is read-only: make it with write=True, or start it with --write."
        )
    if not site.may_write(request):
        raise HTTPException(403, "You may look, but not change anything.")


async def note(shown: "Shown", request: "Request", action: str, subject: str) -> None:
    """Note an action in the audit trail of the queue.

    Raises:
        BrokerError: Redis refused: then nothing is done.
    """
    await note_action(shown.queue, access_of(request).user, action, subject)
