"""How fast does one process enqueue?

Gathered: ``await enqueue`` in 1,000 places at once, as in a busy web server.
Bulk: the library's call for many jobs, where it has one. No worker runs.
"""

from benchmarks.contestants import Contestant
from benchmarks.processes import ask
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server

GATHERED = 1000


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Enqueue both ways, each into an empty Redis."""
    gathered = ask(contestant, "gathered", server.url, jobs=jobs, batch=GATHERED)
    server.flush()
    many = ask(contestant, "many", server.url, jobs=jobs)
    return {"gathered": gathered["jobs_per_second"], "bulk": many.get("jobs_per_second")}


QUESTION = Question(
    name="enqueue",
    title="One process enqueues: 1,000 awaited enqueues at a time, and in bulk.",
    jobs=20_000,
    metrics=(
        metric("gathered", "gathered, jobs/s", more_is_better=True, compared=True),
        metric("bulk", "bulk, jobs/s", more_is_better=True, compared=True),
    ),
    measure=measure,
)

if __name__ == "__main__":
    main(QUESTION)
