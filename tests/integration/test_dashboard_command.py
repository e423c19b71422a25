"""`aiostreamq dashboard`: served by a process of its own, with no code of the queue."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import pytest

from aiostreamq import Queue
from tests.examples.processes import environment, free_port, running
from tests.support.waiting import PATIENCE
from tests.support.warm_start import start_python

DASHBOARD = ("-m", "aiostreamq", "dashboard")


@asynccontextmanager
async def served(url: str, *arguments: str) -> AsyncGenerator[httpx.AsyncClient]:
    """Serve a dashboard, and give a client of it. SIGTERM ends it with 0."""
    port = free_port()
    async with running(
        *DASHBOARD, *arguments, "--port", str(port), url=url, until="aiostreamq: dashboard of"
    ):
        base = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=base, timeout=30) as client:
            yield client


def refused(url: str, *arguments: str, **variables: str) -> str:
    """Run a dashboard that does not start, and return what it says."""
    with tempfile.TemporaryFile() as output:
        program = start_python(
            [*DASHBOARD, *arguments],
            stdout=output.fileno(),
            stderr=output.fileno(),
            environment=environment(url) | variables,
        )
        code = program.wait(PATIENCE)
        output.seek(0)
        printed = output.read().decode()
    assert code == 2, printed
    return printed


async def test_all_queues_of_a_redis(redis_url: str) -> None:
    """A URL is enough: each queue that a program has opened is shown, with its lanes."""
    for name in ("mail", "shop"):
        async with Queue(redis_url, name=name, lanes=["default", f"{name}-bulk"]) as queue:
            await queue.enqueue("send", 1)
    async with served(redis_url, redis_url) as client:
        page = (await client.get("/")).text
        assert "./q/mail/" in page
        assert "./q/shop/" in page
        page = (await client.get("/q/mail/")).text
        assert "mail-bulk" in page
        assert "read-only" in page
    async with served(redis_url, "--queue", "shop", "--write") as client:
        answer = await client.get("/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/q/shop/")
        assert "read and write" in (await client.get("/q/shop/")).text


async def test_queue_in_code(redis_url: str) -> None:
    """A queue in code is shown with what its code knows, behind a login and a proxy."""
    arguments = ("tests.support.jobs:queue", "--login", "ada:secret", "--root-path", "/queue")
    async with served(redis_url, *arguments) as client:
        assert (await client.get("/")).status_code == 401
        answer = await client.get("/", auth=("ada", "secret"))
        assert answer.headers["location"] == "/queue/q/jobs/"
        assert "ada" in (await client.get("/queue/q/jobs/", auth=("ada", "secret"))).text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "0.0.0.0"), "others could see"),
        (("--login", "ada"), "--login: give a name and a password"),
        (("--login", "ada:x", "--login-header", "X-User"), "exclude each other"),
        (("--queue", "missing"), "'missing': not found"),
        (("memory://",), "mount the dashboard"),
        (("nothing://",), "invalid Redis URL"),
        (("--port", "99999"), "--port"),
        (("tests.support.jobs:missing",), "missing"),
    ],
)
def test_wrong_usage(redis_url: str, arguments: tuple[str, ...], says: str) -> None:
    """A dashboard that would be open to others, or would show nothing, does not start."""
    assert says in refused(redis_url, *arguments)


def test_login_in_the_environment(redis_url: str) -> None:
    """The variable counts as the option, and an error names it."""
    assert "AIOSTREAMQ_LOGIN" in refused(redis_url, AIOSTREAMQ_LOGIN="ada")


async def test_port_that_is_taken(redis_url: str) -> None:
    """It says so, and ends with 1."""
    async with Queue(redis_url, name="shop"):
        pass
    async with served(redis_url) as client:
        done = subprocess.run(  # noqa: ASYNC221  # it ends at once
            [sys.executable, *DASHBOARD, "--port", str(client.base_url.port)],
            env=environment(redis_url),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert "address already in use" in done.stderr


async def test_ctrl_c_ends_it(redis_url: str) -> None:
    """SIGINT ends it in order too."""
    async with Queue(redis_url, name="shop"):
        pass
    process = subprocess.Popen(  # noqa: ASYNC220  # its first line is waited for
        [sys.executable, *DASHBOARD, "--port", "0"],
        env=environment(redis_url),
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stderr is not None
        assert b"dashboard of shop" in process.stderr.readline()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
