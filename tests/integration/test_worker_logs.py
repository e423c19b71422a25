"""What a worker logs: as a process of its own, with apps that set logging up in every way."""

import json
import re
import signal
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest

from aiostreamq import JobError, Queue
from tests.support.nightly import mostly_nightly
from tests.support.processes import ROOT, Program, worker_program
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.may_block("the tests write files")

APP = "tests.support.logging_app:queue"

PLACES = {
    "on_loop": {"loop", "own thread"},
    "in_thread": {"thread", "thread of a thread"},
    "in_process": {"process"},
    "as_stream": {"stream"},
}


async def logged(
    url: str, calls: dict[str, tuple[object, ...]], *options: str
) -> tuple[dict[str, str], list[dict[str, object]]]:
    """Run some jobs to their ends; returns their ids by task, and what the worker logged."""
    async with (
        Queue(url, name="logging") as queue,
        worker_program(url, "--log-format", "json", *options, target=APP) as worker,
    ):
        jobs = {task: await queue.enqueue(task, *args) for task, args in calls.items()}
        for job in jobs.values():
            with suppress(JobError):
                await job.result(timeout=PATIENCE)
        worker.send_signal(signal.SIGTERM)
        assert await worker.wait_end() == 0, worker.printed
    lines = [json.loads(line) for line in worker.lines if line.startswith("{")]
    names = {line.get("worker") for line in lines if line["message"].startswith("draining")}
    assert names >= {line["worker"] for line in lines if "job_id" in line}
    return {task: job.id for task, job in jobs.items()}, lines


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
async def test_lines_of_tasks(redis_url: str, options: tuple[str, ...]) -> None:
    """Each line that a task logs says which job it was, wherever it runs; extra= is kept."""
    ids, lines = await logged(redis_url, dict.fromkeys(PLACES, ()), *options)
    for task, places in PLACES.items():
        own = [line for line in lines if line.get("task") == task]
        assert {str(line["message"]).removeprefix("hello from ") for line in own} == places
        for line in own:
            assert (line["job_id"], line["attempt"], line["tenant"]) == (ids[task], 1, 7)
            assert line["logger"] == "app.tasks"


@pytest.mark.parametrize(
    ("task", "args", "expected"),
    [
        ("fail_twice", ("no tea",), [
            ("warning", "job failed with ValueError: no tea; attempt 1 of 2, runs again in ", 1),
            ("error", "job failed with ValueError: no tea", 2),
        ]),
        ("fail_in_process", ("no tea",), [("error", "job failed with ValueError: no tea", 1)]),
        ("take_long", (), [
            ("info", "job ran past its timeout and is cancelled", 1),
            ("error", "job ran past its timeout of 0.05 s", 1),
        ]),
        ("give_up", (), [("error", "job was given up by its task: no use", 1)]),
        ("drop", (), [("info", "job was dropped by its task: not needed", 1)]),
        ("later", (), [("info", "job asked to run again, in 0.0 s", 1)]),
        ("nothing", (), []),
    ],
)  # fmt: skip
async def test_ends_of_jobs(
    redis_url: str, task: str, args: tuple[object, ...], expected: list[tuple[str, str, int]]
) -> None:
    """A job that fails is an error, with its traceback; one that runs again is a warning."""
    ids, lines = await logged(redis_url, {task: args})
    own = [line for line in lines if line.get("job_id") == ids[task]]
    told = [(line["level"], line["message"], line["attempt"]) for line in own]
    assert len(told) == len(expected), told
    for (level, message, attempt), (wanted, begin, number) in zip(told, expected, strict=True):
        assert (level, attempt) == (wanted, number)
        assert str(message).startswith(begin)
    for line in own:
        has_failed = line["level"] == "error" and "failed" in str(line["message"])
        assert has_failed == ("traceback" in line)
        if has_failed:
            assert "in fail_" in str(line["traceback"])
            assert str(line["traceback"]).endswith("ValueError: no tea")


async def test_log_jobs(redis_url: str) -> None:
    """With --log-jobs each start is told, and each end that is no failure."""
    ids, lines = await logged(redis_url, {"nothing": (), "in_thread": ()}, "--log-jobs")
    for job_id in ids.values():
        own = [str(line["message"]) for line in lines if line.get("job_id") == job_id]
        assert own[0] == "job started"
        assert re.fullmatch(r"job done in [\d.e-]+ s", own[-1])


