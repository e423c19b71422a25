"""`PrivateRedis`: a real server of the tests' own, up in about ten milliseconds."""

import atexit
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from aiostreamq import clock
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType

# The programs that can be the server, the first that is on PATH.
PROGRAMS = ("redis-server", "valkey-server")

# Seconds in which a server has started, on a machine with other things to do.
START_TIME = 30.0

# Seconds between two looks whether it has started.
INTERVAL = 0.002


def find_server() -> str | None:
    """Return the path of the first `redis-server` or `valkey-server` on PATH, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class PrivateRedis:
    """A server that listens on a unix socket in a directory of its own, and keeps nothing on disk.

    Several processes of tests have one each, so nothing of it is shared. Use it as
    `with PrivateRedis() as server:`, or call `start` and `close`.
    """

    def __init__(self, program: str | None = None, *, port: int = 0) -> None:
        """Prepare; nothing is started yet.

        Args:
            program: The server to start; None takes the first that `find_server` finds.
            port: A TCP port of this machine at which it listens too; 0: only the socket.
        """
        self._program = program
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None

    @property
    def url(self) -> str:
        """The URL of the server, for `Queue` and `isolated`.

        Raises:
            UsageError: It has not been started.
        """
        socket_url = f"unix://{self._socket}"
        return f"redis://127.0.0.1:{self._port}" if self._port else socket_url

    def start(self) -> None:
        """Start the server, and return when it answers.

        Raises:
            UsageError: There is no such program, or it has ended; its log is in the message.
        """
        program = self._program or find_server()
        if program is None:
            raise UsageError(f"there is no {' or '.join(PROGRAMS)} on PATH: install one of them")
        # Short, as the path of a unix socket may have 104 characters at most.
        self._directory = Path(tempfile.mkdtemp(prefix="asq-"))
        atexit.register(self.close)
        options = {
            "port": str(self._port),
            "bind": "127.0.0.1",
            "unixsocket": str(self._socket),
            "save": "",
            "appendonly": "no",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # a program that the caller chose
                [program, *arguments],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is for the tests, which still need the server
            )
        ends = clock.monotonic() + START_TIME
        while not self._is_answering():
            if self._process.poll() is not None or clock.monotonic() > ends:
                log_text = self._log.read_text(errors="replace")[-2000:]
                self.close()
                raise UsageError(f"{program} did not start:\n{log_text}")
            time.sleep(INTERVAL)

    def flush(self) -> None:
        """Delete all keys.

        Raises:
            OSError: The server does not answer.
        """
        self._ask(b"FLUSHALL")

    def close(self) -> None:
        """End the server and remove its directory. May be repeated."""
        atexit.unregister(self.close)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: "TracebackType | None",
    ) -> None:
        self.close()

    @property
    def _home(self) -> Path:
        if self._directory is None:
            raise UsageError("the server has not been started: use `with PrivateRedis() as server`")
        return self._directory

    @property
    def _socket(self) -> Path:
        return self._home / "redis.sock"

    @property
    def _log(self) -> Path:
        return self._home / "log"

    def _is_answering(self) -> bool:
        try:
            return self._ask(b"PING").startswith(b"+PONG")
        except OSError:
            return False

    def _ask(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(START_TIME)
            connection.connect(str(self._socket))
            connection.sendall(command + b"\r\n")
            return connection.recv(1000)
