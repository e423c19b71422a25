"""The site: the queues of a dashboard, and how its pages are rendered."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse

from aiostreamq import __version__
from aiostreamq.errors import UsageError
from aiostreamq.web.cached import Looks
from aiostreamq.web.guard import access_of
from aiostreamq.web.notices import notice_of
from aiostreamq.web.rendering import Assets, make_environment

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aiostreamq.client.queue_client import QueueClient


class Shown(NamedTuple):
    """A queue of the dashboard."""

    slug: str  #: its name in addresses
    queue: "QueueClient"
    looks: Looks


class Site:
    """The queues of one dashboard, and the rendering of its pages."""

    def __init__(self, queues: "Sequence[QueueClient]", *, write: bool) -> None:
        """Prepare the pages.

        Raises:
            UsageError: There are no queues, or the same one twice.
        """
        if not queues:
            raise UsageError("dashboard() needs a queue: dashboard(queue)")
        if len(set(map(id, queues))) < len(queues):
            raise UsageError("dashboard() was given the same queue twice")
        self.write = write
        self.assets = Assets()
        self._templates = make_environment()
        self.queues: dict[str, Shown] = {}
        for queue in queues:
            slug, number = queue.name, 2
            while slug in self.queues:  # queues of two Redis may have one name
                slug, number = f"{queue.name}-{number}", number + 1
            self.queues[slug] = Shown(slug, queue, Looks(queue))

    def shown(self, request: "Request") -> Shown:
        """Return the queue that a request is about.

        Raises:
            HTTPException: 404 if there is none of that name.
        """
        slug = str(request.path_params["queue"])
        if slug not in self.queues:
            raise HTTPException(404, f"This dashboard has no queue {slug!r}.")
        return self.queues[slug]

    def may_write(self, request: "Request") -> bool:
        """Return whether a request may change a queue."""
        return self.write and access_of(request).write

    def render(
        self,
        request: "Request",
        template: str,
        values: Mapping[str, object],
        *,
        shown: Shown | None = None,
        status: int = 200,
    ) -> "Response":
        """Return a page, or the part of it that the request asks for."""
        part = request.query_params.get("part")
        if part is not None and f"_{part}.html" in self._templates.list_templates():
            template = f"_{part}.html"
        base = base_of(request)
        page = {
            "base": base,
            "home": f"{base}q/{shown.slug}/" if shown else base,
            "here": request.url.path.rpartition("/")[2] or "./",
            "version": __version__,
            "assets": f"{base}static/{self.assets.version}/",
            "queues": tuple(self.queues.values()),
            "shown": shown,
            "user": access_of(request).user,
            "may_write": self.may_write(request),
            "notice": notice_of(request.query_params),
            "back": back_to(request),
            "is_part": part is not None,
            **values,
        }
        text = self._templates.get_template(template).render(page)
        return HTMLResponse(text, status)


def base_of(request: "Request") -> str:
    """Return the relative address of the root of the dashboard.

    It is counted from the page, so that it is right under any mount and behind any proxy.
    """
    return "../" * (_path_of(request).count("/") - 1) or "./"


def back_to(request: "Request") -> str:
    """Return the address of this page from the root of the dashboard, to come back to."""
    left = [(name, one) for name, one in request.query_params.multi_items() if name != "part"]
    kept = request.url.remove_query_params("part").query if left else ""
    return _path_of(request).lstrip("/") + (f"?{kept}" if kept else "")


def redirect_back(request: "Request", back: str, notice: str) -> "Response":
    """Return a redirect to a page of the dashboard that *back* names, with a notice.

    A `back` that leads elsewhere leads to the root.
    """
    path, _, query = back.partition("?")
    if path.startswith(("/", "\\")) or ":" in path or ".." in path:
        path, query = "", ""
    kept = "&".join(one for one in query.split("&") if one and not one.startswith(("did=", "n=")))
    address = f"{base_of(request)}{path}?{kept}{'&' if kept else ''}{notice}"
    return RedirectResponse(address, 303)


def mount_of(request: "Request") -> str:
    """Return the path of the root of the dashboard, for a request of the root.

    The path that the browser sent says it, whether or not the application sets a root path.
    """
    raw = request.scope.get("raw_path")
    path = request.scope.get("root_path", "") if raw is None else raw.decode("ascii", "replace")
    return str(path).partition("?")[0].rstrip("/")


def has_slash(request: "Request") -> bool:
    """Return whether the path that the browser sent ends with a slash."""
    raw: bytes = request.scope.get("raw_path") or b"/"
    return raw.partition(b"?")[0].endswith(b"/")


def _path_of(request: "Request") -> str:
    path: str = request.scope["path"]
    root: str = request.scope.get("root_path", "")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path
