"""The processes of `aiostreamq dev`, from their start to their end.

This process starts the server and is the supervisor of the worker. The dashboard is a process of
its own, without the user's code, so that broken code ends neither. Only on `memory://` all share
this process.
"""

import argparse
import asyncio
import os
import shlex
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING

from aiostreamq.cli.commands.dashboard import DEFAULT_HOST, DEFAULT_PORT, missing_packages
from aiostreamq.cli.logs import set_up_for
from aiostreamq.cli.option_sources import variable_of
from aiostreamq.cli.output import complain
from aiostreamq.cli.process.run_command import run_supervisor, supervisor_of
from aiostreamq.model.worker_state import WorkerState
from aiostreamq.signals_and_forks import keep_from_children
from aiostreamq.testing.private_redis import PROGRAMS, PrivateRedis, find_server
from aiostreamq.worker.run.python_command import interpreter

if TYPE_CHECKING:
    from aiostreamq.cli.process.supervisor import Supervisor

URL_VARIABLE = variable_of("--url")

# Seconds that a worker which does not drain may take after its shutdown timeout.
GRACE = 3.0

# Seconds that the dashboard may take to end, and between two looks whether a worker is ready.
DASHBOARD_GRACE = 6.0
LOOK_EVERY = 0.1

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DevSession:
    """One run of `aiostreamq dev`."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Take the options of the command, with the parser of all commands as `args.parser`."""
        self._args = args
        self._has_dashboard = not args.no_dashboard
        if self._has_dashboard and (missing := missing_packages()):
            self._has_dashboard = False
            complain(
                f"aiostreamq: no dashboard, which needs {', '.join(missing)}: "
                f"pip install 'aiostreamq[web]'"
            )

    def run(self) -> int:
        """Run until a signal ends it, and return the exit code.

        Raises:
            UsageError: The server does not start, or there is neither one nor `memory://`.
        """
        keep_from_children()
        if os.environ.get(URL_VARIABLE) and self._args.url is None:
            complain(f"aiostreamq: {URL_VARIABLE} is set and not used here: give --url to use it")
        program = find_server()
        if self._args.url is None and program is None:
            complain(
                f"aiostreamq: there is no {' or '.join(PROGRAMS)} on PATH: install one of them"
            )
            return self._run_in_memory()
        if (self._args.url or "").startswith("memory://"):
            return self._run_in_memory()
        with ExitStack() as stack:
            for number in _ENDS:
                # nohup has it stay when the terminal closes.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, _leave)
            stack.callback(_ignore_signals)  # after the loop, while the server ends
            url = self._args.url
            if url is None:
                server = PrivateRedis(program, port=self._args.redis_port or _free_port())
                stack.enter_context(server)
                stack.callback(_ignore_signals)
                url = server.url
                complain(f"aiostreamq: {program} at {url}; it ends with this command, and all jobs")
            complain(
                f"aiostreamq: for other terminals: export {URL_VARIABLE}={shlex.quote(url)}\n"
                f"  A Queue without a URL takes it; one with a URL in the code needs this one there"
            )
            os.environ[URL_VARIABLE] = url  # of the worker, and of what its code starts
            return self._run_worker(url)

    def _run_worker(self, url: str) -> int:
        has_reload = find_spec("watchfiles") is not None
        if not has_reload:
            complain("aiostreamq: no reload, which needs the extra: pip install 'aiostreamq[cli]'")
        arguments = ["run", *self._args.targets, *self._options()]
        if has_reload:
            arguments.append("--reload")
        args = self._args.parser.parse_args(arguments)
        set_up_for(args, imports_app=False)
        supervisor = supervisor_of(args, arguments, GRACE)
        # Has a worker process even without --reload, so that this one has no code of the user's.
        return asyncio.run(self._keep(supervisor, args, url))

    def _options(self) -> list[str]:
        args = self._args
        options = ["--shutdown-timeout", f"{args.shutdown_timeout:g}"]
        for module in args.imports or ():
            options += ["--import", module]
        if args.concurrency is not None:
            options += ["--concurrency", str(args.concurrency)]
        if args.log_level is not None:
            options += ["--log-level", args.log_level]
        return options

    async def _keep(self, supervisor: "Supervisor", args: argparse.Namespace, url: str) -> int:
        loop = asyncio.get_running_loop()
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, os.kill, os.getpid(), signal.SIGTERM)
        shown = asyncio.create_task(self._show(supervisor, url))
        try:
            return await run_supervisor(supervisor, args)
        finally:
            shown.cancel()
            with suppress(asyncio.CancelledError):
                await shown

    async def _show(self, supervisor: "Supervisor", url: str) -> None:
        """Run the dashboard until this is cancelled, from when a worker has opened the queue."""
        if not self._has_dashboard:
            return
        while supervisor.state is not WorkerState.READY:  # noqa: ASYNC110  # it is computed
            await asyncio.sleep(LOOK_EVERY)
        where = ["--host", DEFAULT_HOST, "--port", str(self._port())]
        process = await asyncio.create_subprocess_exec(
            *interpreter(), "-m", "aiostreamq", "dashboard", "--write", *where,
            env={**os.environ, URL_VARIABLE: url},
        )  # fmt: skip
        try:
            code = await process.wait()
            if supervisor.state is WorkerState.READY:
                complain(f"aiostreamq: the dashboard has ended with exit code {code}")
        finally:
            await _end(process)

    def _port(self) -> int:
        if self._args.port is not None:
            return self._args.port
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((DEFAULT_HOST, DEFAULT_PORT))
            except OSError:
                return 0
        return DEFAULT_PORT

    def _run_in_memory(self) -> int:
        from aiostreamq.cli.process.dev_in_memory import run_in_memory

        complain(
            "aiostreamq: the worker and the dashboard share this process, on memory://. Other "
            "programs cannot enqueue here, and nothing reloads: give a Redis with --url for that"
        )
        port = self._port() if self._has_dashboard else None
        return run_in_memory(self._args, port)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process in order, or else by force."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(DASHBOARD_GRACE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((DEFAULT_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _leave(number: int, frame: FrameType | None) -> None:
    """End in order before the event loop runs: with the server removed."""
    del number, frame
    sys.exit(0)


def _ignore_signals() -> None:
    """Let nothing interrupt the end of the server, which takes milliseconds."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
