"""How long from ``await enqueue`` to the result, one job after the other?

The worker is started first and has answered 200 jobs before the clock starts.
streaQ, whose round trip takes 100 ms, makes 100 of them and not 2,000.
"""

from benchmarks.contestants import Contestant
from benchmarks.processes import Adapter, ask
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server

#: Their round trip takes 100 ms whatever the machine: fewer tell as much.
SLOW = frozenset({"streaq"})
FEWER = 100


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Make round trips against a running worker."""
    if contestant.name in SLOW:
        jobs = min(jobs, FEWER)
    with Adapter(contestant, "worker", server.url):
        timed = ask(contestant, "roundtrip", server.url, jobs=jobs)
    return {"p50_ms": timed["p50_ms"], "p99_ms": timed["p99_ms"]}


QUESTION = Question(
    name="roundtrip",
    title="Sequential round trips from enqueue to result, against an idle worker.",
    jobs=2_000,
    metrics=(
        metric("p50_ms", "p50, ms", compared=True, digits=2),
        metric("p99_ms", "p99, ms", compared=True, digits=2),
    ),
    measure=measure,
)

if __name__ == "__main__":
    main(QUESTION)
