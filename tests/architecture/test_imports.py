"""The modules that an import loads: they cost each program time and memory."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import aiostreamq

PACKAGE = Path(aiostreamq.__file__).parent

#: Imported where first needed, so that `import aiostreamq` is quick, and works without extras.
IMPORTED_LATE = {
    *("anyio", "asyncio", "fakeredis", "pydantic", "redis", "rich", "uvloop", "watchfiles"),
    *("cronsim", "zoneinfo"),
}

#: The modules of this package that `import aiostreamq` loads at most, without those of packages.
#: All are needed to declare a queue and a task. Each costs a fifth of a millisecond or more.
LOADED = {
    "client": """
        call context core decorators extensible_queue job queue_calls queue_client queue_views
        registration task task_argument task_decorators
    """,
    "client.resources": "resource_queue",
    "client.sessions": "session_manager shared_connector",
    "": "errors queue version",
    "model": """
        callbacks duration english envelope exception_names job_state keys lanes metadata options
        outcome record retry stored task time unknown_options
    """,
    "model.functions": """
        callables context_parameter dependency result_type signature type_hints worker_parameters
    """,
    "model.values": "codec equality masking plain_annotations plain_json",
}

#: Other packages that a worker does not need before it connects, and some not even then.
NOT_OF_A_WORKERS_IMPORT = {"anyio", "email", "fakeredis", "importlib.metadata", "redis", "zipfile"}

#: How many modules a worker loads at most until it has run a plain job. Each costs a fifth of a
#: millisecond and 15 kB.
MOST_OF_A_WORKER = 177

#: Modules and packages that few workers need. They are loaded at the first use.
NOT_OF_A_WORKER = (
    *("cli", "contrib", "testing", "telemetry", "aio.loop_thread", "client.backpressure"),
    *("client.blocking", "model.job_events", "model.job_transitions", "store.connection.in_memory"),
    *("model.listener_events", "worker.run.run_reports"),
    *("client.lock", "client.sessions.locking", "store.locks"),
    "model.lock_reports",
    *("store.durability", "store.job_events", "worker.job_events", "worker.run.process_main"),
    *("worker.run.processes", "worker.run.shared_slots"),
    *("client.dead_letters", "client.doctor", "client.info", "client.job_listing"),
    *("client.middleware", "client.results.gathering", "client.results.mapping"),
    *("client.schedules", "client.tasks", "model.dead_letters", "model.functions.dependency_plan"),
    *("model.functions.type_checking_imports", "model.info"),
    *("model.replayed_job", "model.schedules.definition", "model.schedules.timing"),
    *("model.values.pydantic_secrets", "model.values.set_order", "store.connection.fake_session"),
    *(
        "store.inspect.snapshot",
        "store.inspect.walk",
        "worker.group",
        "worker.logs.setup",
        "worker.protocols",
    ),
    *("worker.run.process_call", "worker.run.dependencies", "worker.run.middleware_chain"),
)

#: Runs a worker on a server until it has run one job.
ONE_JOB = """
import asyncio
from aiostreamq import Queue, Worker
async def plain(n: int) -> int:
    return n
async def main():
    queue = Queue({!r})
    task = queue.task(plain)
    async with Worker(queue):
        assert await (await task.enqueue(1)) == 1
asyncio.run(main())
"""


def loaded_by(statements: str) -> set[str]:
    """Return the modules that statements load in a new interpreter."""
    code = f"import sys; before = set(sys.modules)\n{statements}\nprint(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def ours(modules: set[str]) -> set[str]:
    """Return the modules of this package, without its name, and without packages."""
    names = {name.removeprefix("aiostreamq.") for name in modules if name.startswith("aiostreamq.")}
    return {name for name in names if not (PACKAGE / name.replace(".", "/")).is_dir()}


def test_import_is_light() -> None:
    """`import aiostreamq` imports nothing that can wait."""
    imported = {name.partition(".")[0] for name in loaded_by("import aiostreamq")}
    assert "aiostreamq" in imported
    assert not imported & IMPORTED_LATE


def test_import_loads_no_more_modules() -> None:
    """`import aiostreamq` loads the modules of the list."""
    listed = {
        f"{package}.{name}".lstrip(".")
        for package, names in LOADED.items()
        for name in names.split()
    }
    assert ours(loaded_by("import aiostreamq")) == listed


@pytest.mark.parametrize("module", NOT_OF_A_WORKER)
def test_listed_module_exists(module: str) -> None:
    """The list has the present names of modules."""
    path = PACKAGE / module.replace(".", "/")
    assert path.is_dir() or path.with_suffix(".py").exists()


def test_import_of_worker_is_light() -> None:
    """`from aiostreamq import Worker` loads nothing that only a connected worker needs."""
    assert not loaded_by("from aiostreamq import Worker") & NOT_OF_A_WORKERS_IMPORT


def test_worker_loads_no_more_modules(redis_url: str) -> None:
    """A worker that has run a plain job has loaded no module of the list, and not many others."""
    loaded = ours(loaded_by(ONE_JOB.format(redis_url)))
    found = {
        name for name in loaded if f"{name}.".startswith(tuple(f"{n}." for n in NOT_OF_A_WORKER))
    }
    assert "worker.settle.settler" in loaded
    assert not found
    assert len(loaded) <= MOST_OF_A_WORKER


def test_frozen_dataclasses_are_records() -> None:
    """A frozen dataclass takes ten times as long to define as a record."""
    frozen = re.compile(r"@dataclass\(.*frozen=True")
    found = [path for path in PACKAGE.rglob("*.py") if frozen.search(path.read_text())]
    assert not found
