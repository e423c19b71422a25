"""How long Redis keeps another client waiting: PING every few milliseconds, from its own process.

A thread of the test would measure its own process too, which waits for thousands of jobs.

python -m tests.chaos.pinging PORT
"""

import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import FrameType

from tests.support.processes import Program

#: Seconds between two PINGs.
INTERVAL = 0.005

#: Lines that the program prints: at its start, and before the result.
READY = "pinging"
RESULT = "slowest"


@dataclass(slots=True)
class Pings:
    """The measurement, complete at the end of the block."""

    slowest: float = 0.0  #: seconds


@asynccontextmanager
async def pinging(port: int) -> AsyncGenerator[Pings]:
    """Ask the Redis at *port* for PING until the end of the block."""
    pings = Pings()
    async with Program("-m", "tests.chaos.pinging", str(port)) as program:
        await program.wait_for_line(READY)
        yield pings
        program.send_signal(signal.SIGTERM)
        line = await program.wait_for_line(RESULT)
        pings.slowest = float(line.split()[1])
        await program.wait_end()


def main(port: int) -> None:
    """Measure until SIGTERM, and print the seconds of the slowest PING."""
    is_over = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        is_over.set()

    signal.signal(signal.SIGTERM, end)
    slowest = 0.0
    with socket.create_connection(("127.0.0.1", port)) as line:
        _say(READY)
        while not is_over.wait(INTERVAL):
            begun = time.monotonic()
            line.sendall(b"PING\r\n")
            line.recv(100)
            slowest = max(slowest, time.monotonic() - begun)
    _say(f"{RESULT} {slowest}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
