"""Where `def` tasks of `executor="process"` run: in processes that can be killed.

Children of our own rather than anyio's: those hide how they died, throw away what
a task prints, lend their own standard input and output to the programs that a task
starts, and see that the worker died only when their task has ended.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from aiostreamq.aio.own_tasks import spawn
from aiostreamq.errors import ProcessDied
from aiostreamq.logs import get_logger
from aiostreamq.model import verdict
from aiostreamq.model.exception_names import Kinds
from aiostreamq.model.outcome import Failure, RemoteException
from aiostreamq.signals_and_forks import no_fork
from aiostreamq.worker.run import process_main as child_program
from aiostreamq.worker.run.python_command import interpreter

if TYPE_CHECKING:
    from aiostreamq.model.envelope import Envelope
    from aiostreamq.model.task import TaskSpec

logger = get_logger("aiostreamq.worker")

# Seconds that an idle child gets to end by itself when the worker ends, if it holds no lifespans.
CLOSING_TIME = 1.0


class TaskProcess:
    """One process, and the way to talk to it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        # Its end is not seen by the socket alone: what its task has forked may hold that open.
        self._watch = spawn(self._wait_end(), "aiostreamq:child")

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked for something."""
        return not self._watch.done() and not self._reader.at_eof()

    async def ask(self, request: bytes, begun: Callable[[], None]) -> bytes:
        """Send a request and return the answer; *begun* is called when the function is.

        Raises:
            ProcessDied: There will be none.
        """
        try:
            self.send(request)
            answer = await self._read()
            if answer == child_program.BEGUN:
                begun()
                answer = await self._read()
            return answer
        except (asyncio.IncompleteReadError, OSError):
            pass
        raise ProcessDied(_how_it_died(await self.aclose(0.0)))

    async def _read(self) -> bytes:
        size = await self._reader.readexactly(child_program.SIZE)
        return await self._reader.readexactly(int.from_bytes(size, "big"))

    def send(self, frame: bytes) -> None:
        """Send a frame; what does not fit into the socket's buffer follows by itself."""
        self._writer.write(len(frame).to_bytes(child_program.SIZE, "big"))
        self._writer.write(frame)

    async def aclose(self, patience: float) -> int:
        """Have it end, kill it after *patience* seconds; returns its exit code."""
        self._writer.close()
        if patience:
            await asyncio.wait([self._watch], timeout=patience)
        self.kill()
        return await asyncio.shield(self._watch)

    def kill(self) -> None:
        """End it at once, with the processes that its tasks have left in its group."""
        self._writer.close()
        if self._process.returncode is None:
            self._kill_group()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _wait_end(self) -> int:
        code = await self._process.wait()
        self._kill_group()  # which may have outlived it
        self._writer.transport.abort()
        return code


