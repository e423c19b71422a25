"""Worker processes that can be killed, stopped, continued, ended and replaced."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.chaos.rhythm import pause
from tests.chaos.scale import sized
from tests.support.processes import Program, worker_program
from tests.support.warm_start import ROOT

#: The floor, so that recovery is quick.
LEASE = 1.0

#: What is added to the options where no worker dies: a loaded machine may hold a living one up
#: for longer than the floor, and that would be a fault of its own.
PATIENT = ("--lease", "10")

#: Seconds beyond what is promised that a machine may add; the short form runs beside other tests.
SLACK = sized(short=10.0, long=1.0)

APP = "tests.chaos.app:queue"

#: What the last line of a worker's banner begins with: it has connected, and begins to read.
READY = "  tasks ("


#: How the lines begin that tell the end of a job whose task has failed.
JOB_ENDS = ("job failed with ", "job ran past its timeout", "job was given up by its task")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was done to a worker process."""

    pid: int
    at: float  #: on the monotonic clock


class Fleet:
    """The worker processes of a scenario. All that still runs is killed at the end.

    Args:
        url: Of the Redis, or of a proxy before it.
        environment: What the processes are told beside their own environment, such as the
            ledger's.
        options: Of the command line, beside `--url` and `--lease`.
    """

    def __init__(self, url: str, environment: Mapping[str, str], *options: str) -> None:
        self.url = url
        self.options = ["--lease", f"{LEASE:g}", *options]
        self.living: list[Program] = []  #: in the order of their start; stopped ones included
        self.all: list[Program] = []  #: those that have ended too
        self._environment = {**os.environ, **environment}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def start(
        self, count: int = 1, *, app: str = APP, url: str = "", tree: Path = ROOT
    ) -> list[Program]:
        """Start workers, and return them when all have connected.

        With another *tree*, they run the package and the tests that are there.
        """
        programs = [
            worker_program(
                url or self.url,
                *self.options,
                target=app,
                environment=self._environment,
                where=tree,
            )
            for _ in range(count)
        ]
        for program in programs:
            await self._stack.enter_async_context(program)
        self.living += programs
        self.all += programs
        await asyncio.gather(*(program.wait_for_line(READY) for program in programs))
        return programs

    async def kill(self, worker: Program) -> Fault:
        """End a worker as a power cut does."""
        fault = Fault(worker.pid, time.monotonic())
        worker.send_signal(signal.SIGKILL)
        await worker.wait_end()
        self.living.remove(worker)
        return fault

    def stop(self, worker: Program) -> Fault:
        """Freeze a worker: it keeps its connections and does nothing."""
        worker.send_signal(signal.SIGSTOP)
        return Fault(worker.pid, time.monotonic())

    def go_on(self, worker: Program) -> None:
        """Let a frozen worker continue where it was."""
        worker.send_signal(signal.SIGCONT)

    async def terminate(self, worker: Program) -> int:
        """Ask a worker to end as a deploy does; returns its exit code."""
        worker.send_signal(signal.SIGTERM)
        code = await worker.wait_end()
        self.living.remove(worker)
        return code

    async def keep_up(self) -> None:
        """Start a worker for each that ends by itself, until cancelled."""
        while True:
            gone = [worker for worker in self.living if not worker.is_alive]
            self.living = [worker for worker in self.living if worker.is_alive]
            await self.start(len(gone))
            await pause(0.05)

    async def dismiss(self) -> list[int]:
        """Ask all workers to end; returns their exit codes."""
        return await asyncio.gather(*(self.terminate(worker) for worker in list(self.living)))

    def names(self) -> set[str]:
        """Return the names under which the living have started.

        One that was taken for dead goes on under a name that it does not print.
        """
        found = [re.search(r"^  worker +(\S+),", one.printed, re.MULTILINE) for one in self.living]
        return {name[1] for name in found if name}

    def lines_with(self, part: str) -> list[str]:
        """Return what all workers have printed that holds *part*."""
        return [line for program in self.all for line in program.lines if part in line]

    @property
    def taken_for_dead(self) -> int:
        """How often one that lived was taken for dead."""
        return len(self.lines_with("was taken for dead"))

    def errors(self, *allowed: str) -> list[str]:
        """Return what all workers have logged as errors of their own, but for what is allowed.

        That a job failed is an error of its task.
        """
        found: list[str] = []
        for program in self.all:
            before = ""
            for line in program.lines:
                is_error = any(mark in line for mark in (" ERROR ", " CRITICAL ", "Traceback"))
                is_of_job = any(end in f"{before}\n{line}" for end in JOB_ENDS)
                if is_error and not is_of_job and not any(part in line for part in allowed):
                    found.append(line)
                before = line
        return found
