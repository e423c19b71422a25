"""The examples that are scripts."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.examples.processes import ROOT, environment, worker

if TYPE_CHECKING:
    from collections.abc import Sequence


def run_script(*arguments: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python <arguments>` to its end."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment(url),
        cwd=ROOT,
    )


def totals(output: str) -> Sequence[str]:
    """Return the lines that do not depend on the time or the place."""
    return [line for line in output.splitlines() if line.startswith("  ")]


def test_quickstart_prints_its_results() -> None:
    """It runs as it stands, and prints what the README says."""
    done = run_script("examples/quickstart.py")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "words: {'to': 2, 'be': 2, 'or': 1, 'not': 1}",
        "sums: [0, 2, 4, 6, 8]",
    ]


def test_index_in_memory() -> None:
    """With no argument but fewer files it counts right, and draws no bar where nobody looks."""
    done = run_script("examples/index_stdlib.py", "--limit", "60")
    assert done.returncode == 0, done
    assert done.stderr == ""
    assert "Indexing 60 files" in done.stdout
    assert "A direct count gives the same totals" in done.stdout
    assert any(line.split()[0] == "NAME" for line in totals(done.stdout))


async def test_index_on_redis_with_two_workers(redis_url: str) -> None:
    """Workers in two processes of their own count the same."""
    target = "examples.index_stdlib:queue"
    arguments = ("examples/index_stdlib.py", "--limit", "100")
    async with worker(target, url=redis_url), worker(target, url=redis_url):
        done = run_script(*arguments, "--url", redis_url, "--no-worker")
    assert done.returncode == 0, done
    assert "100 jobs in" in done.stdout
    assert totals(done.stdout) == totals(run_script(*arguments).stdout)


def test_index_refuses_other_workers_in_memory() -> None:
    """`--no-worker` alone would wait for ever, and is refused."""
    done = run_script("examples/index_stdlib.py", "--no-worker")
    assert done.returncode == 2
    assert "no other process can reach memory://" in done.stderr


def test_index_reports_files_that_do_not_tokenize(tmp_path: object) -> None:
    """A file in no known encoding is told by name, in jobs and in the direct count alike."""
    code = """if True:
        import asyncio, pathlib, sys
        from examples import index_stdlib
        from examples.index_stdlib import run
        wrong = pathlib.Path(sys.argv[1]) / "wrong.py"
        wrong.write_bytes(b"# coding: klingon\\n")
        right = pathlib.Path(sys.argv[1]) / "right.py"
        right.write_bytes("# coding: latin-1\\nname = 'h\\xe9'\\n".encode("latin-1"))
        files = [str(wrong), str(right)]
        sys.exit(asyncio.run(run(files, url="memory://", has_worker=True)))
    """
    done = run_script("-c", code, str(tmp_path))
    assert done.returncode == 0, done
    assert "does not tokenize (SyntaxError): wrong.py" in done.stdout
    assert "COMMENT" in done.stdout


def test_index_fails_when_the_counts_differ() -> None:
    """The exit code says it when jobs and direct count do not agree."""
    code = """if True:
        import asyncio, sys
        from examples import index_stdlib
        index_stdlib.count_directly = lambda files: index_stdlib.Index()
        files = index_stdlib.find_files(limit=3)
        sys.exit(asyncio.run(index_stdlib.run(files, url="memory://", has_worker=True)))
    """
    done = run_script("-c", code)
    assert done.returncode == 1, done
    assert "WRONG" in done.stdout
