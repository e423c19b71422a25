"""Programs as users start them: each a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tests.support.waiting import wait_until
from tests.support.warm_start import ROOT, start_python

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


def environment(url: str | None = None) -> dict[str, str]:
    """Return the environment of a process whose queues are at *url*."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIOSTREAMQ_", "REDIS_"))}
    # The examples are found from the root. Where the package is installed from a wheel, the
    # root has no package of its own.
    added = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return kept | added | ({"AIOSTREAMQ_URL": url} if url else {})


@asynccontextmanager
async def running(
    *arguments: str, url: str, until: str, cwd: Path = ROOT, ends_with: int = 0
) -> AsyncGenerator[None, None]:
    """Run `python <arguments>` until the block ends, then end it as an operator does.

    Args:
        *arguments: What follows `python`.
        url: Where its queues are.
        until: What it says when it is ready.
        cwd: Where it runs.
        ends_with: The exit code after SIGTERM.

    Raises:
        AssertionError: It did not get ready, or ended with another exit code.
    """
    with tempfile.TemporaryFile() as log:
        output = log.fileno()
        process = start_python(
            arguments, stdout=output, stderr=output, environment=environment(url), where=cwd
        )

        def said() -> str:
            # Not seek and read: the position is shared with the process that writes.
            return os.pread(log.fileno(), 1_000_000, 0).decode(errors="replace")

        try:
            await wait_until(
                lambda: until in said() or process.poll() is not None,
                f"{arguments} to say {until!r}",
            )
            assert until in said(), f"{arguments} ended early:\n{said()}"
            yield
            process.send_signal(signal.SIGTERM)
            await wait_until(lambda: process.poll() is not None, f"{arguments} to end")
            assert process.returncode == ends_with, said()
        finally:
            process.kill()
            process.wait()


def worker(target: str, *, url: str, cwd: Path = ROOT) -> AbstractAsyncContextManager[None]:
    """Run a worker by the command line."""
    return running("-m", "aiostreamq", "run", target, url=url, until="tasks (", cwd=cwd)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
