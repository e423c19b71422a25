"""Run adapters as processes, read what they print, watch what they use."""

import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.contestants import Contestant
from benchmarks.environments import ROOT, python_of

#: No measurement takes this long; a contestant that hangs must not stop the run.
DEFAULT_TIMEOUT = 300.0

#: A worker with nothing left to do and no answer to SIGTERM is killed.
STOP_SECONDS = 10.0

# What would lead a contestant out of its own environment.
_UNWANTED = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYENV_VERSION"})


class ContestantFailed(Exception):
    """An adapter ended early, hung, or printed no answer."""


class Adapter:
    """One running adapter process. Leaving the context stops it."""

    def __init__(self, contestant: Contestant, command: str, url: str, **options: int) -> None:
        self._what = f"{contestant.name} {command}"
        words = [python_of(contestant), "-m", contestant.module, command, "--url", url]
        for name, value in options.items():
            words += (f"--{name}", str(value))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={key: value for key, value in os.environ.items() if key not in _UNWANTED},
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def answer(self, timeout: float = DEFAULT_TIMEOUT) -> dict[str, Any]:
        """Return the next JSON object it prints.

        Raises:
            ContestantFailed: It ended or *timeout* seconds passed first.
        """
        if (answer := self.poll_answer(timeout)) is None:
            raise ContestantFailed(f"{self._what}: no answer in time{self._last_words()}")
        return answer

    def poll_answer(self, timeout: float) -> dict[str, Any] | None:
        """Return the next JSON object it prints, None if *timeout* seconds pass first.

        Raises:
            ContestantFailed: It ended.
        """
        deadline = time.monotonic() + timeout
        while True:
            line, found, rest = self._unread.partition(b"\n")
            if not found:
                if not self._read(deadline - time.monotonic()):
                    return None
                continue
            self._unread = rest
            if line.startswith(b"{"):
                return json.loads(line)
            # Anything else is a library talking.

    def wait_ended(self) -> None:
        """Give it time to end by itself."""
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.stop()

    def stop(self) -> None:
        """Ask it to end, insist if it does not."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def peak_rss_bytes(self) -> int | None:
        """Return the most memory it ever held; None where /proc is missing."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        except OSError:
            return None
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def cpu_seconds(self) -> float | None:
        """Return the CPU time of all its threads; None where /proc is missing.

        From ``schedstat``, in nanoseconds: the ticks in ``stat`` are 10 ms, a
        sixth of what an idle worker may use in 20 s.
        """
        threads = Path(f"/proc/{self._process.pid}/task")
        try:
            stats = [
                (thread / "schedstat").read_text(encoding="ascii") for thread in threads.iterdir()
            ]
        except OSError:
            return None
        return sum(int(line.split()[0]) for line in stats) / 1e9

    def _read(self, timeout: float) -> bool:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], max(timeout, 0))[0]:
            return False
        if not (read := os.read(descriptor, 65536)):
            raise ContestantFailed(f"{self._what}: ended without an answer{self._last_words()}")
        self._unread += read
        return True

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f" ({lines[-1]})" if lines else ""


def ask(
    contestant: Contestant,
    command: str,
    url: str,
    timeout: float = DEFAULT_TIMEOUT,
    **options: int,
) -> dict[str, Any]:
    """Run an adapter to its answer and return it."""
    with Adapter(contestant, command, url, **options) as adapter:
        answer = adapter.answer(timeout)
        # It still has to disconnect; what comes next must not overlap with that.
        adapter.wait_ended()
        return answer
