"""The README and the documentation are true: code, commands, links and tables."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import aiostreamq.errors
from aiostreamq.cli.main import build_parser
from tests.docs.page import Block, blocks_of, workers_in
from tests.examples.processes import environment
from tests.support.redis_server import RedisServer
from tests.support.waiting import TIME_SCALE
from tests.support.warm_start import start_python

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
LANGUAGES = {
    *("python", "bash", "text", "json", "lua", "toml", "ini", "yaml", "dockerfile", "mermaid"),
}

#: Seconds that the code of a page may take.
PATIENCE = 40 * TIME_SCALE


def blocks(page: Path, language: str) -> list[Block]:
    """Return the blocks of one language."""
    return [block for block in blocks_of(page.read_text()) if block.language == language]


PYTHON_PAGES = [page for page in PAGES if blocks(page, "python")]


class Printed(NamedTuple):
    """The output and the exit code of the process that ran a page."""

    code: int
    stdout: str
    stderr: str


def run_page(page: Path, url: str, cwd: Path) -> Printed:
    """Run the code of a page in a process of its own."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = start_python(
            ["-m", "tests.docs.page", str(page)],
            stdout=stdout.fileno(),
            stderr=stderr.fileno(),
            environment=environment(url),
            where=cwd,
            is_leader=True,
        )
        try:
            code = process.wait(PATIENCE)
        finally:
            # With the workers that a page which hangs has started.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        # Not seek and read: the position is shared with the process that writes.
        texts = [os.pread(file.fileno(), 1_000_000, 0).decode() for file in (stdout, stderr)]
        return Printed(code, *texts)


@pytest.mark.timeout(PATIENCE + 60)
@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_runs(page: Path, redis_url: str, tmp_path: Path) -> None:
    """The Python of a page runs from top to bottom, and prints what the page shows."""
    done = run_page(page, redis_url, tmp_path)
    assert done.code == 0, f"{done.stdout}\n{done.stderr}"
    shown = [block.text for block in blocks(page, "text") if block.is_output]
    missing = [text for text in shown if text not in done.stdout]
    assert not missing, f"it printed:\n{done.stdout}"


def test_blocks_say_what_they_are() -> None:
    """Every fenced block has a language, so that none escapes being run by a typing error."""
    for page in PAGES:
        unknown = {block.language for block in blocks_of(page.read_text())} - LANGUAGES
        assert not unknown, page
        assert page.read_text().count("\n```") % 2 == 0, page


def test_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Every `aiostreamq` command in a block of shell commands is one that the parser takes."""
    parser = build_parser()
    for page in PAGES:
        for block in blocks(page, "bash"):
            for command in workers_in(block):
                try:
                    parser.parse_args(command)
                except SystemExit:
                    pytest.fail(f"{page}: {command}: {capsys.readouterr().err}")


def test_links_lead_somewhere() -> None:
    """A link to a file, or to a heading in one, finds it."""
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page}: {link}"
            if anchor:
                assert anchor in headings(target), f"{page}: {link}"


@cache
def headings(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_every_page_is_reachable() -> None:
    """Each page is linked from the index of the documentation."""
    index = ROOT / "docs" / "index.md"
    linked = {
        (index.parent / link.partition("#")[0]).resolve()
        for link in re.findall(r"\]\(([^)\s]+)\)", index.read_text())
    }
    assert set(PAGES) - {index} <= linked


def test_readme_shows_the_quickstart() -> None:
    """The README's example is the file in `examples/`, line by line, and its output is real."""
    file = (ROOT / "examples" / "quickstart.py").read_text()
    shown = blocks(ROOT / "README.md", "python")[0].text
    assert file.endswith(shown)
    assert shown.startswith("import asyncio\n")


def test_error_tree_is_the_codes_own() -> None:
    """The reference draws the tree that `errors.py` draws, and has a heading for each error."""
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    tree = [line.strip() for line in (aiostreamq.errors.__doc__ or "").splitlines()]
    drawn = {line.strip() for line in page.splitlines()}
    assert {line for line in tree if "──" in line} <= drawn
    base, found = aiostreamq.AioStreamQError, vars(aiostreamq.errors).items()
    errors = {k for k, v in found if isinstance(v, type) and issubclass(v, base)}
    assert set(re.findall(r"^### (\w+)$", page, flags=re.MULTILINE)) == errors


@pytest.mark.parametrize(
    "commands",
    [
        ["run"],
        [f"dead-letters {action}" for action in ("ls", "show", "replay", "purge")],
        ["schedules ls", "schedules explain", "schedules create", "schedules rm"],
        ["jobs ls", "jobs show", "jobs result", "jobs cancel"],
        ["info"],
        ["workers"],
        ["enqueue"],
        ["pause"],
        ["resume"],
        ["doctor"],
    ],
    ids=lambda commands: commands[0].split()[0],
)
def test_every_option_of_the_command_line_is_documented(
    commands: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The reference names each option of a command, and no other."""
    page = (ROOT / "docs" / "reference" / "cli.md").read_text()
    heading = f"## aiostreamq {commands[0].split()[0]}\n"
    section = page.partition(heading)[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`--[^|]*) \|", section, flags=re.MULTILINE)
    documented = set(re.findall(r"--[a-z-]+", " ".join(first_cells)))
    options: set[str] = set()
    for command in commands:
        with pytest.raises(SystemExit):
            build_parser().parse_args([*command.split(), "--help"])
        usage = capsys.readouterr().out
        options |= set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", usage, flags=re.MULTILINE))
    assert documented == options


def test_every_script_is_documented() -> None:
    """The wire format has a row for each Lua script, and no other."""
    page = (ROOT / "docs" / "reference" / "keys-and-wire-format.md").read_text()
    documented = set(re.findall(r"^\| `(\w+\.lua)`", page, flags=re.MULTILINE))
    package = Path(aiostreamq.__file__).parent
    assert documented == {path.name for path in package.glob("store/lua/*.lua")}


def test_page_that_is_wrong_fails(redis_server: RedisServer, tmp_path: Path) -> None:
    """The runner of pages sees an error in a block, and names the page's own line."""
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    done = run_page(page, redis_server.url, tmp_path)
    assert done.code == 1
    assert f'File "{page}", line 8' in done.stderr
