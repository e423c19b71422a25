"""Count the tokens of Python's own standard library, one job a file.

In one process, in memory, with nothing installed but aiostreamq:

    python examples/index_stdlib.py

With a Redis and workers of their own, as many as you like:

    export AIOSTREAMQ_URL=redis://localhost:6379
    python -m aiostreamq run examples.index_stdlib:queue
    python examples/index_stdlib.py --url $AIOSTREAMQ_URL --no-worker

The workers read the files themselves, so they run on the same machine. A file
that does not tokenize (a few of the standard library's tests are wrong on
purpose) is a failed job, and is reported as such.

At the end everything is counted once more without a queue. The exit code is 1
if that gives anything else.
"""

import argparse
import asyncio
import platform
import sys
import sysconfig
import time
import tokenize
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from aiostreamq import Job, JobFailed, Queue, Worker

# Bytes. The few larger files are mostly tests, and would take most of the time.
LARGEST = 24 * 1024

# Tokenizing keeps the interpreter busy; more threads would only get in each other's way.
THREADS = 2

queue = Queue(name="stdlib")  # $AIOSTREAMQ_URL, unless --url says otherwise


@queue.task(timeout="1m", result_ttl="10m")
def count_tokens(path: str) -> dict[str, int]:
    """Return how many tokens of each kind a Python file has.

    A plain `def`, because this is work for a processor: a worker runs it in a thread.
    """
    with Path(path).open("rb") as file:  # tokenize finds the encoding itself
        kinds = Counter(token.type for token in tokenize.tokenize(file.readline))
    return {tokenize.tok_name[kind]: count for kind, count in kinds.items()}


@dataclass
class Index:
    """What was counted in all files."""

    tokens: Counter[str] = field(default_factory=Counter[str])
    broken: dict[str, str] = field(default_factory=dict[str, str])  # path: type of its error


class Progress:
    """A bar on a terminal; nothing anywhere else."""

    WIDTH = 40

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._is_shown = sys.stderr.isatty()

    def advance(self) -> None:
        """One more is done."""
        self._done += 1
        if self._is_shown:
            filled = self.WIDTH * self._done // self._total
            bar = "#" * filled + "." * (self.WIDTH - filled)
            end = "\n" if self._done == self._total else ""
            print(f"\r[{bar}] {self._done}/{self._total}", end=end, file=sys.stderr, flush=True)


def find_files(*, limit: int | None = None, largest: int | None = LARGEST) -> list[str]:
    """Return the Python files of the standard library, without what was installed beside it."""
    root = Path(sysconfig.get_path("stdlib"))
    installed = {"site-packages", "dist-packages"}
    files = [
        str(path)
        for path in sorted(root.rglob("*.py"))
        if installed.isdisjoint(path.parts) and path.is_file()
        if largest is None or path.stat().st_size <= largest
    ]
    return files[:limit]


async def count_by_jobs(files: Sequence[str]) -> Index:
    """Count with one job a file, and await them all."""
    index = Index()
    progress = Progress(len(files))

    async def take(path: str, job: Job[dict[str, int]]) -> None:
        try:
            index.tokens.update(await job)
        except JobFailed as error:
            index.broken[path] = error.type
        progress.advance()

    jobs = await queue.enqueue_many(count_tokens.bind(path) for path in files)
    await asyncio.gather(*map(take, files, jobs))
    return index


def count_directly(files: Iterable[str]) -> Index:
    """Count in a loop. The task is an ordinary function still."""
    index = Index()
    for path in files:
        try:
            index.tokens.update(count_tokens(path))
        except (SyntaxError, UnicodeDecodeError, tokenize.TokenError) as error:
            index.broken[path] = name_of(type(error))
    return index


def name_of(kind: type[Exception]) -> str:
    """Return what `JobFailed.type` calls an exception."""
    is_builtin = kind.__module__ == "builtins"
    return kind.__qualname__ if is_builtin else f"{kind.__module__}.{kind.__qualname__}"


async def run(files: Sequence[str], *, url: str, has_worker: bool) -> int:
    """Index *files*, print what came of it, and return the exit code."""
    queue.use_url(url)
    version = platform.python_version()
    where = url.partition("://")[0]  # the rest may hold a password
    print(f"Indexing {len(files):,} files of Python {version}'s standard library over {where}://")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(queue)
        if has_worker:
            await stack.enter_async_context(Worker(queue, concurrency=10, threads=THREADS))
        started = time.perf_counter()
        index = await count_by_jobs(files)
        elapsed = time.perf_counter() - started

    for kind, count in index.tokens.most_common():
        print(f"  {kind:<12} {count:>10,}")
    for path, kind in sorted(index.broken.items()):
        print(f"  does not tokenize ({kind}): {Path(path).name}")
    print(f"{len(files):,} jobs in {elapsed:.1f} s: {len(files) / elapsed:,.0f} files a second")

    if index != count_directly(files):
        print("WRONG: a direct count gives other totals")
        return 1
    print(f"A direct count gives the same totals: {index.tokens.total():,} tokens")
    return 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Index the standard library, one job a file.")
    parser.add_argument("--url", default="memory://", help="the Redis to use (default: memory://)")
    parser.add_argument(
        "--no-worker", action="store_true", help="leave the work to workers in other processes"
    )
    parser.add_argument("--limit", type=int, help="at most so many files")
    parser.add_argument("--all", action="store_true", help="the large files too")
    told = parser.parse_args()
    if told.no_worker and told.url.startswith("memory://"):
        parser.error("no other process can reach memory://: give --url redis://... too")
    files = find_files(limit=told.limit, largest=None if told.all else LARGEST)
    return asyncio.run(run(files, url=told.url, has_worker=not told.no_worker))


if __name__ == "__main__":
    sys.exit(main())