async def test_text(redis_url: str) -> None:
    """Without --log-format it is text, with the traceback below its line."""
    async with Queue(redis_url, name="logging") as queue:
        job = await queue.enqueue("fail_in_process", "no\ntea \x1b[31m")
        await queue.enqueue("in_process")
    async with worker_program(redis_url, "--burst", target=APP) as worker:
        assert await worker.wait_end() == 0
    fields = f"task=fail_in_process  job_id={job.id}  attempt=1"
    failed = rf"ERROR   job failed with ValueError: no\ntea \x1b[31m  {fields}"
    number = next(n for n, line in enumerate(worker.lines) if line.endswith(failed))
    assert worker.lines[number + 1] == "Traceback (most recent call last):"
    assert r"tea \x1b[31m" in worker.lines
    assert re.search(r"INFO    hello from process  task=in_process  job_id=", worker.printed)


SETUPS = {
    "nothing": "",
    "dictConfig as its defaults are": """
        logging.config.dictConfig({"version": 1, "formatters": {"f": {"format": "APP %(message)s"}},
            "handlers": {"c": {"class": "logging.StreamHandler", "formatter": "f"}},
            "root": {"handlers": ["c"], "level": "INFO"}})""",
    "dictConfig of a root without handlers": """
        logging.config.dictConfig({"version": 1, "root": {"level": "INFO"}})""",
    "dictConfig of another logger": """
        logging.config.dictConfig({"version": 1, "loggers": {"app": {"level": "INFO"}}})""",
    "dictConfig of a logger that prints": """
        logging.config.dictConfig({"version": 1, "formatters": {"f": {"format": "APP %(message)s"}},
            "handlers": {"c": {"class": "logging.StreamHandler", "formatter": "f"}},
            "loggers": {"app": {"handlers": ["c"], "level": "INFO"}}})""",
    "basicConfig": "logging.basicConfig(format='APP %(message)s', level='INFO')",
    "basicConfig by force": "logging.basicConfig(format='APP %(message)s', level=20, force=True)",
    "a handler more": """
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("APP %(message)s"))
        logging.getLogger().addHandler(handler)""",
    "a file more": "logging.getLogger().addHandler(logging.FileHandler('app.log'))",
    "job fields in its format": """
        from aiostreamq import JobFilter
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("APP %(message)s %(task)s %(attempt)s"))
        handler.addFilter(JobFilter())
        logging.basicConfig(handlers=[handler], level=20, force=True)""",
    "a record factory": """
        plain = logging.getLogRecordFactory()
        def factory(*args, **kwargs):
            record = plain(*args, **kwargs)
            record.request = "r"
            return record
        logging.setLogRecordFactory(factory)""",
}

APP_FILE = """
import logging, logging.config
{setup}
from aiostreamq import JobError, Queue

queue = Queue(name="logging")
logger = logging.getLogger("app.tasks")


@queue.task
async def fail():
    logger.info("hello from fail")
    raise ValueError("no tea")


@queue.task(executor="process")
def work():
    logger.info("hello from work")
"""


def write_app(folder: Path, setup: str = "") -> None:
    """Write an app that sets logging up when it is imported."""
    lines = [line.removeprefix("        ") for line in setup.split("\n")]
    (folder / "logging_app.py").write_text(APP_FILE.format(setup="\n".join(lines)))


def app_program(folder: Path, url: str, *options: str) -> Program:
    """Return a worker of the app in *folder*, not started yet."""
    command = ("-m", "aiostreamq", "run", "logging_app:queue", "--url", url, "--burst", *options)
    return Program(*command, where=folder, environment=ENVIRONMENT)


ENVIRONMENT = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
async def jobs(redis_url: str) -> str:
    """The address of Redis, with a job of each task of the app."""
    async with Queue(redis_url, name="logging") as queue:
        await queue.enqueue("fail")
        await queue.enqueue("work")
    return redis_url


ALONE: tuple[str, ...] = ()
SUPERVISED = ("--workers", "2")


