"""`dashboard`: the application, its routes and its errors."""

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from aiostreamq.errors import AioStreamQError, JobNotFound, UsageError
from aiostreamq.web.actions import act
from aiostreamq.web.bulk import act_on_all, confirm
from aiostreamq.web.guard import Guard
from aiostreamq.web.pages.audit_trail import audit_trail
from aiostreamq.web.pages.dead_letters import dead_letter, dead_letters
from aiostreamq.web.pages.jobs import jobs
from aiostreamq.web.pages.one_job import one_job
from aiostreamq.web.pages.overview import overview
from aiostreamq.web.pages.schedules import schedules
from aiostreamq.web.pages.workers import workers
from aiostreamq.web.site import Site, base_of, has_slash, mount_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.web.access import Authorize

    Page = Callable[[Site, Request], Awaitable[Response]]

# How long browsers keep static files: their addresses change with them.
_FOREVER = "public, max-age=31536000, immutable"

_PAGES: "dict[str, Page]" = {
    "/q/{queue}/": overview,
    "/q/{queue}/jobs/{state}": jobs,
    "/q/{queue}/job": one_job,
    "/q/{queue}/workers": workers,
    "/q/{queue}/schedules": schedules,
    "/q/{queue}/dead-letters": dead_letters,
    "/q/{queue}/dead-letter": dead_letter,
    "/q/{queue}/audit": audit_trail,
}


def dashboard(
    *queues: "QueueClient", write: bool = False, authorize: "Authorize | None" = None
) -> Starlette:
    """Return the dashboard of some queues: an ASGI application, to be mounted or served.

    As in `app.mount("/queue", dashboard(queue))`. Queues that are not open are opened by the
    first request.

    Args:
        *queues: The queues.
        write: Whether users may cancel, replay, pause and trigger. Each action is noted in the
            audit trail of the queue.
        authorize: Called with each request; returns its `Access`, or None to refuse it. It may
            be a coroutine function. Without it, only browsers on the same computer are answered,
            which call the dashboard by localhost.

    Raises:
        UsageError: There are no queues, or the same one twice.
    """
    site = Site(queues, write=write)
    app = Starlette(
        routes=[
            Route("/", _root_of(site)),
            Route("/q/{queue}", _add_slash),
            Route("/static/{version}/{name}", _static_of(site)),
            *(Route(path, _handler(site, page)) for path, page in _PAGES.items()),
            Route("/q/{queue}/do/{action}", _handler(site, act), methods=["POST"]),
            Route("/q/{queue}/bulk/{state}", _handler(site, confirm)),
            Route("/q/{queue}/bulk/{state}", _handler(site, act_on_all), methods=["POST"]),
        ],
        middleware=[Middleware(Guard, authorize=authorize)],
        exception_handlers={
            HTTPException: _error_handler(site),
            AioStreamQError: _error_handler(site),
        },
    )
    app.router.redirect_slashes = False  # it would redirect to an address without the mount
    return app


def _handler(site: Site, page: "Page") -> "Callable[[Request], Awaitable[Response]]":
    async def handle(request: "Request") -> Response:
        return await page(site, request)

    return handle


def _root_of(site: Site) -> "Callable[[Request], Awaitable[Response]]":
    async def root(request: "Request") -> Response:
        if len(site.queues) == 1:
            (slug,) = site.queues
            return RedirectResponse(f"{mount_of(request)}/q/{slug}/", 303)
        if not has_slash(request):  # without it, relative addresses lead elsewhere
            return RedirectResponse(f"{mount_of(request)}/", 303)
        found = [(one, await one.looks.info.get()) for one in site.queues.values()]
        return site.render(request, "queues.html", {"found": found})

    return root


async def _add_slash(request: "Request") -> Response:
    return RedirectResponse(f"./{request.path_params['queue']}/", 303)


def _static_of(site: Site) -> "Callable[[Request], Awaitable[Response]]":
    async def static(request: "Request") -> Response:
        found = site.assets.files.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("There is no such file.", 404)
        headers = {"cache-control": _FOREVER}
        return Response(found.body, headers=headers, media_type=found.media_type)

    return static


def _error_handler(site: Site) -> "Callable[[Request, Exception], Awaitable[Response]]":
    async def handle(request: "Request", error: Exception) -> Response:
        status, text = _as_answer(error)
        if request.query_params.get("part"):  # the page keeps what it has
            return PlainTextResponse(text, status)
        slug = request.path_params.get("queue")
        shown = site.queues.get(slug) if isinstance(slug, str) else None
        values = {"status": status, "text": text, "root": base_of(request)}
        return site.render(request, "error.html", values, shown=shown, status=status)

    return handle


def _as_answer(error: Exception) -> tuple[int, str]:
    match error:
        case HTTPException():
            return error.status_code, error.detail
        case JobNotFound():
            return 404, str(error)
        case UsageError():
            return 400, str(error)
        case _:
            return 503, str(error)
