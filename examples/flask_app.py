"""Jobs behind a web API, with Flask and the sync door.

export AIOSTREAMQ_URL=redis://localhost:6379
gunicorn --preload --workers 2 examples.flask_app:app    # the web server
python -m aiostreamq run examples.flask_app:queue        # in another shell: the worker

curl -d '{"text": "abba"}' -H 'content-type: application/json' localhost:8000/jobs
curl localhost:8000/jobs/<the id that it answered>

Each process that gunicorn forks makes its own connections, at its first call.
"""

from collections import Counter
from typing import Any, cast

from flask import Flask, request

from aiostreamq import (
    BlockingJob,
    BrokerError,
    JobError,
    JobNotFound,
    Queue,
    UsageError,
    WaitTimeout,
)

Answer = tuple[dict[str, Any], int]

queue = Queue(name="letters")  # at $AIOSTREAMQ_URL

WAIT = 10.0  # seconds that a request waits for its job at most


@queue.task(timeout="30s", result_ttl="10m")
def count_letters(text: str) -> dict[str, int]:
    """Return how often each letter is there."""
    letters = [letter for letter in text.lower() if letter.isalpha()]
    if not letters:
        raise ValueError("there are no letters in this text")
    return dict(Counter(letters))


app = Flask(__name__)


@app.post("/jobs")
def start() -> Answer:
    """Enqueue a job; return its id at once."""
    job = queue.sync.enqueue(count_letters, text_of_request())
    return {"id": job.id}, 202


@app.get("/jobs/<job_id>")
def show(job_id: str) -> Answer:
    """Show where a job stands, with its result if it is done."""
    job = cast("BlockingJob[dict[str, int]]", queue.sync.job(job_id))
    state = job.status()
    return {"id": job_id, "state": state, "counts": job.result() if state == "done" else None}, 200


@app.delete("/jobs/<job_id>")
def cancel(job_id: str) -> Answer:
    """Cancel a job; show the state that it was in."""
    return {"id": job_id, "state": queue.sync.job(job_id).cancel()}, 200


@app.post("/count")
def count() -> Answer:
    """Count the letters of a text: enqueue a job, and wait for it."""
    job = queue.sync.enqueue(count_letters, text_of_request())
    return {"id": job.id, "state": "done", "counts": job.result(timeout=WAIT)}, 200


def text_of_request() -> str:
    """Return the text that was sent.

    Raises:
        UsageError: There is none.
    """
    body: object = request.get_json(silent=True)
    text = cast("dict[str, object]", body).get("text") if isinstance(body, dict) else None
    if not isinstance(text, str):
        raise UsageError('send JSON with a text: {"text": "..."}')
    return text


@app.errorhandler(UsageError)
def refuse(error: UsageError) -> Answer:
    """Answer a request that is wrong."""
    return {"error": str(error)}, 400


@app.errorhandler(JobNotFound)
def not_found(error: JobNotFound) -> Answer:
    """Answer for a job that does not exist, or whose result has expired."""
    return {"error": str(error)}, 404


@app.errorhandler(JobError)
def failed(error: JobError) -> Answer:
    """Answer for a job that ended without a result."""
    return {"error": str(error)}, 422


@app.errorhandler(WaitTimeout)
def too_slow(error: WaitTimeout) -> Answer:
    """Answer for a job that takes longer than a request may."""
    return {"error": str(error)}, 504


@app.errorhandler(BrokerError)
def unavailable(error: BrokerError) -> Answer:
    """Answer while Redis cannot be reached."""
    return {"error": str(error)}, 503
