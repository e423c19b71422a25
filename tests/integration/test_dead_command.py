"""`aiostreamq dead`, as a process of its own."""

import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from aiostreamq import Worker
from tests.integration.dead_app import greet, queue, sink
from tests.support.processes import Program
from tests.support.waiting import wait_until

TARGET = "tests.integration.dead_app:queue"


@pytest.fixture(autouse=True)
async def address(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[None]:
    """The empty store that the queue is in, here and in the program; it is closed at the end."""
    queue.use_url(redis_url)
    monkeypatch.setenv("AIOSTREAMQ_URL", redis_url)
    yield
    await queue.aclose()  # a test that is cut short may have left it open, for all after it


async def fail(*names: str) -> list[str]:
    """Have a job fail for each name, and one of another task; returns all their ids."""
    jobs = [await greet.using(id=f"job-{name}").enqueue(name) for name in names]
    jobs += [await sink.using(id="job-ship").enqueue("Vasa\x1b[2J")]
    async with Worker(queue, concurrency=1):
        await wait_until(lambda: has_letters(len(jobs)), "letters")
    return [job.id for job in jobs]


async def has_letters(count: int) -> bool:
    """Say whether there are so many by now."""
    return await queue.dead_letters.count() == count


async def ask(*words: str, code: int = 0) -> list[str]:
    """Run `aiostreamq dead` and return the lines it printed."""
    async with Program("-m", "aiostreamq", "dead", words[0], TARGET, *words[1:]) as program:
        assert await program.wait_end() == code, program.printed
    assert code == 0 or "Traceback (most" not in program.printed
    return program.lines


async def answer(said: str, *words: str) -> tuple[int, str]:
    """Run it on a terminal and say something there; returns its exit code and all it printed."""
    command = [sys.executable, "-m", "aiostreamq", "dead", words[0], TARGET, *words[1:]]
    source = f"import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn({command!r})))"
    async with Program("-c", source, send=said) as program:
        return await program.wait_end(), program.printed


def editor(directory: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a program of *body* the editor; it finds the path of the file in `path`."""
    script = directory / "editor.py"
    script.write_text(f"import json, pathlib, sys\npath = pathlib.Path(sys.argv[1])\n{body}\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")


async def test_list() -> None:
    """One aligned line a letter, newest first, that cannot steer the terminal."""
    async with queue:
        await fail("nobody")
        head, first, second = await ask("ls")
    assert head.split() == ["LETTER", "DIED", "(UTC)", "TASK", "STATE", "RUNS", "JOB", "ERROR"]
    assert head.index("ERROR") == first.index("LookupError") == second.index("ValueError")
    assert "sink" in first
    assert first.endswith(r"LookupError: Vasa\x1b[2J")
    assert second.endswith("job-nobody  ValueError: cannot greet nobody")


async def test_list_as_json() -> None:
    """One object a line, with all that is known."""
    async with queue:
        await fail("nobody", "nobody2")
        told = [json.loads(line) for line in await ask("ls", "--json")]
        letters = await queue.dead_letters.list()
    assert [one["job_id"] for one in told] == ["job-ship", "job-nobody2", "job-nobody"]
    assert [one["id"] for one in told] == [letter.id for letter in letters]
    assert told[0]["args"] == ["Vasa\x1b[2J"]
    assert (told[1]["args"], told[1]["kwargs"]) == (["nobody2"], {})
    assert (told[1]["state"], told[1]["error"]) == ("failed", "ValueError")
    assert told[1]["died_at"] == letters[1].died_at.isoformat()


async def test_closed_pipe_ends_the_command_quietly() -> None:
    """Piped into a program that has had enough, as `head` has, it ends without a complaint."""
    async with queue:
        await fail("nobody")
    command = [sys.executable, "-m", "aiostreamq", "dead", "ls", TARGET]
    source = (
        f"import subprocess, sys; reader = subprocess.Popen({command!r}, stdout=subprocess.PIPE); "
        "reader.stdout.close(); sys.exit(reader.wait())"
    )
    async with Program("-c", source) as program:
        assert await program.wait_end() == 0
    assert program.lines == []


async def test_filters() -> None:
    """They are those of the queue."""
    async with queue:
        await fail("nobody", "nobody2")

        async def jobs(*words: str) -> list[str]:
            lines = await ask("ls", "--json", *words)
            return [json.loads(one)["job_id"] for one in lines if one.startswith("{")]

        assert await jobs("--task", "sink") == ["job-ship"]
        assert await jobs("--error", "ValueError", "--limit", "1") == ["job-nobody2"]
        assert await jobs("--newer-than", "60", "--older-than", "0s") == [
            "job-ship",
            "job-nobody2",
            "job-nobody",
        ]
        assert await ask("ls", "--older-than", "7d") == ["no dead letters"]
        newest, hint = await ask("ls", "--json", "--limit", "1")
        assert hint == f"there are more: --before {json.loads(newest)['id']}"
        assert await jobs(*hint.split()[-2:]) == ["job-nobody2", "job-nobody"]


async def test_show() -> None:
    """All of one letter, for people or as an object, by either id."""
    async with queue:
        await fail("nobody")
        await queue.dead_letters.replay("job-nobody")
        async with Worker(queue):
            await wait_until(lambda: has_letters(2), "it to fail again")
        letter = await queue.dead_letters.show("job-nobody")
        page = "\n".join(await ask("show", "job-nobody"))
        [line] = await ask("show", "--json", letter.id)
    assert f"letter      {letter.id}" in page
    assert 'args        ["nobody"]' in page
    assert "deliveries  2" in page
    assert "history\n" in page
    assert page.endswith("ValueError: cannot greet nobody")
    told = json.loads(line)
    assert told["traceback"] == letter.traceback
    assert [past["error"] for past in told["history"]] == ["ValueError"]


async def test_replay() -> None:
    """The jobs run again; how many is said."""
    async with queue:
        await fail("nobody", "nobody2")
        assert await ask("replay", "job-nobody") == ["replayed 1 job"]
        assert await ask("replay", "--error", "ValueError", "--rate", "50") == ["replayed 1 job"]
        assert await ask("replay", "--all") == ["replayed 1 job"]
        assert await queue.dead_letters.count() == 0
        async with Worker(queue):
            await wait_until(lambda: has_letters(3), "them to fail again")


async def test_edited_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job runs with what the editor left."""
    change = (
        "call = json.loads(path.read_text())\n"
        "assert call == {'args': ['nobody'], 'kwargs': {}}, call\n"
        "path.write_text(json.dumps({'args': ['Ada'], 'kwargs': {'at': '2030-01-01T00:00:00Z'}}))"
    )
    editor(tmp_path, change, monkeypatch)
    async with queue:
        await fail("nobody")
        assert await ask("replay", "job-nobody", "--edit") == ["replayed 1 job"]
        async with Worker(queue):
            assert await queue.job("job-nobody") == "hello Ada, 2030"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("path.write_text('{')", "the edited file is not JSON"),
        ('path.write_text(\'{"args": {}, "kwargs": {}}\')', "write an object"),
        ('path.write_text(\'{"args": [], "kwargs": {}}\')', "missing a required argument: 'name'"),
        ('path.write_text(\'{"args": ["a", "soon"], "kwargs": {}}\')', "argument 'at'"),
    ],
)
async def test_editing_that_went_wrong(
    change: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The letter is as it was."""
    editor(tmp_path, change, monkeypatch)
    async with queue:
        await fail("nobody")
        before = await queue.dead_letters.list()
        lines = await ask("replay", "job-nobody", "--edit", code=2)
        assert told in "\n".join(lines)
        assert await queue.dead_letters.list() == before


async def test_purge_without_a_terminal() -> None:
    """It destroys nothing unless it is told that this is meant."""
    async with queue:
        await fail("nobody")
        assert "give --yes" in (await ask("purge", "--all", code=2))[-1]
        assert await queue.dead_letters.count() == 2
        assert await ask("purge", "--task", "sink", "--yes") == ["purged 1 dead letter"]
        assert await ask("purge", "--all", "--yes") == ["purged 1 dead letter"]


async def test_purge_asks() -> None:
    """It says how many would be destroyed, and takes nothing but a yes for one."""
    async with queue:
        await fail("nobody", "nobody2")
        code, told = await answer("\n", "purge", "--all")
        assert code == 1
        assert "Delete 3 dead letters of queue 'dead'?" in told
        assert "nothing was deleted" in told
        assert await queue.dead_letters.count() == 3
        code, told = await answer("y\n", "purge", "--error", "ValueError")
        assert (code, await queue.dead_letters.count()) == (0, 1)
        assert "Delete 2 dead letters" in told
        assert "purged 2 dead letters" in told
        code, told = await answer("yes\n", "purge", "job-ship")
        assert (code, await queue.dead_letters.count()) == (0, 0)
        code, told = await answer("y\n", "purge", "--all")
        assert code == 0
        assert "purged 0 dead letters" in told


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("show", "job-none"), 1, "has no dead letter 'job-none'"),
        (("replay",), 2, "ids, filters or --all"),
        (("purge",), 2, "ids, filters or --all"),
        (("purge", "--yes"), 2, "ids, filters or --all"),
        (("replay", "a", "--all"), 2, "use one of them"),
        (("replay", "--all", "--edit"), 2, "give exactly one id"),
        (("replay", "--all", "--rate", "0"), 2, "--rate '0': give"),
        (("ls", "--limit", "0"), 2, "--limit '0'"),
        (("ls", "--older-than", "long"), 2, "invalid duration"),
    ],
)
async def test_mistakes(words: tuple[str, ...], code: int, told: str) -> None:
    """A wrong command line is told in one message."""
    assert told in "\n".join(await ask(*words, code=code))
