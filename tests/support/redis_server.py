"""A real redis-server of a test's own, up in about ten milliseconds."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self


class RedisServerError(RuntimeError):
    """The server did not start, or did not answer."""


class RedisServer:
    """A child process on a free TCP port and a unix socket, in a private directory.

    It keeps nothing on disk unless asked to, and everything else is Redis's own default.
    All methods block for a few milliseconds at most; tests call them from coroutines too.

    Args:
        extra: More command line options, such as `"--maxmemory", "10mb"`.
        appendonly: Write every change to disk at once, so that a restart after `kill` has it.
        executable: The server to start; None means `find_executable()`.
        environment: Variables beside this process's own.
    """

    def __init__(
        self,
        *extra: str,
        appendonly: bool = False,
        executable: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = _free_port()
        self._extra = extra
        self._appendonly = appendonly
        self._executable = executable
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        # Short, because the path of a unix socket may have 104 characters at most.
        self._directory = Path(tempfile.mkdtemp(prefix="asq-"))
        # For the run that ends without its fixtures' clean-up.
        atexit.register(self.close)

    @property
    def url(self) -> str:
        """The server's address over TCP."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        """The server's address over its unix socket."""
        return f"unix://{self._directory}/redis.sock?db=0"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def directory(self) -> Path:
        """Where the server keeps what it writes."""
        return self._directory

    @property
    def is_alive(self) -> bool:
        """Whether the process exists, be it paused."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and return when it answers.

        Raises:
            RedisServerError: It ended, or did not answer in time; its log is in the message.
        """
        assert not self.is_alive, "the server runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command_line(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                # Ctrl-C is for the tests, which still need the server while they clean up.
                process_group=0,
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End the server as an operator does, saving what it persists."""
        self._end_with(signal.SIGTERM)

    def kill(self) -> None:
        """End the server as a power cut does."""
        self._end_with(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server if it runs, and start it again on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process: connections stay open, and nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process continue where it was."""
        self._running().send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """Delete all keys. Connections and loaded scripts stay."""
        self.ask("FLUSHALL")

    def ask(self, *words: str) -> str:
        """Send one command on a connection of its own and return the first line of the reply.

        Raises:
            RedisServerError: The reply is an error.
        """
        parts = [word.encode() for word in words]
        command = b"*%d\r\n" % len(parts)
        command += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(command)
            with connection.makefile("rb") as replies:
                reply = replies.readline().decode().strip()
        if not reply or reply.startswith("-"):
            msg = f"{' '.join(words)}: {reply or 'the connection was closed'}"
            raise RedisServerError(msg)
        return reply[1:]

    def close(self) -> None:
        """End the server and remove its directory. May be called again."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def _command_line(self) -> list[str]:
        return [
            self._executable or find_executable(),
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--unixsocket", f"{self._directory}/redis.sock"),
            *("--dir", str(self._directory), "--save", ""),
            *("--appendonly", "yes" if self._appendonly else "no", "--appendfsync", "always"),
            *self._extra,
        ]

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server was not started"
        assert self._process.poll() is None, "the server has ended"
        return self._process

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not self.is_alive:
                break
            try:
                self.ask("PING")
            except (OSError, RedisServerError):  # not listening yet, or loading its data
                time.sleep(0.001)
            else:
                return
        self.kill()
        log = self._log.read_text(errors="replace")[-2000:]
        msg = f"redis-server did not start on port {self.port}:\n{log}"
        raise RedisServerError(msg)

    def _end_with(self, sign: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(sign)
        process.send_signal(signal.SIGCONT)  # a paused process would not notice SIGTERM
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def find_executable() -> str:
    """Return the server to test on: $AIOSTREAMQ_TEST_REDIS_SERVER, or the first one on PATH.

    Raises:
        RedisServerError: There is none.
    """
    named = os.environ.get("AIOSTREAMQ_TEST_REDIS_SERVER")
    found = named or shutil.which("redis-server") or shutil.which("valkey-server")
    if not found:
        msg = "no redis-server on PATH; `make test` gets one, or says what to install"
        raise RedisServerError(msg)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
