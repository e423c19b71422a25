"""Do the results of 20,000 jobs awaited at once all arrive, on how many connections?

The client enqueues and awaits everything first; the worker starts only then, so
all the jobs are awaited at the same moment. Worker and client log in under their
own names, and CLIENT LIST counts the connections of each until the last result.
"""

import time

from benchmarks.contestants import FLOOR, OURS, Contestant
from benchmarks.processes import Adapter, ContestantFailed
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server

#: Time for one answer from the client between two counts.
COUNT_EVERY = 0.05
PATIENCE = 120.0


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Count connections from before the worker starts until all has arrived."""
    server.allow_users()
    with Adapter(contestant, "awaits", server.url_for("client"), jobs=jobs) as client:
        client.answer()
        most = server.connections()
        started = time.perf_counter()
        with Adapter(contestant, "worker", server.url_for("worker")):
            while (arrived := client.poll_answer(COUNT_EVERY)) is None:
                for user, count in server.connections().items():
                    most[user] = max(most[user], count)
                if time.perf_counter() - started > PATIENCE:
                    raise ContestantFailed(f"{contestant.name}: results are missing")
    return {
        "arrived": arrived["arrived"],
        "seconds": time.perf_counter() - started,
        "client_connections": most["client"],
        "worker_connections": most["worker"],
    }


QUESTION = Question(
    name="awaits",
    title="All results awaited at once in one process.",
    jobs=20_000,
    metrics=(
        metric("arrived", "arrived", more_is_better=True),
        metric("client_connections", "client's connections"),
        metric("worker_connections", "worker's connections"),
        metric("seconds", "seconds, worker's start included", digits=2),
    ),
    measure=measure,
    contestants=(FLOOR, OURS),
)

if __name__ == "__main__":
    main(QUESTION)
