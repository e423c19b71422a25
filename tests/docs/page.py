"""Run the code of one page, as a reader who follows it from top to bottom would.

    python -m tests.docs.page docs/tutorial/first-job.md

The rules, which are also for those who write pages:

- All blocks of a page share one namespace. A block may `await`: all of a page's
  blocks that do run in one event loop.
- A block whose first line is `# app.py` is written to a file of that name, and
  imported; its names are there for the blocks that follow.
- `aiostreamq run app:queue`, in a `bash` block, starts that worker if the page has
  made `app.py`; it is ended, in order, with the page. With `--burst` it runs to its
  end there and then. All else in `bash` blocks is not run.
- Where a page says `redis://localhost:6379`, `$AIOSTREAMQ_URL` is what is used.
- A block after `<!-- not run: reason -->` is not run.

Line numbers in tracebacks are the page's own.
"""

import ast
import asyncio
import importlib
import inspect
import os
import re
import shlex
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: \S.*-->\n+$")
LOCAL_REDIS = "redis://localhost:6379"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    is_output: bool  #: what the page has printed by then must have this in it
    is_run: bool
    line: int  #: of its first line of text in the page, from 1
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that this is."""
        named = re.match(r"# (\w+\.py)$", self.text.partition("\n")[0])
        return named[1] if named else None


def blocks_of(page: str) -> Iterator[Block]:
    """Give the fenced blocks of a page in order."""
    for fence in FENCE.finditer(page):
        parts = fence["info"].split() or [""]
        is_run = not NOT_RUN.search(page[: fence.start()])
        line = page.count("\n", 0, fence.start("text")) + 1
        yield Block(parts[0], "output" in parts[1:], is_run, line, fence["text"])


def workers_in(block: Block) -> Iterator[list[str]]:
    """Give the arguments of each `aiostreamq` command in a block of shell commands."""
    for line in block.text.replace("\\\n", " ").splitlines():
        parts = shlex.split(line.removeprefix("$ "), comments=True)
        while parts and re.match(r"[A-Z_]+=", parts[0]):
            del parts[0]
        if parts[:3] == ["python", "-m", "aiostreamq"]:
            yield parts[3:]
        elif parts[:1] == ["aiostreamq"]:
            yield parts[1:]


class Page:
    """A page while it is run, in the current directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._module = ModuleType("page")
        sys.modules["page"] = self._module  # dataclasses look their module up
        self._workers: list[subprocess.Popen[str]] = []

    def run(self) -> None:
        """Run all blocks, then end the workers."""
        try:
            with asyncio.Runner() as runner:
                for block in blocks_of(self._path.read_text()):
                    if block.is_run and block.language == "python":
                        self._run_python(block, runner)
                    elif block.is_run and block.language == "bash":
                        self._run_workers(block)
        finally:
            codes = [self._end(worker) for worker in self._workers]
        assert not any(codes), f"workers ended with {codes}"

    def _run_python(self, block: Block, runner: asyncio.Runner) -> None:
        names = vars(self._module)
        text = block.text.replace(LOCAL_REDIS, os.environ["AIOSTREAMQ_URL"])
        if block.file is not None:
            Path(block.file).write_text(text)
            importlib.invalidate_caches()
            made = importlib.import_module(block.file.removesuffix(".py"))
            names.update({k: v for k, v in vars(made).items() if not k.startswith("__")})
            return
        source = "\n" * (block.line - 1) + text
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code: CodeType = compile(source, str(self._path), "exec", flags, dont_inherit=True)
        if code.co_flags & inspect.CO_COROUTINE:
            runner.run(eval(code, names))
        else:
            exec(code, names)

    def _run_workers(self, block: Block) -> None:
        for command in workers_in(block):
            targets = [part for part in command if re.fullmatch(r"\w+:\w+", part)]
            if command[0] != "run" or not targets:
                continue
            if not Path(f"{targets[0].partition(':')[0]}.py").exists():
                continue
            program = [sys.executable, "-m", "aiostreamq", *command]
            if "--burst" in command:
                subprocess.run(program, check=True)
            else:
                self._workers.append(_started(program))

    def _end(self, worker: subprocess.Popen[str]) -> int:
        worker.send_signal(signal.SIGTERM)
        _, log = worker.communicate()
        sys.stderr.write(log)
        return worker.returncode


def _started(program: list[str]) -> subprocess.Popen[str]:
    worker = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    assert worker.stderr is not None
    for line in worker.stderr:
        if line.startswith("  tasks ("):  # the last line of the banner
            return worker
        sys.stderr.write(line)
    raise AssertionError(f"{program} ended with {worker.wait()}")


if __name__ == "__main__":
    sys.path.insert(0, "")
    warnings.simplefilter("error")
    Page(Path(sys.argv[1])).run()