@pytest.mark.parametrize(
    ("name", "options"),
    mostly_nightly(
        product(SETUPS, [ALONE, SUPERVISED]),
        but=[
            ("nothing", ALONE),
            ("dictConfig as its defaults are", SUPERVISED),
            ("dictConfig of a root without handlers", ALONE),
            ("dictConfig of a logger that prints", ALONE),
            ("basicConfig by force", ALONE),
            ("a handler more", ALONE),
            ("job fields in its format", ALONE),
            ("a record factory", ALONE),
        ],
    ),
)
async def test_app_that_sets_logging_up(
    jobs: str, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    """Neither is the worker silenced nor a line printed twice; the app's handlers print theirs."""
    setup = SETUPS[name]
    write_app(tmp_path, setup)
    async with app_program(tmp_path, jobs, *options) as worker:
        assert await worker.wait_end() == 0, worker.printed
    for part in ("job failed with ValueError: no tea", "hello from fail", "hello from work"):
        assert worker.printed.count(part) == 1, worker.printed
    if "force" in setup or "addHandler(handler)" in setup or '"c"' in setup:
        line = next(line for line in worker.lines if "hello from work" in line)
        assert line.startswith("APP"), worker.printed
    if "%(task)s" in setup:
        assert "APP hello from fail fail 1" in worker.lines
        assert "APP hello from work work 1" in worker.lines


async def test_level_of_the_app(jobs: str, tmp_path: Path) -> None:
    """The app's own level holds, unless another is asked for."""
    setup = "logging.getLogger().setLevel('ERROR')"
    write_app(tmp_path, setup)
    async with app_program(tmp_path, jobs) as worker:
        assert await worker.wait_end() == 0
    assert "hello from" not in worker.printed
    assert "job failed with" in worker.printed
    async with Queue(jobs, name="logging") as queue:
        await queue.enqueue("work")
    async with app_program(tmp_path, jobs, "--log-level", "info") as worker:
        assert await worker.wait_end() == 0
    assert "hello from work" in worker.printed


async def test_left_to_the_app(jobs: str, tmp_path: Path) -> None:
    """With `--log-config none` nothing is set up: what the app says is all."""
    setup = "logging.basicConfig(format='APP %(message)s', level='INFO')"
    write_app(tmp_path, setup)
    async with app_program(tmp_path, jobs, "--log-config", "none") as worker:
        assert await worker.wait_end() == 0
    assert "APP hello from fail" in worker.lines
    assert "APP hello from work" in worker.lines
    assert "APP job failed with ValueError: no tea" in worker.lines


CONFIG = {
    "formatters": {"f": {"format": "FILE %(task)s %(message)s"}},
    "handlers": {"c": {"class": "logging.StreamHandler", "formatter": "f"}},
    "root": {"handlers": ["c"], "level": "INFO"},
}

FILES = {
    "log.json": json.dumps(CONFIG),
    "log.toml": """
        [formatters.f]
        format = "FILE %(task)s %(message)s"
        [handlers.c]
        class = "logging.StreamHandler"
        formatter = "f"
        [root]
        handlers = ["c"]
        level = "INFO"
        """,
    "log.ini": "\n".join(
        [
            *("[loggers]", "keys=root", "[handlers]", "keys=c", "[formatters]", "keys=f"),
            *("[logger_root]", "level=INFO", "handlers=c"),
            *("[handler_c]", "class=StreamHandler", "formatter=f", "args=()"),
            *("[formatter_f]", "format=FILE %(task)s %(message)s"),
        ]
    ),
}


@pytest.mark.parametrize(
    ("name", "options"),
    mostly_nightly(
        product(FILES, [ALONE, SUPERVISED]),
        but=[("log.json", ALONE), ("log.toml", SUPERVISED), ("log.ini", ALONE)],
    ),
)
async def test_config_file(jobs: str, tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    """A file says how to log, over what the app has set up, in processes of tasks too."""
    write_app(tmp_path, SETUPS["dictConfig as its defaults are"])
    (tmp_path / name).write_text(FILES[name])
    async with app_program(tmp_path, jobs, "--log-config", name, *options) as worker:
        assert await worker.wait_end() == 0, worker.printed
    assert worker.lines.count("FILE fail hello from fail") == 1
    assert worker.lines.count("FILE work hello from work") == 1
    assert worker.lines.count("FILE fail job failed with ValueError: no tea") == 1
    assert "APP" not in worker.printed


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("log.json", "{", "Expecting property name"),
        ("log.json", "[]", "it must hold an object"),
        ("log.json", '{"handlers": {"c": {"class": "no.Such"}}}', "Cannot resolve 'no.Such'"),
        ("log.json", '{"version": 2}', "Unsupported version: 2"),
        ("log.toml", "=", "Invalid"),
        ("log.ini", "x", "log.ini"),
    ],
)
async def test_wrong_config_file(
    redis_url: str, tmp_path: Path, name: str, content: str, told: str
) -> None:
    """It is told by its name, with what is wrong, and ends with 2."""
    write_app(tmp_path)
    (tmp_path / name).write_text(content)
    async with app_program(tmp_path, redis_url, "--log-config", name) as worker:
        assert await worker.wait_end() == 2
    assert f"--log-config {name!r}: " in worker.printed
    assert told in worker.printed
    assert "Traceback" not in worker.printed
