"""`aiostreamq dev`: a server, a worker that reloads and the dashboard, as users start it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from aiostreamq import Queue
from tests.examples.processes import environment, free_port
from tests.support.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

pytestmark = pytest.mark.may_block("the tests start and end processes")

CODE = """
import time
from aiostreamq import Queue

queue = Queue(name="dev", lanes=["default"])

@queue.task
async def greet(number: int) -> str:
    print(f"greeted {number} by version 1", flush=True)
    return f"version 1 of {number}"

@queue.task
def block() -> None:
    print("blocking", flush=True)
    time.sleep(3600)
"""

ENQUEUE = """
import asyncio
from app import queue, greet

async def main():
    async with queue:
        print(await (await greet.enqueue(7)))

asyncio.run(main())
"""


class Dev:
    """The command in a session of its own, as in a terminal of its own."""

    def __init__(self, where: Path, *options: str, **variables: str) -> None:
        self.where = where
        (where / "app.py").write_text(CODE)
        self.temporary = Path(tempfile.mkdtemp(prefix="dev-", dir="/tmp"))  # short, for the socket
        self._log = where / "printed"
        self._options = options
        self._environment = environment() | {"TMPDIR": str(self.temporary)} | variables

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "aiostreamq", "dev", "app:queue", *self._options],
                cwd=self.where,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.temporary)

    @property
    def printed(self) -> str:
        """The output of all its processes."""
        return self._log.read_text()

    async def says(self, pattern: str) -> str:
        """Return the group of *pattern*, or all of it, as soon as it is printed."""
        found: list[re.Match[str]] = []

        def look() -> bool:
            found.extend(re.finditer(pattern, self.printed))
            return bool(found) or self.process.poll() is not None

        await wait_until(look, f"{pattern!r} to be printed")
        assert found, self.printed
        return found[0][found[0].re.groups]

    async def end(self, *, by: signal.Signals) -> int:
        """End it, and return its exit code; nothing of it is left."""
        if by is signal.SIGINT:
            os.killpg(self.process.pid, by)  # as a terminal does
        else:
            self.process.send_signal(by)
        await wait_until(lambda: self.process.poll() is not None, "the command to end")
        assert self.processes() == [], self.printed
        assert list(self.temporary.iterdir()) == []
        return self.process.returncode

    def processes(self) -> list[int]:
        """Return the processes of its session that live."""
        return [pid for pid, session in _sessions() if session == self.process.pid]

    def enqueue(self, url: str) -> str:
        """Call the task in another process, and return its result."""
        done = subprocess.run(
            [sys.executable, "-c", ENQUEUE],
            cwd=self.where,
            env=environment(url),
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        return done.stdout.strip()


def _sessions() -> Iterator[tuple[int, int]]:
    """Give each process that lives, and its session."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            state, _, _, session, *_ = path.read_text().rpartition(")")[2].split()
            if state != "Z":
                yield int(path.parent.name), int(session)


async def test_one_terminal(tmp_path: Path) -> None:
    """Jobs of other programs run, edited code is loaded, the dashboard answers; Ctrl-C ends all."""
    with Dev(tmp_path, "--port", "0") as dev:
        url = await dev.says(r"export AIOSTREAMQ_URL=(\S+)")
        address = await dev.says(r"dashboard of dev at (\S+) \(read and write\)")
        assert dev.enqueue(url) == "version 1 of 7"
        assert "greeted 7 by version 1" in dev.printed
        async with httpx.AsyncClient(timeout=PATIENCE, follow_redirects=True) as client:
            assert "greet" in (await client.get(address)).text
        (tmp_path / "app.py").write_text(CODE.replace("version 1", "version 2"))
        await dev.says(r"app\.py changed")
        await wait_until(lambda: dev.enqueue(url) == "version 2 of 7", "the new code to run")
        assert await dev.end(by=signal.SIGINT) == 0


async def test_sigterm_while_a_job_runs(tmp_path: Path) -> None:
    """A job that does not end is left behind, and all ends within seconds."""
    port = free_port()
    options = ("--no-dashboard", "--redis-port", str(port), "--shutdown-timeout", "1")
    with Dev(tmp_path, *options, AIOSTREAMQ_URL="redis://nowhere.invalid") as dev:
        assert "not used" in await dev.says("AIOSTREAMQ_URL is set.*")
        await dev.says(r"worker 1 \(process \d+\) is ready")
        async with Queue(f"redis://127.0.0.1:{port}", name="dev") as queue:
            await queue.enqueue("block")
            await dev.says("blocking")
        assert "dashboard" not in dev.printed
        await dev.end(by=signal.SIGTERM)


async def test_server_that_is_there(tmp_path: Path, redis_url: str) -> None:
    """With --url no server is started; its jobs stay there."""
    async with Queue(redis_url, name="dev") as queue:
        job = await queue.enqueue("greet", 1)
        with Dev(tmp_path, "--url", redis_url, "--port", "0") as dev:
            await dev.says("greeted 1 by version 1")
            await dev.says("dashboard of dev")
            assert await dev.end(by=signal.SIGTERM) == 0
        assert await job == "version 1 of 1"


async def test_no_server_on_path(tmp_path: Path) -> None:
    """Worker and dashboard share one process on memory://, and it says what is missing then."""
    with Dev(tmp_path, "--port", "0", PATH="") as dev:
        await dev.says("there is no redis-server or valkey-server on PATH")
        await dev.says("share this process, on memory://")
        address = await dev.says(r"dashboard of dev at (\S+)")
        assert len(dev.processes()) == 1
        async with httpx.AsyncClient(timeout=PATIENCE, follow_redirects=True) as client:
            assert "dev" in (await client.get(address)).text
        assert await dev.end(by=signal.SIGINT) == 0


async def test_memory_by_url(tmp_path: Path) -> None:
    """With --url memory:// no server is started, although there is one."""
    with Dev(tmp_path, "--url", "memory://", "--no-dashboard") as dev:
        await dev.says("worker of dev on memory://")
        assert len(dev.processes()) == 1
        assert await dev.end(by=signal.SIGTERM) == 0


async def test_missing_extras(tmp_path: Path) -> None:
    """It continues without the dashboard, and without reload, and says so."""
    hidden = "import sys\nsys.modules['uvicorn'] = sys.modules['watchfiles'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hidden)
    paths = f"{tmp_path}{os.pathsep}{environment()['PYTHONPATH']}"
    with Dev(tmp_path, PYTHONPATH=paths) as dev:
        await dev.says(r"no dashboard, which needs uvicorn: pip install 'aiostreamq\[web\]'")
        await dev.says(r"no reload, .*'aiostreamq\[cli\]'")
        url = await dev.says(r"export AIOSTREAMQ_URL=(\S+)")
        await dev.says("is ready")
        assert dev.enqueue(url) == "version 1 of 7"
        assert await dev.end(by=signal.SIGINT) == 0


async def test_wrong_usage(tmp_path: Path) -> None:
    """Options that exclude each other are refused before anything starts."""
    with Dev(tmp_path, "--url", "redis://localhost", "--redis-port", "6400") as dev:
        assert dev.process.wait(PATIENCE) == 2
        assert "exclude each other" in dev.printed
