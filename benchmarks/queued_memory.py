"""How much of Redis's memory does one queued job take?

The job has one argument, a text whose JSON list of arguments is 90 bytes.
"""

import time

from benchmarks.contestants import Contestant
from benchmarks.processes import ask
from benchmarks.report import Sample, metric
from benchmarks.rounds import Question, main
from benchmarks.server import Server

ARGUMENTS_BYTES = 90
TEXT = ARGUMENTS_BYTES - len('[""]')


def measure(server: Server, contestant: Contestant, jobs: int) -> Sample:
    """Compare the memory before and after, with the client gone both times."""
    # The first job makes the keys, groups and scripts that all jobs share.
    ask(contestant, "fill", server.url, jobs=1, text=TEXT)
    before = _settled_memory(server)
    ask(contestant, "fill", server.url, jobs=jobs, text=TEXT)
    return {"bytes": (_settled_memory(server) - before) / jobs}


def _settled_memory(server: Server) -> int:
    # Redis frees the buffers of a closed connection a moment later.
    time.sleep(0.5)
    return server.snapshot().used_memory


QUESTION = Question(
    name="queued_memory",
    title="Redis memory for one queued job with 90 bytes of arguments.",
    jobs=20_000,
    metrics=(metric("bytes", "bytes/job", compared=True),),
    measure=measure,
)

if __name__ == "__main__":
    main(QUESTION)
