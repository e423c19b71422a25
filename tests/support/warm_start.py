"""Starting Python programs as forks of a process that has imported what they need.

An interpreter that imports aiostreamq and Redis's client takes 0.3 s of CPU time before its program
does anything, and the suite starts hundreds of them. A fork takes 0.01 s. It is a process like any
other: it has an id, signals, standard streams, an exit code, an environment and a directory of its
own, and it imports the module of the queue by itself. A program that depends on how its
interpreter was started gets one of its own: see `can_fork`.

As a program, this module is the process that is forked (`python -m tests.support.warm_start FD`).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: Where the packages `tests` and `examples` are.
ROOT = Path(__file__).parents[2]

# Modules that programs import at their start or later. It makes no difference when.
_PRELOADED = (
    *("aiostreamq.cli.main", "aiostreamq.cli.process.run_command", "aiostreamq.cli.target"),
    *("aiostreamq.client.schedules.schedules", "aiostreamq.store.queue", "aiostreamq.testing"),
    *("redis.asyncio", "redis.asyncio.sentinel", "rich.console", "rich.table", "pydantic"),
    *("uvloop",),
)

# The beginnings of variables that are read before a program starts, but for two that a fork obeys.
_READ_AT_START = ("PYTHON", "LD_", "COVERAGE_")
_OBEYED = ("PYTHONPATH", "PYTHONUNBUFFERED")

# An interpreter does these at its end, and -m; Python has no public names for them.
_run_module: Callable[[str], object] = vars(runpy)["_run_module_as_main"]
_join_threads: Callable[[], None] = vars(threading)["_shutdown"]
_run_exit_functions: Callable[[], None] = vars(atexit)["_run_exitfuncs"]

_MOST_BYTES = 100_000  # of a request, most of which is the environment
_CODE = struct.Struct("i")


class _Request(NamedTuple):
    """A program to run in a fork; travels as JSON beside the standard streams and a socket."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    is_leader: bool  #: of a process group of its own


class Fork:
    """A program that runs in a fork: a part of what `subprocess.Popen` offers.

    Args:
        arguments: Of the interpreter: `-m`, the module, and its arguments.
        stdin: Its standard input, an open file; likewise the next two.
        stdout: Its standard output.
        stderr: Its standard error.
        environment: All of its environment variables.
        where: Its working directory.
        is_leader: Whether it leads a process group of its own.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        stdin: int,
        stdout: int,
        stderr: int,
        environment: Mapping[str, str],
        where: Path = ROOT,
        is_leader: bool = False,
    ) -> None:
        self.returncode: int | None = None  #: as of `Popen`; None while it runs
        request = _Request(arguments[1], arguments[2:], dict(environment), str(where), is_leader)
        self._reports, theirs = socket.socketpair()
        with theirs:
            files = [stdin, stdout, stderr, theirs.fileno()]
            socket.send_fds(_server(), [json.dumps(request).encode()], files)
        self.pid = self._receive()  #: the process id

    def fileno(self) -> int:
        """Return a file that can be read when the program has ended."""
        return self._reports.fileno()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None:
            self._reports.setblocking(False)
            with suppress(BlockingIOError):
                self._end(self._receive())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code as soon as it has ended.

        Raises:
            TimeoutError: It has not ended within *timeout* seconds.
        """
        if self.returncode is None:
            self._reports.settimeout(timeout)
            self._end(self._receive())
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sign: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended, and its report is on its way
                os.kill(self.pid, sign)

    def __del__(self) -> None:
        """Forget a program that nothing has waited for."""
        self._reports.close()

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _receive(self) -> int:
        number: int = _CODE.unpack(self._reports.recv(_CODE.size))[0]
        return number

    def _end(self, code: int) -> None:
        self.returncode = code
        self._reports.close()


