"""The workers of a queue, and what they run."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aiostreamq.model.info import WorkerInfo
    from aiostreamq.web.site import Site

# Workers that are listed, and running jobs of each.
_MOST_WORKERS = 200
_MOST_JOBS = 20


async def workers(site: "Site", request: "Request") -> "Response":
    """Return the page."""
    shown = site.shown(request)
    found = sorted(await shown.looks.workers.get(), key=_order)
    living = [worker for worker in found if not worker.is_lost]
    values = {
        "workers": found[:_MOST_WORKERS],
        "more": max(0, len(found) - _MOST_WORKERS),
        "most_jobs": _MOST_JOBS,
        "living": len(living),
        "lost": len(found) - len(living),
        "slots": sum(worker.concurrency for worker in living),
        "busy": sum(worker.running for worker in living),
        "versions": sorted({worker.version for worker in living if worker.version}),
    }
    return site.render(request, "workers.html", values, shown=shown)


def _order(worker: "WorkerInfo") -> tuple[bool, str, str]:
    """Return the place of a worker: the lost last, the others by host and name."""
    return worker.is_lost, worker.host, worker.name
