"""Dead letters: jobs that failed for good, in groups and one by one."""

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from aiostreamq.model.stream_ids import is_stream_id
from aiostreamq.web.arguments import arguments_of
from aiostreamq.web.pages.one_job import steps_of_letter

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aiostreamq.client.dead_letters.selection import DeadLetterFilters
    from aiostreamq.web.site import Site

# Letters of a page.
_LIMIT = 50


async def dead_letters(site: "Site", request: "Request") -> "Response":
    """Return the page: all groups, or the letters of one."""
    shown, query = site.shown(request), request.query_params
    info = await shown.looks.info.get()
    filters: DeadLetterFilters = {}
    if task := query.get("task", ""):
        filters["task"] = task
    if error := query.get("error", ""):
        filters["error"] = error
    if before := query.get("before", ""):
        if not is_stream_id(before):
            raise HTTPException(400, "before= is not the id of a dead letter.")
        filters["before"] = before
    letters = await shown.queue.dead_letters.list(limit=_LIMIT + 1, **filters)
    values = {
        "total": info.dead,
        "found": None if filters else await shown.looks.groups.get(),
        "task": task,
        "error": error,
        "letters": letters[:_LIMIT],
        "next": letters[_LIMIT - 1].id if len(letters) > _LIMIT else None,
        "is_first": not before,
    }
    return site.render(request, "dead_letters.html", values, shown=shown)


async def dead_letter(site: "Site", request: "Request") -> "Response":
    """Return the page of one letter."""
    shown = site.shown(request)
    letter = await shown.queue.dead_letters.show(request.query_params.get("id", ""))
    values = {
        "letter": letter,
        "arguments": arguments_of(shown.queue, letter),
        "steps": steps_of_letter(letter),
    }
    return site.render(request, "dead_letter.html", values, shown=shown)
