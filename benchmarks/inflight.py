"""How many round trips a second with 500 of them always under way?"""

from benchmarks.contestants import Contestant
from benchmarks.processes import Adapter, ask
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server

WINDOW = 500


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Keep the window full against a running worker."""
    with Adapter(contestant, "worker", server.url):
        timed = ask(contestant, "inflight", server.url, jobs=jobs, window=WINDOW)
    return {"jobs_per_second": timed["jobs_per_second"]}


QUESTION = Question(
    name="inflight",
    title="Round trips from enqueue to result, 500 in flight.",
    jobs=5_000,
    metrics=(metric("jobs_per_second", "jobs/s", more_is_better=True, compared=True),),
    measure=measure,
)

if __name__ == "__main__":
    main(QUESTION)
