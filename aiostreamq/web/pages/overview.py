"""The first page of a queue: how it does now, and what is wrong."""

from typing import TYPE_CHECKING

from aiostreamq.web.charts import FAILURES, ends_chart, latency_chart, peak_of, slowest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from aiostreamq.model.info import MinuteInfo, QueueInfo, WorkerInfo
    from aiostreamq.web.site import Site

# The time that charts cover, in minutes, by its name in the address.
_SPANS = {"1h": 60, "3h": 179}

# Lanes and tasks that are listed, the busiest first.
_MOST_ROWS = 30


async def overview(site: "Site", request: "Request") -> "Response":
    """Return the page."""
    shown = site.shown(request)
    span = request.query_params.get("span", "1h")
    minutes = (await shown.looks.history.get())[-_SPANS.get(span, 60) :]
    info = await shown.looks.info.get()
    workers = await shown.looks.workers.get()
    values = {
        "info": info,
        "span": span if span in _SPANS else "1h",
        "spans": tuple(_SPANS),
        "findings": await shown.looks.findings.get(),
        **_totals(info),
        **_charts(minutes),
        **_workers(workers),
    }
    return site.render(request, "overview.html", values, shown=shown)


def _totals(info: "QueueInfo") -> dict[str, object]:
    ended = sum(sum(task.ended.values()) for task in info.tasks)
    failed = sum(task.ended.get(state, 0) for task in info.tasks for state in FAILURES)
    tasks = sorted(info.tasks, key=lambda one: (-(one.rate + one.waiting + one.running), one.name))
    lanes = [lane for lane in info.lanes if lane.name != "returned" or lane.waiting + lane.running]
    return {
        "failed_share": failed / ended if ended else None,
        "tasks": tasks[:_MOST_ROWS],
        "more_tasks": max(0, len(tasks) - _MOST_ROWS),
        "failed_of": {t.name: sum(t.ended.get(state, 0) for state in FAILURES) for t in tasks},
        "lanes": lanes[:_MOST_ROWS],
        "more_lanes": max(0, len(lanes) - _MOST_ROWS),
        "most_waiting": max((lane.waiting for lane in lanes), default=0) or 1,
        "paused_lanes": {pause.lane for pause in info.paused if pause.lane},
        "paused_tasks": {pause.task for pause in info.paused if pause.task},
    }


def _charts(minutes: "Sequence[MinuteInfo]") -> dict[str, object]:
    runs = [minute.run_latency for minute in minutes]
    waits = [minute.wait_latency for minute in minutes]
    return {
        "ends": ends_chart(minutes),
        "peak": peak_of(minutes),
        "runs": latency_chart(runs),
        "slowest_run": slowest_of(runs),
        "waits": latency_chart(waits),
        "slowest_wait": slowest_of(waits),
        "since": minutes[0].at if minutes else None,
    }


def _workers(workers: "Sequence[WorkerInfo]") -> dict[str, object]:
    living = [worker for worker in workers if not worker.is_lost]
    return {
        "living": len(living),
        "lost": len(workers) - len(living),
        "slots": sum(worker.concurrency for worker in living),
        "busy": sum(worker.running for worker in living),
    }
