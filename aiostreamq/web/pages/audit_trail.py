"""The audit trail: who did what to the queue by the dashboard."""

from typing import TYPE_CHECKING

from aiostreamq.client.audit import newest_actions

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aiostreamq.web.site import Site

# Actions that are shown.
_LIMIT = 200


async def audit_trail(site: "Site", request: "Request") -> "Response":
    """Return the page.

    It is there also while the dashboard is read-only: earlier actions are of interest to all.
    """
    shown = site.shown(request)
    actions = await newest_actions(shown.queue, _LIMIT)
    values: dict[str, object] = {
        "actions": actions,
        "limit": _LIMIT,
        "is_cut": len(actions) >= _LIMIT,
    }
    return site.render(request, "audit.html", values, shown=shown)
