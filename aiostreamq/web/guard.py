"""The guard of the dashboard: each request passes it before a page is made.

It decides about access, refuses requests that another site forged, and adds the headers that
keep a browser from running or loading anything that is not the dashboard's own.
"""

import inspect
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from aiostreamq.web.access import Access, is_local

if TYPE_CHECKING:
    from starlette.datastructures import MutableHeaders
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from aiostreamq.web.access import Authorize

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "same-origin",  # with "no-referrer" browsers send "Origin: null"
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

# The methods that change nothing.
_SAFE = {"GET", "HEAD"}

_NO_LOGIN = (
    "The dashboard has no login, so it answers only browsers on its own computer that call it "
    "by localhost. To open it to others: dashboard(queue, authorize=...), or "
    "aiostreamq dashboard --login."
)
_FORGED = "This request comes from another site, so nothing was done."

# The key of the Access in the scope of a request.
_KEY = "aiostreamq.access"


class Guard:
    """ASGI middleware that lets only allowed requests pass."""

    def __init__(self, app: "ASGIApp", authorize: "Authorize | None") -> None:
        self._app = app
        self._authorize = authorize

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                _add_headers(_headers_of(message))
            await send(message)

        scope = _with_path_as_sent(scope)
        request = Request(scope, receive)
        refusal = await self._refusal_of(request)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    async def _refusal_of(self, request: Request) -> "Response | None":
        access = await self._access_of(request)
        if access is None:
            challenge = getattr(self._authorize, "challenge", None)
            if challenge is not None:
                return PlainTextResponse("Log in.", 401, {"www-authenticate": challenge})
            text = _NO_LOGIN if self._authorize is None else "You may not see this dashboard."
            return PlainTextResponse(text, 403)
        request.scope[_KEY] = access
        if request.method not in _SAFE and is_forged(request):
            return PlainTextResponse(_FORGED, 403)
        return None

    async def _access_of(self, request: Request) -> Access | None:
        if self._authorize is None:
            return Access() if is_local(request) else None
        found = self._authorize(request)
        return await found if inspect.isawaitable(found) else found


def _with_path_as_sent(scope: "Scope") -> "Scope":
    """Return a scope whose path ends as the browser's does: Litestar adds a slash to it."""
    path, raw = scope["path"], scope.get("raw_path")
    if raw is None or path == "/" or not path.endswith("/") or raw.endswith(b"/"):
        return scope
    return {**scope, "path": path.rstrip("/")}


def access_of(request: Request) -> Access:
    """Return what a request may do. The guard has let it pass."""
    return cast("Access", request.scope[_KEY])


def is_forged(request: Request) -> bool:
    """Return whether another site made a browser send this request.

    Browsers send `Sec-Fetch-Site` over HTTPS and to localhost, and `Origin` with every POST. A
    request with neither is not of a browser.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host")


def _headers_of(message: "Message") -> "MutableHeaders":
    from starlette.datastructures import MutableHeaders

    return MutableHeaders(scope=message)


def _add_headers(headers: "MutableHeaders") -> None:
    for name, value in _HEADERS.items():
        headers[name] = value
    headers.setdefault("cache-control", "no-store")
