"""Arguments on their way through somebody's editor."""

import sys
from pathlib import Path

import pytest

from aiostreamq import DeadLetter, UsageError
from aiostreamq.cli.editor import edit_arguments
from aiostreamq.model.dead_letters import parse_letter


def letter(call: bytes = b'{"task":"greet","args":["\xc3\x85sa"]}') -> DeadLetter:
    """Return the letter of a job."""
    flat = [b"outcome", b"", b"worker", b"", b"stream", b"", b"entry", b""]
    return parse_letter(b"1-0", [*flat, b"id", b"j", b"n", b"1", b"job", call])


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a program that is the editor; it is given the path to edit."""
    script = tmp_path / "with space.py"
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} '{script}'")
    return script


def write(editor: Path, body: str) -> None:
    """Have the editor do this to `path`."""
    editor.write_text(f"import pathlib, sys\npath = pathlib.Path(sys.argv[1])\n{body}\n")


def test_left_as_it_is(editor: Path) -> None:
    """Who changes nothing gets the arguments there were."""
    write(editor, "assert 'Åsa' in path.read_text('utf-8')")
    assert edit_arguments(letter()) == (["Åsa"], {})


def test_changed(editor: Path) -> None:
    """What was written is what comes back."""
    write(editor, """path.write_text('{"kwargs": {"a": 1}, "args": [[]]}')""")
    assert edit_arguments(letter()) == ([[]], {"a": 1})


def test_visual_comes_first(editor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere."""
    monkeypatch.setenv("VISUAL", "/no/such/editor --wait")
    with pytest.raises(UsageError, match=r"could not be started.*nothing was changed"):
        edit_arguments(letter())


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("path.write_text('{')", "is not JSON"),
        ("path.write_text('')", "is not JSON"),
        ("path.write_bytes(b'\\xff')", "is not JSON"),
        ("path.write_text('[' * 100_000)", "is not JSON"),
        ("path.unlink()", "is not JSON"),
        ("path.write_text('[1]')", "write an object"),
        ("""path.write_text('{"args": []}')""", "write an object"),
        ("""path.write_text('{"args": {}, "kwargs": {}}')""", "write an object"),
        ("""path.write_text('{"args": [], "kwargs": {}, "task": 1}')""", "write an object"),
        ("sys.exit(3)", "ended with 3"),
    ],
)
def test_wrong(editor: Path, body: str, told: str) -> None:
    """What cannot be meant is refused, and it is said that nothing was changed."""
    write(editor, body)
    with pytest.raises(UsageError, match=told) as refused:
        edit_arguments(letter())
    assert "nothing was changed" in str(refused.value)


@pytest.mark.parametrize("editor_word", ["'", "  "])
def test_editor_that_is_none(editor_word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that names no program is said to be none."""
    monkeypatch.setenv("VISUAL", editor_word)
    with pytest.raises(UsageError, match="nothing was changed"):
        edit_arguments(letter())


def test_arguments_that_cannot_be_read(editor: Path) -> None:
    """There is nothing to edit."""
    with pytest.raises(UsageError, match="no arguments"):
        edit_arguments(letter(b"is not JSON"))
