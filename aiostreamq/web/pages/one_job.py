"""One job: its state, why it waits, its arguments, and how it ended."""

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from starlette.exceptions import HTTPException

from aiostreamq.errors import JobNotFound
from aiostreamq.model.job_state import OPEN_STATES, JobState
from aiostreamq.web.arguments import arguments_of
from aiostreamq.web.waiting import why_it_waits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.responses import Response

    from aiostreamq.client.queue_client import QueueClient
    from aiostreamq.model.dead_letters import DeadLetter
    from aiostreamq.model.info import JobInfo
    from aiostreamq.web.site import Site


class Step(NamedTuple):
    """One step of the timeline of a job."""

    at: datetime | None
    kind: str  #: the state that it led to
    text: str
    detail: str = ""


async def one_job(site: "Site", request: "Request") -> "Response":
    """Return the page."""
    shown = site.shown(request)
    job_id = request.query_params.get("id", "")
    if not job_id:
        raise HTTPException(404, "Give the id of a job.")
    job, letter = await _find(shown.queue, job_id)
    reasons: list[str] = []
    if job.state in OPEN_STATES:
        info, workers = await shown.looks.info.get(), await shown.looks.workers.get()
        reasons = why_it_waits(job, info, workers)
    values = {
        "job": job,
        "letter": letter,
        "arguments": arguments_of(shown.queue, job),
        "reasons": reasons,
        "steps": steps_of(job, letter),
        "is_open": job.state in OPEN_STATES,
        "has_result": job.state is JobState.DONE,
    }
    return site.render(request, "job.html", values, shown=shown)


async def _find(queue: "QueueClient", job_id: str) -> "tuple[JobInfo, DeadLetter | None]":
    job = await queue.job(job_id).info()
    letter = None
    if job.dead_letter:
        try:
            letter = await queue.dead_letters.show(job.dead_letter)
        except JobNotFound:  # purged in between
            letter = None
    return job, letter


def steps_of(job: "JobInfo", letter: "DeadLetter | None") -> list[Step]:
    """Return what is known of the life of a job, oldest first."""
    steps: list[Step] = []
    if job.enqueued_at is not None:
        steps.append(Step(job.enqueued_at, "queued", "Enqueued"))
    return [*steps, *(_past(letter) if letter else ()), *_now(job)]


def steps_of_letter(letter: "DeadLetter") -> list[Step]:
    """Return what a dead letter says of the life of its job, oldest first."""
    steps = [*_past(letter)]
    if letter.queued_at is not None:
        number = f"attempt {letter.attempt}, delivery {letter.deliveries}"
        steps.append(Step(letter.queued_at, "queued", f"Came into lane {letter.lane}", number))
    state = str(letter.state).replace("_", " ")
    on = f"on {letter.worker}" if letter.worker else ""
    return [*steps, Step(letter.died_at, letter.state, f"Ended as {state}", on)]


def _past(letter: "DeadLetter") -> "Iterator[Step]":
    for past in letter.history:
        error = f"{past.error}: {past.message}".strip(": ")
        yield Step(past.died_at, past.state, f"Ended as {past.state}, replayed since", error)
    for victim in letter.victims:
        yield Step(None, "dead", "A worker died while it had the job", victim)


def _now(job: "JobInfo") -> list[Step]:
    number = f"attempt {job.attempt}" + (f", delivery {job.delivery}" if job.delivery > 1 else "")
    match job.state:
        case JobState.RUNNING:
            worker = f"on {job.worker}" if job.worker else ""
            return [Step(job.state_since, "running", f"Running, {number}", worker)]
        case JobState.QUEUED:
            return [Step(job.state_since, "queued", f"Waits in lane {job.lane}", number)]
        case JobState.DELAYED:
            return [Step(job.due, "delayed", f"Due for {number}")]
        case JobState.PARKED:
            return [Step(job.state_since, "parked", "Parked", number)]
        case _:
            steps: list[Step] = []
            if job.started_at is not None:
                steps.append(Step(job.started_at, "running", f"Started, {number}", job.worker))
            state = str(job.state).replace("_", " ")
            steps.append(Step(job.ended_at, job.state, f"Ended as {state}", job.error))
            return steps