class ProcessPool:
    """A bounded set of children, started when they are first needed."""

    def __init__(self, limit: int, leave_time: float = 0.0) -> None:
        """Prepare.

        Args:
            limit: How many children there can be.
            leave_time: Seconds that an idle child may need to leave what it holds when it ends.
        """
        self._closing_time = CLOSING_TIME + leave_time
        self._places = asyncio.Semaphore(limit)
        self._idle: list[TaskProcess] = []

    async def call(
        self,
        spec: "TaskSpec",
        envelope: "Envelope",
        about: Mapping[str, object],
        begin: Callable[[], None],
    ) -> bytes:
        """Run a task in a process; returns its result as JSON.

        Args:
            spec: The task.
            envelope: With its arguments.
            about: The job's data for its context.
            begin: Called when the function is called: starting a process, and importing the
                function's module in it, is not part of the run.

        Raises:
            ProcessDied: The process ended under it.
            RemoteException: It raised.
            RetryLater, Drop, GiveUp: It raised that.

        Cancelling kills the process.
        """
        # The place is free again when the process is gone, not before: there are never more
        # processes, and never more of their memory, than the limit allows.
        async with self._places:
            child = await self._take()
            reply = await _ask(child, _request(spec, envelope, about), spec, about, begin)
            if reply.startswith(child_program.LAST):
                fields = _log_fields(spec, about)
                logger.info("task has left processes, which are killed now", extra=fields)
                reply = reply[1:]
                await child.aclose(0.0)
            else:
                self._idle.append(child)
        if reply.startswith(child_program.RETURNED):
            return reply[1:]
        raise _raised(reply[1:])

    async def aclose(self) -> None:
        """End all children that run nothing."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(child.aclose(self._closing_time) for child in idle))

    def abort(self) -> None:
        """Kill all children that run nothing, and wait for none."""
        while self._idle:
            self._idle.pop().kill()

    async def _take(self) -> TaskProcess:
        while self._idle:
            child = self._idle.pop()
            if child.is_alive:
                return child
            await child.aclose(0.0)
        return await _started()


def _request(spec: "TaskSpec", envelope: "Envelope", about: Mapping[str, object]) -> bytes:
    """Return the frame that asks for a call."""
    return orjson.dumps(
        {
            "module": getattr(spec.function, "__module__", None),
            "function": getattr(spec.function, "__qualname__", None),
            "task": spec.name,
            "args": envelope.args,
            "kwargs": envelope.kwargs,
            "about": about,
        }
    )


def _log_fields(spec: "TaskSpec", about: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of a log record about a job."""
    return {"task": spec.name, **{name: about[name] for name in ("job_id", "attempt", "worker")}}


async def _ask(
    child: TaskProcess,
    request: bytes,
    spec: "TaskSpec",
    about: Mapping[str, object],
    begin: Callable[[], None],
) -> bytes:
    """Return the answer of *child* to *request*; cancelling kills it."""
    try:
        return await child.ask(request, begin)
    except asyncio.CancelledError:
        await child.aclose(0.0)
        raise
    except ProcessDied as died:
        # If the job is retried, this is the only trace of how it died.
        logger.warning("%s", died, extra=_log_fields(spec, about))
        raise


async def _started() -> TaskProcess:
    ours, theirs = socket.socketpair()
    try:
        with theirs, no_fork():
            # Few workers start processes, and no child may be forked while a module is imported.
            from aiostreamq.worker.logs.setup import current_setup

            process = await asyncio.create_subprocess_exec(
                *interpreter(),
                str(Path(child_program.__file__)),
                str(theirs.fileno()),
                str(os.getpid()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Out of the reach of Ctrl-C, and one group to kill.
                start_new_session=True,
            )
        reader, writer = await asyncio.open_connection(sock=ours)
    except BaseException:
        ours.close()  # it ends when it sees that
        raise
    child = TaskProcess(process, reader, writer)
    setup = current_setup()
    hello = {"path": sys.path, "logs": None if setup is None else asdict(setup)}
    child.send(json.dumps(hello).encode())
    return child


def _raised(reply: bytes) -> BaseException:
    """Return the exception to raise for what a task has raised in its process."""
    reply_fields = orjson.loads(reply)
    failure = Failure(reply_fields["type"], reply_fields["message"], reply_fields["traceback"])
    if "steers" not in reply_fields:
        leaves = tuple(map(frozenset[str], reply_fields["leaves"]))
        return RemoteException(Kinds(frozenset(reply_fields["kinds"]), leaves), failure)
    kind: type[Exception] = getattr(verdict, reply_fields["steers"])
    steering = kind.__new__(kind, failure.message)
    vars(steering).update(reply_fields["facts"])
    return steering


def _how_it_died(code: int) -> str:
    if code >= 0:
        return f"the process that ran the task ended under it, with exit code {code}"
    how = f"the process that ran the task was killed by {_signal_name(-code)}"
    return f"{how}: was there too little memory?" if code == -signal.SIGKILL else how


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
