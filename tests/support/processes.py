"""Programs that a test starts, listens to, and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.waiting import PATIENCE
from tests.support.warm_start import ROOT, Fork, can_fork

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Program:
    """A Python program as a process of its own, killed at the end if it still runs.

    Args:
        arguments: Of the interpreter, such as `"-m", "aiostreamq"`.
        send: What it finds on its standard input.
        where: Its working directory.
        environment: All of its environment variables; None is this process's own.
    """

    def __init__(
        self,
        *arguments: str,
        send: str = "",
        where: Path = ROOT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.lines: list[str] = []  #: what it has printed, on both outputs
        self._arguments = arguments
        self._send = send
        self._where = where
        self._environment = environment
        self._process: asyncio.subprocess.Process | _ForkedProcess | None = None
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs, be it stopped."""
        return self._process is not None and self._process.returncode is None

    @property
    def printed(self) -> str:
        """All that it has printed so far."""
        return "\n".join(self.lines)

    async def wait_for_line(self, part: str) -> str:
        """Return the first line that holds *part*, as soon as it is there."""
        try:
            async with asyncio.timeout(PATIENCE), self._news:
                while True:
                    for line in self.lines:
                        if part in line:
                            return line
                    assert self._reading is not None
                    assert not self._reading.done(), f"it ended without {part!r}:\n{self.printed}"
                    await self._news.wait()
        except TimeoutError:
            msg = f"no line with {part!r} within {PATIENCE:g} s:\n{self.printed}"
            raise AssertionError(msg) from None

    def send_signal(self, sign: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(sign)

    async def wait_end(self) -> int:
        """Return its exit code, as soon as it has ended."""
        assert self._process is not None
        assert self._reading is not None
        try:
            async with asyncio.timeout(PATIENCE):
                await self._reading
                return await self._process.wait()
        except TimeoutError:
            msg = f"it did not end within {PATIENCE:g} s:\n{self.printed}"
            raise AssertionError(msg) from None

    async def __aenter__(self) -> Self:
        """Start it."""
        environment = os.environ if self._environment is None else self._environment
        # A fork has imported the package from here.
        is_of_here = self._where == ROOT or not (self._where / "aiostreamq").exists()
        can = is_of_here and can_fork(self._arguments, environment)
        start = _forked if can else _executed
        self._process = await start(self._arguments, self._send, self._where, environment)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        assert self._reading is not None
        await self._reading

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._news:
                self.lines.append(line.decode().rstrip("\n"))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()


class _ForkedProcess:
    """A fork with the methods of `asyncio.subprocess.Process` that `Program` needs.

    Args:
        fork: The process.
        stdout: What it prints.
        pipe: Through which that comes.
    """

    def __init__(
        self, fork: Fork, stdout: asyncio.StreamReader, pipe: asyncio.ReadTransport
    ) -> None:
        self.pid = fork.pid
        self.stdout = stdout
        self.send_signal = fork.send_signal
        self.kill = fork.kill
        self._fork = fork
        self._pipe = pipe

    @property
    def returncode(self) -> int | None:
        return self._fork.poll()

    async def wait(self) -> int:
        if self._fork.poll() is None:
            loop = asyncio.get_running_loop()
            ended, fd = asyncio.Event(), self._fork.fileno()
            loop.add_reader(fd, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(fd)
        self._pipe.close()
        return self._fork.wait()


async def _forked(
    arguments: Sequence[str], send: str, where: Path, environment: Mapping[str, str]
) -> _ForkedProcess:
    """Start a program in a fork."""
    loop = asyncio.get_running_loop()
    ours, theirs = os.pipe()
    with tempfile.TemporaryFile() as stdin, os.fdopen(theirs, "wb") as stdout:
        stdin.write(send.encode())
        stdin.seek(0)
        fork = Fork(
            arguments,
            stdin=stdin.fileno(),
            stdout=stdout.fileno(),
            stderr=stdout.fileno(),
            environment=environment,
            where=where,
        )
    printed = asyncio.StreamReader()
    output = os.fdopen(ours, "rb")
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(printed), output)
    return _ForkedProcess(fork, printed, pipe)


async def _executed(
    arguments: Sequence[str], send: str, where: Path, environment: Mapping[str, str]
) -> asyncio.subprocess.Process:
    """Start a program in an interpreter of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=where,
        env=environment,
    )
    assert process.stdin is not None
    process.stdin.write(send.encode())
    process.stdin.close()
    return process


def worker_program(
    url: str,
    *options: str,
    target: str = "tests.support.jobs:queue",
    environment: Mapping[str, str] | None = None,
    where: Path = ROOT,
) -> Program:
    """Return `python -m aiostreamq run`, not started yet; with no *url*, the queue knows where."""
    server = ["--url", url] if url else []
    command = ["-m", "aiostreamq", "run", target, *server, *options]
    return Program(*command, environment=environment, where=where)