def start_python(
    arguments: Sequence[str],
    *,
    stdout: int,
    stderr: int,
    environment: Mapping[str, str],
    where: Path = ROOT,
    is_leader: bool = False,
) -> Fork | subprocess.Popen[bytes]:
    """Start `python <arguments>`, in a fork if it can be one; the arguments are those of `Fork`."""
    with Path(os.devnull).open("rb") as stdin:
        if can_fork(arguments, environment):
            return Fork(
                arguments,
                stdin=stdin.fileno(),
                stdout=stdout,
                stderr=stderr,
                environment=environment,
                where=where,
                is_leader=is_leader,
            )
        return subprocess.Popen(
            [sys.executable, *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            cwd=where,
            process_group=0 if is_leader else None,
        )


def can_fork(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Return whether a fork runs `python <arguments>` as an interpreter of its own would.

    Not on macOS, whose libraries do not support it; not if options or variables are to change how
    the interpreter starts; and not if coverage is measured, which begins at that start.
    """
    return (
        sys.platform == "linux"
        and arguments[0] == "-m"
        and not any(name.startswith("COVERAGE_") for name in environment)
        and _read_at_start(environment) == _read_at_start(os.environ)
    )


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_READ_AT_START) and name not in _OBEYED
    }


@cache
def _server() -> socket.socket:
    """Start the process that is forked, which ends with this one; return the socket to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # a pipe, so that what forks print is buffered as it is there
            cwd=ROOT,
        )
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * _MOST_BYTES)

    def stop() -> None:
        ours.close()
        process.communicate()

    atexit.register(stop)
    return ours


def _serve(requests: socket.socket) -> _Request | None:
    """Fork for each request. Return the request in the fork; here None, at the end."""
    waiting = selectors.DefaultSelector()
    waiting.register(requests, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is not requests:
                _report_end(*key.data)
                waiting.unregister(key.fileobj)
                os.close(key.fd)
                continue
            message, files, *_ = socket.recv_fds(requests, _MOST_BYTES, 4)
            if not message:
                return None
            pid = os.fork()
            if pid == 0:
                for other in list(waiting.get_map().values()):
                    if other.fileobj is not requests:
                        os.close(other.fd)
                        other.data[1].close()
                waiting.close()
                requests.close()
                _take_over(files)
                return _Request(*json.loads(message))
            for file in files[:3]:
                os.close(file)
            reports = socket.socket(fileno=files[3])
            with suppress(OSError):  # the test that has started it is gone
                reports.send(_CODE.pack(pid))
            waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, reports))


def _report_end(pid: int, reports: socket.socket) -> None:
    _, status = os.waitpid(pid, 0)
    with reports, suppress(OSError):
        reports.send(_CODE.pack(os.waitstatus_to_exitcode(status)))


def _take_over(files: Sequence[int]) -> None:
    """Make *files* the standard streams of this process."""
    for fd, file in enumerate(files[:3]):
        os.dup2(file, fd)
    for file in files:
        os.close(file)


def _become(request: _Request) -> None:
    """Give this process the surroundings of an interpreter that has just started."""
    if request.is_leader:
        os.setpgid(0, 0)
    os.chdir(request.directory)
    path = request.environment.get("PYTHONPATH", "")
    sys.path[0] = request.directory
    sys.path[1:1] = [folder for folder in path.split(os.pathsep) if folder not in sys.path]
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv[1:] = request.arguments
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTHONUNBUFFERED" in os.environ:
        for stream in (sys.stdout, sys.stderr):
            assert isinstance(stream, TextIOWrapper)
            stream.reconfigure(write_through=True)


def _run_to_the_end(module: str) -> None:
    """Run *module* and end this process as an interpreter ends, but leave its memory as it is.

    Taking that apart costs ten times as much as a fork: all of it would have to be copied first.
    """
    code: object = None
    try:
        # As `python -m` does it, so that the program finds itself in `__main__`.
        _run_module(module)
    except SystemExit as end:
        code = end.code
    except BaseException as error:  # noqa: BLE001  # as an interpreter does
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
        sys.excepthook(type(error), error, error.__traceback__)
    _join_threads()
    _run_exit_functions()
    if not isinstance(code, int | None):
        sys.stderr.write(f"{code}\n")
        code = 1
    outputs: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)  # None if the program says so
    for stream in outputs:
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()
    if code == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit((code or 0) & 0xFF)


def _main() -> None:
    for name in _PRELOADED:
        with suppress(ImportError):  # a run may have fewer packages
            importlib.import_module(name)
    # Ctrl-C is for the tests, which end this process by closing its socket.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    requests = socket.socket(fileno=int(sys.argv[1]))
    if (request := _serve(requests)) is not None:
        _become(request)
        _run_to_the_end(request.module)


if __name__ == "__main__":
    _main()
