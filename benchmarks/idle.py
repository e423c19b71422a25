"""What does a worker cost that has nothing to do?"""

import time

from benchmarks.contestants import FLOOR, OURS, Contestant
from benchmarks.processes import Adapter, ask
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server

SECONDS = 20.0

#: Time for what follows the last job: group commits, prefetch, backing off.
QUIET_SECONDS = 2.0


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Let a worker do some jobs, then watch it do nothing."""
    with Adapter(contestant, "worker", server.url) as worker:
        ask(contestant, "roundtrip", server.url, jobs=jobs)
        time.sleep(QUIET_SECONDS)
        before, cpu_before = server.snapshot(), worker.cpu_seconds()
        time.sleep(SECONDS)
        spent, cpu_after = server.snapshot() - before, worker.cpu_seconds()
    cpu = None if cpu_before is None or cpu_after is None else cpu_after - cpu_before
    return {
        "commands_per_second": spent.commands / spent.when,
        "core_percent": None if cpu is None else 100 * cpu / spent.when,
        "redis_core_percent": 100 * spent.cpu_seconds / spent.when,
    }


QUESTION = Question(
    name="idle",
    title="An idle worker, watched for 20 s.",
    jobs=50,
    metrics=(
        metric("commands_per_second", "Redis commands/s", digits=2),
        metric("core_percent", "worker, % of a core", digits=3),
        metric("redis_core_percent", "Redis, % of a core", digits=3),
    ),
    measure=measure,
    contestants=(FLOOR, OURS),
)

if __name__ == "__main__":
    main(QUESTION)
