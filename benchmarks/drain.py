"""How fast does one worker process empty a full queue, and what does that cost?

All jobs are queued before the worker starts. The clock runs inside the worker,
from the first task body to the last. The counters of Redis run on until every
result is stored, so work that is put off is still paid for.

Two columns count round trips. ``socket reads`` is Redis's own count of reads
from sockets: one per command or pipeline, more for a pipeline longer than a
read, so never fewer than the round trips. ``calls`` counts the commands that
only a client can send (EVALSHA, FCALL, XREADGROUP, BLPOP ...); it is given for
the contestants that send nothing else.
"""

from benchmarks.contestants import Contestant
from benchmarks.processes import Adapter, ask
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Fill the queue, start a worker, wait until all is settled."""
    ask(contestant, "fill", server.url, jobs=jobs)
    before = server.snapshot()
    with Adapter(contestant, "worker", server.url, jobs=jobs) as worker:
        drained = worker.answer()
        spent = server.wait_settled(contestant.results, jobs) - before
        peak = worker.peak_rss_bytes() or drained["peak_rss_bytes"]
    return {
        "jobs_per_second": (jobs - 1) / (drained["last"] - drained["first"]),
        "worker_peak_mb": peak / 1e6,
        "worker_cpu_us": 1e6 * drained["cpu_seconds"] / jobs,
        "redis_cpu_us": 1e6 * spent.cpu_seconds / jobs,
        "commands": spent.commands / jobs,
        "socket_reads": spent.socket_reads / jobs,
        "client_calls": spent.client_calls / jobs if contestant.is_scripted else None,
    }


QUESTION = Question(
    name="drain",
    title="One worker process drains a full queue of no-op jobs, concurrency 100, results stored.",
    jobs=20_000,
    metrics=(
        metric("jobs_per_second", "jobs/s", more_is_better=True, compared=True),
        metric("worker_peak_mb", "worker's peak, MB", digits=1),
        metric("worker_cpu_us", "worker CPU, µs/job"),
        metric("redis_cpu_us", "Redis CPU, µs/job"),
        metric("commands", "commands/job", digits=1),
        metric("socket_reads", "socket reads/job", digits=3),
        metric("client_calls", "calls/job", digits=3),
    ),
    measure=measure,
)

if __name__ == "__main__":
    main(QUESTION)
