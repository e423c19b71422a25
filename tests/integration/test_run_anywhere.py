"""`aiostreamq run` beside odd files, with odd outputs, and with signals that come together."""

import asyncio
import os
import shlex
import signal
import sys
from itertools import product
from pathlib import Path
from typing import cast

import pytest

from aiostreamq import JobState, Queue
from tests.support.nightly import mostly_nightly
from tests.support.processes import ROOT, Program, worker_program
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.may_block("the tests write files and start programs")

APP = """
from aiostreamq import Queue

queue = Queue(name="anywhere")


@queue.task
async def ping() -> str:
    return "pong"


@queue.task
def in_thread() -> str:
    return "pong"


@queue.task(executor="process")
def in_process() -> str:
    return "pong"


@queue.task
async def flags() -> list[object]:
    import sys
    return [sys.flags.dev_mode, sys.flags.optimize, sys.warnoptions, "mine" in sys._xoptions]


@queue.task(executor="process")
def flags_in_process() -> list[object]:
    import sys
    return [sys.flags.dev_mode, sys.flags.optimize, sys.warnoptions, "mine" in sys._xoptions]
"""

#: Modules that Python or this package imports, some of them only when a worker is at work.
NAMES = ["queue", "logging", "redis", "types", "json", "socket", "anyio", "selectors", "random"]

#: A target of the standard output, the exit code of a command with it, and its message.
UNWRITABLE = [
    (">/dev/full", 1, "the standard output cannot be written: No space left on device"),
    (">&-", 0, ""),
    ("> >(exit)", 0, ""),
    (">/dev/full 2>/dev/full", 1, ""),
    (">&- 2>&-", 0, ""),
]

ALONE: tuple[str, ...] = ()
SUPERVISED = ("--workers", "2")
WORKERS = [ALONE, SUPERVISED]

#: Flags of the interpreter, and variables that are as good.
FLAGS: list[tuple[list[str], dict[str, str]]] = [
    (["-X", "dev", "-X", "mine", "-O", "-W", "error::UserWarning"], {}),
    (["-I", "-X", "dev", "-X", "mine", "-O", "-W", "error::UserWarning"], {}),
    (["-X", "mine", "-O"], {"PYTHONSAFEPATH": "1", "PYTHONDEVMODE": "1"}),
]

Flags = tuple[bool, int, list[str], bool]

COMMAND = str(Path(sys.executable).with_name("aiostreamq"))


