"""A process that awaits jobs: `python -m tests.support.awaiter URL NAME`, ids on standard input.

Prints `ready` once it awaits, then the results as JSON.
"""

import asyncio
import json
import sys

from aiostreamq import Queue


async def main(url: str, name: str, ids: list[str]) -> None:
    """Await all jobs."""
    async with Queue(url, name=name) as queue:
        waiting = [asyncio.ensure_future(queue.job(job_id).result()) for job_id in ids]
        print("ready", flush=True)  # noqa: T201  # this is what it is for
        results = await asyncio.gather(*waiting)
        print(json.dumps(results), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.stdin.read().split()))
