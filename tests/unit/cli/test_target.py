"""`module:queue` on the command line finds the queue, or says why not."""

import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from aiostreamq import Queue, UsageError
from aiostreamq.cli.target import load_queue

Write = Callable[[str], str]


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes a module where the command is run, and gives its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str) -> str:
        name = f"app_{uuid.uuid4().hex}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


SOURCE = """
from aiostreamq import Queue
mail = Queue("memory://", name="mail")
class jobs:
    inner = Queue("memory://", name="inner")
VERSION = "1.0"
"""


def test_queue(write_module: Write) -> None:
    """A queue is found in a module beside which the command is run."""
    name = write_module(SOURCE)
    found = load_queue(f"{name}:mail")
    assert isinstance(found, Queue)
    assert found.name == "mail"
    assert load_queue(f"{name}:mail") is found


def test_queue_inside_something(write_module: Write) -> None:
    """The name may have dots."""
    assert load_queue(f"{write_module(SOURCE)}:jobs.inner").name == "inner"


@pytest.mark.parametrize("target", ["", "app", "app:", ":queue", "app.queue"])
def test_no_target(target: str) -> None:
    """What has not both parts is refused with an example."""
    with pytest.raises(UsageError, match=r"write package\.module:name"):
        load_queue(target)


@pytest.mark.parametrize("name", ["no_such_module_here", "no_such_package.module", "json.nothing"])
def test_no_module(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The missing module is named, and where it was looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(UsageError, match=r"there is no module '.*looked in") as caught:
        load_queue(f"{name}:queue")
    assert str(tmp_path) in str(caught.value)


def test_unknown_name_is_refused_with_the_queues_of_the_module(write_module: Write) -> None:
    """The module's queues are told."""
    with pytest.raises(UsageError, match=r"has no 'male': its queues are mail"):
        load_queue(f"{write_module(SOURCE)}:male")


def test_no_queue_at_all(write_module: Write) -> None:
    """The nearest name is told where there is no queue."""
    with pytest.raises(UsageError, match=r"has no 'VERSIN': did you mean 'VERSION'"):
        load_queue(f"{write_module('VERSION = 1')}:VERSIN")


def test_file_hidden_by_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint is to rename the file, not a similar name in the other module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "queue.py").write_text(SOURCE)
    with pytest.raises(UsageError, match=r"not the file queue\.py here: rename your file$"):
        load_queue("queue:queue")


def test_something_else(write_module: Write) -> None:
    """What is no queue is named for what it is."""
    with pytest.raises(UsageError, match="is a str, not a Queue"):
        load_queue(f"{write_module(SOURCE)}:VERSION")


@pytest.mark.parametrize("path", ["VERSION.nothing", "mail.nothing", "mail.name.nothing"])
def test_a_name_inside_something_else(write_module: Write, path: str) -> None:
    """Whatever the dots lead through, what is missing is told."""
    with pytest.raises(UsageError, match="has no 'nothing'"):
        load_queue(f"{write_module(SOURCE)}:{path}")


def test_the_module_misses_another(write_module: Write) -> None:
    """Its own missing import is its own error, not a mistyped target."""
    name = write_module("import no_such_dependency")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        load_queue(f"{name}:queue")


def test_the_module_fails(write_module: Write) -> None:
    """What it raises comes through as it is."""
    with pytest.raises(ZeroDivisionError):
        load_queue(f"{write_module('1 / 0')}:queue")
