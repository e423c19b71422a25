"""The plugin for pytest, in runs of pytest of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """
import pytest
from aiostreamq import Queue

app = Queue("redis://127.0.0.1:1", name="app")

@app.task
async def double(number: int) -> int:
    return 2 * number

@pytest.fixture
def queue_under_test() -> Queue:
    return app
"""

USES = """
import asyncio
import pytest
from conftest import app, double
{imports}

{mark}
@pytest.mark.parametrize("number", range(3))
{define}test_runs(isolated_queue, number):
    await double.enqueue(number)
    assert [run.result() for run in await isolated_queue.run_all()] == [2 * number]

{mark}
{define}test_clock(isolated_queue, queue_clock):
    await double.using(delay="1d").enqueue(2)
    await queue_clock.advance("23h")
    assert not isolated_queue.runs
    await queue_clock.advance("1h")
    assert len(isolated_queue.runs) == 1

{mark}
@pytest.mark.parametrize("number", range(3))
{define}test_real(isolated_redis_queue, number):
    await double.enqueue(number)
    assert [run.result() for run in await isolated_redis_queue.run_all()] == [2 * number]
"""

SYNC = """
import asyncio
from conftest import double

async def use(test):
    await double.enqueue(4)
    return [run.result() for run in await test.run_all()]

def test_runs(isolated_queue):
    assert asyncio.run(use(isolated_queue)) == [8]

def test_again(isolated_queue):
    assert asyncio.run(use(isolated_queue)) == [8]
"""

ANYIO = """
@pytest.fixture
def anyio_backend():
    return "asyncio"
"""

LIGHT = """
import sys

def test_is_light(request):
    assert request.config.pluginmanager.has_plugin("pytest_aiostreamq")
    assert not [name for name in sys.modules if name.partition(".")[0] in {"aiostreamq", "redis"}]
"""


#: Plugins that these runs need not import, which takes a quarter of their time.
UNUSED = ("faker", "hypothesispytest", "pytest_cov", "time_machine", "timeout")


def run(path: Path, *options: str) -> str:
    """Run pytest in a folder, with the plugin and those that are named; return what it prints."""
    program = [sys.executable, "-W", "error", "-m", "pytest", "-p", "pytest_aiostreamq", *options]
    program += ["-p", "no:randomly", "-p", "no:cacheprovider", "-W", "error"]
    program += [part for name in UNUSED for part in ("-p", f"no:{name}")]
    if "no:asyncio" not in options:  # unset, it warns
        program += ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(program, cwd=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("options", "imports", "mark"),
    [
        pytest.param(["-o", "asyncio_mode=auto"], "", "", id="asyncio-auto"),
        pytest.param(["-o", "asyncio_mode=strict"], "", "@pytest.mark.asyncio", id="strict"),
        pytest.param(["-p", "no:asyncio"], ANYIO, "@pytest.mark.anyio", id="anyio"),
        pytest.param(
            ["-o", "asyncio_mode=auto", "-n", "2"], "", "", id="xdist", marks=pytest.mark.nightly
        ),
        pytest.param(
            ["-o", "asyncio_default_test_loop_scope=session", "-o", "asyncio_mode=auto"],
            *("", ""),
            id="session-loop",
        ),
    ],
)
def test_fixtures(tmp_path: Path, options: list[str], imports: str, mark: str) -> None:
    """They work in each test, with each plugin that runs tests in an event loop."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    text = USES.format(imports=imports, mark=mark, define="async def ")
    (tmp_path / "test_app.py").write_text(text)
    assert "7 passed" in run(tmp_path, *options)


def test_without_any_plugin(tmp_path: Path) -> None:
    """A test that runs its event loop itself can use them."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_app.py").write_text(SYNC)
    assert "2 passed" in run(tmp_path, "-p", "no:asyncio", "-p", "no:anyio")


def test_changes_nothing_by_being_there(tmp_path: Path) -> None:
    """It loads nothing, and adds nothing but fixtures."""
    (tmp_path / "test_app.py").write_text(LIGHT)
    without_others = ["-p", "no:asyncio", "-p", "no:anyio", "-p", "no:hypothesispytest"]
    assert "1 passed" in run(tmp_path, *without_others)
    shown = run(tmp_path, *without_others, "--fixtures")
    part = shown.partition("pytest_aiostreamq")[2].partition("\n-")[0]
    assert set(re.findall(r"^(\w+)(?: \[| --)", part, re.MULTILINE)) <= FIXTURES


def test_skips_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says why."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_app.py").write_text("def test_real(isolated_redis_queue):\n    pass\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    output = run(tmp_path, "-rs", "-p", "no:asyncio")
    assert "no redis-server or valkey-server on PATH" in output


FIXTURES = {
    "queue_clock",
    "queue_under_test",
    "isolated_queue",
    "private_redis",
    "isolated_redis_queue",
}