async def start(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None, redirect: str = ""
) -> asyncio.subprocess.Process:
    """Start a command in *folder*, with a shell's *redirect* of its outputs."""
    return await asyncio.create_subprocess_shell(
        f"exec {shlex.join(arguments)} {redirect}",
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end_of(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Return the exit code of a command and all that it has printed."""
    async with asyncio.timeout(PATIENCE):
        outputs = await process.communicate()
    return process.returncode, b"".join(outputs).decode()


async def run(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run `aiostreamq` in *folder*, and how its interpreter starts does not matter."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}
    command = ("-m", "aiostreamq", *arguments)
    async with Program(*command, where=folder, environment=variables) as program:
        return await program.wait_end(), program.printed


@pytest.mark.parametrize("options", mostly_nightly([(ALONE,), (SUPERVISED,)], but=[(SUPERVISED,)]))
async def test_files_named_like_modules(
    redis_url: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """They stand in for nothing that the worker needs, in none of its processes."""
    (tmp_path / "anywhere.py").write_text(APP)
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name}.py was imported')\n")
    async with Queue(redis_url, name="anywhere") as queue:
        jobs = [await queue.enqueue(task) for task in ("ping", "in_thread", "in_process")]
        told = ("run", "anywhere:queue", "--url", redis_url, "--burst", *options)
        code, printed = await end_of(await start(tmp_path, COMMAND, *told))
        assert code == 0, printed
        assert [await job.result(timeout=PATIENCE) for job in jobs] == ["pong"] * 3, printed


async def test_file_named_like_a_module_with_reload(redis_url: str, tmp_path: Path) -> None:
    """With --reload they do not either."""
    (tmp_path / "anywhere.py").write_text(APP)
    (tmp_path / "queue.py").write_text("raise RuntimeError\n")
    async with Queue(redis_url, name="anywhere") as queue:
        told = ("run", "anywhere:queue", "--url", redis_url, "--reload")
        process = await start(tmp_path, COMMAND, *told)
        try:
            job = await queue.enqueue("ping")
            assert await job.result(timeout=PATIENCE) == "pong"
        finally:
            process.send_signal(signal.SIGTERM)
            code, printed = await end_of(process)
    assert code == 0, printed


async def test_queue_in_a_file_that_python_has(redis_url: str, tmp_path: Path) -> None:
    """A target of that name says why it is not found."""
    (tmp_path / "queue.py").write_text(APP)
    code, printed = await end_of(await start(tmp_path, COMMAND, "run", "queue:jobs"))
    assert code == 2
    assert "not the file queue.py here: rename your file" in printed


@pytest.mark.parametrize(
    ("flags", "environment", "options"),
    mostly_nightly(
        ((*case, options) for case, options in product(FLAGS, WORKERS)),
        but=[(*FLAGS[1], SUPERVISED), (*FLAGS[2], ALONE)],
    ),
)
async def test_flags_of_the_interpreter(
    redis_url: str,
    tmp_path: Path,
    flags: list[str],
    environment: dict[str, str],
    options: tuple[str, ...],
) -> None:
    """They hold in all processes; the folder of the app is found with each."""
    (tmp_path / "anywhere.py").write_text(APP)
    async with Queue(redis_url, name="anywhere") as queue:
        jobs = [await queue.enqueue(task) for task in ("flags", "flags_in_process")]
        told = ("run", "anywhere:queue", "--url", redis_url, "--burst", *options)
        command = (sys.executable, *flags, "-m", "aiostreamq", *told)
        code, printed = await end_of(await start(tmp_path, *command, environment=environment))
        assert code == 0, printed
        for job in jobs:
            told_flags = cast("Flags", await job.result(timeout=PATIENCE))
            is_dev, optimized, warned, is_mine = told_flags
            assert (is_dev, optimized, is_mine) == (True, 1, True)
            assert ("error::UserWarning" in warned) == ("-W" in flags)


async def test_no_tasks(redis_url: str, tmp_path: Path) -> None:
    """A queue without tasks is refused, with what to do; a module that is named registers them."""
    (tmp_path / "bare.py").write_text("from aiostreamq import Queue\nqueue = Queue(name='bare')\n")
    (tmp_path / "work.py").write_text(
        "from bare import queue\n@queue.task\nasync def ping() -> str:\n    return 'pong'\n"
    )
    for options in ([], ["--burst"], ["--workers", "2"]):
        told = ("run", "bare:queue", "--url", redis_url, *options)
        code, printed = await run(tmp_path, *told)
        assert code == 2, printed
        assert printed.count("queue 'bare' in bare:queue has no tasks") == 1
        assert "--import app.tasks" in printed
    async with Queue(redis_url, name="bare") as queue:
        for options, variables in (
            (["--import", "work"], {}),
            (["--import", "os", "--import", "work", "--workers", "2"], {}),
            ([], {"AIOSTREAMQ_IMPORT": "os, work"}),
        ):
            job = await queue.enqueue("ping")
            told = ("run", "bare:queue", "--url", redis_url, "--burst", *options)
            code, printed = await run(tmp_path, *told, environment=variables)
            assert code == 0, printed
            assert await job.result(timeout=PATIENCE) == "pong"
    told = ("enqueue", "bare:queue", "ping", "--url", redis_url, "--import", "work")
    code, printed = await run(tmp_path, *told)
    assert code == 0, printed


async def test_banner_with_schedules(redis_url: str, tmp_path: Path) -> None:
    """It tells schedules in words, and settings by where they come from, the variables' too."""
    schedules = """
queue.cron("30 2 * * *", tz="Europe/Madrid", name="nightly")(ping)
queue.cron("*/5 * * * *", name="often")(ping)
"""
    (tmp_path / "anywhere.py").write_text(APP + schedules)
    url = redis_url.replace("redis://", "redis://:@").replace("/0", "/3")
    variables = {
        "AIOSTREAMQ_URL": url,
        "AIOSTREAMQ_LEASE": "20",
        "AIOSTREAMQ_LOOP_BLOCK_WARNING": "9",
    }
    told = (
        "run",
        "anywhere:queue",
        "--burst",
        "--loop-block-warning",
        "5",
        "--workers",
        "2",
    )
    code, printed = await run(tmp_path, *told, environment=variables)
    assert code == 0, printed
    address = redis_url.removeprefix("redis://").removesuffix("/0")
    assert f" at {address}, database 3\n" in printed
    assert "\n  schedules (2)  nightly: At 02:30 every day (Europe/Madrid)\n" in printed
    assert "\n                 often: Every fifth minute of every hour (UTC)\n" in printed
    settings = printed.partition("\n  settings ")[2].partition("\n")[0]
    for part in (
        "lease 20 s (AIOSTREAMQ_LEASE)",
        "loop block warning 5 s (--loop-block-warning)",
        "shutdown timeout 25 s (default)",
        "url (AIOSTREAMQ_URL)",
    ):
        assert part in settings
    assert "max deliveries" not in settings


OUTPUTS = {
    "closed": "2>&-",
    "both closed": ">&- 2>&-",
    "all closed": "<&- >&- 2>&-",
    "full": "2>/dev/full",
    "both full": ">/dev/full 2>/dev/full",
    "a reader that is gone": "2> >(exit)",
}


@pytest.mark.parametrize(
    ("output", "options"),
    mostly_nightly(
        product(OUTPUTS, WORKERS),
        but=[("both closed", ALONE), ("full", ALONE), ("a reader that is gone", SUPERVISED)],
    ),
)
async def test_stderr_that_cannot_be_written(
    redis_url: str, output: str, options: tuple[str, ...]
) -> None:
    """The worker works all the same, wherever its tasks run, and ends in good order."""
    async with Queue(redis_url, name="logging") as queue:
        jobs = [await queue.enqueue(task) for task in ("on_loop", "in_thread", "in_process")]
        failing = await queue.enqueue("fail_in_process", "no tea")
        target = "tests.support.logging_app:queue"
        told = f"{COMMAND} run {target} --url {redis_url} --burst {' '.join(options)}"
        process = await start(ROOT, "bash", "-c", f"exec {told} {OUTPUTS[output]}")
        code, printed = await end_of(process)
        assert code == 0, printed
        assert [await job.result(timeout=PATIENCE) for job in jobs] == [None] * 3
        assert await failing.status() is JobState.FAILED


@pytest.mark.parametrize(
    ("command", "redirect", "code", "told"),
    mostly_nightly(
        ((command, *case) for case in UNWRITABLE for command in ("info", "jobs ls")),
        but=[("info", *UNWRITABLE[0]), ("jobs ls", *UNWRITABLE[2]), ("info", *UNWRITABLE[4])],
    ),
)
async def test_stdout_that_cannot_be_written(
    redis_url: str, command: str, redirect: str, code: int, told: str
) -> None:
    """Other commands say so, if they can, and show no traceback."""
    words = f"{COMMAND} {command} tests.support.jobs:queue --url {redis_url} {redirect}"
    async with Queue(redis_url, name="jobs") as queue:
        await queue.enqueue("add", 1, 2)
    found, printed = await end_of(await start(ROOT, "bash", "-c", f"exec {words}"))
    assert found == code, printed
    assert told in printed
    assert "Traceback" not in printed


async def test_letters_that_the_terminal_lacks(redis_url: str) -> None:
    """They are shown as escapes."""
    async with Queue(redis_url, name="jobs") as queue:
        job = await queue.enqueue("fail", "Größe 世界")
        async with worker_program(redis_url, "--burst") as worker:
            assert await worker.wait_end() == 0
    words = (COMMAND, "jobs", "show", "tests.support.jobs:queue", job.id, "--url", redis_url)
    latin = {"PYTHONIOENCODING": "latin-1"}
    process = await start(ROOT, *words, environment=latin)
    printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints
    assert "Größe \\u4e16\\u754c" in printed.decode("latin-1")


@pytest.mark.parametrize(
    ("options", "task"),
    mostly_nightly(
        product(WORKERS, ["wait_for_file", "block_for_file"]),
        but=[(ALONE, "block_for_file"), (SUPERVISED, "wait_for_file")],
    ),
)
async def test_two_signals_at_once(
    redis_url: str, tmp_path: Path, options: tuple[str, ...], task: str
) -> None:
    """They count as one: the job gets to its end, and the worker ends in good order."""
    async with (
        Queue(redis_url, name="jobs") as queue,
        worker_program(redis_url, *options) as worker,
    ):
        job = await queue.enqueue(task, str(tmp_path / "gate"))

        async def runs() -> bool:
            return await job.status() is JobState.RUNNING

        await wait_until(runs, "the job to run")
        worker.send_signal(signal.SIGTERM)
        worker.send_signal(signal.SIGINT)
        await worker.wait_for_line("draining")
        (tmp_path / "gate").touch()
        assert await worker.wait_end() == 0
        assert await job.result(timeout=PATIENCE) == str(tmp_path / "gate")
    assert "leaving at once" not in worker.printed


async def test_urls_in_the_wrong_place() -> None:
    """A URL that is typed where another word belongs is not repeated with its password."""
    url = "redis://me:hunter2@127.0.0.1:1/0"
    for words in (
        ("info", url),
        ("info", "tests.support.jobs:queue", url),
        ("run", "tests.support.jobs:queue", "--lanes", url),
        ("run", "tests.support.jobs:queue", "--concurrency", url),
        ("run", "tests.support.jobs:queue", "--import", url),
        ("jobs", "show", url, "x"),
        ("run", "tests.support.jobs:queue", "--url", url.replace(":1/", ":x/")),
    ):
        async with Program("-m", "aiostreamq", *words) as program:
            assert await program.wait_end() == 2, program.printed
        assert "hunter2" not in program.printed, words
