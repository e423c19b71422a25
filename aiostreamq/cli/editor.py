"""Changing the arguments of a job in the user's editor."""

import json
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import cast

from aiostreamq.errors import UsageError
from aiostreamq.model.dead_letters import DeadLetter


def edit_arguments(letter: DeadLetter) -> tuple[list[object], dict[str, object]]:
    """Open the arguments of *letter* in the editor, as JSON, and return the edited ones.

    Raises:
        UsageError: The letter has no readable arguments, the editor failed, or it left something
            invalid.
    """
    if letter.args is None or letter.kwargs is None:
        raise UsageError(f"dead letter {letter.id} has no arguments that could be edited")
    text = json.dumps({"args": letter.args, "kwargs": letter.kwargs}, indent=2, ensure_ascii=False)
    # In a directory of our own, as editors leave backups beside the file.
    with tempfile.TemporaryDirectory(prefix="aiostreamq-") as directory:
        path = Path(directory, "arguments.json")
        path.write_text(text + "\n", encoding="utf-8")
        _run_editor(path)
        return _read(path)


def _run_editor(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        command = [*shlex.split(editor), str(path)]
        done = subprocess.run(command, check=False)  # noqa: S603  # the user's own editor
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the editor {editor!r} could not be started ({error}): "
            f"set $EDITOR; nothing was changed"
        ) from error
    if done.returncode:
        raise UsageError(f"the editor {editor!r} ended with {done.returncode}: nothing was changed")


def _read(path: Path) -> tuple[list[object], dict[str, object]]:
    try:
        edited: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"the edited file is not JSON ({error}): nothing was changed") from error
    call = cast("dict[str, object]", edited) if isinstance(edited, dict) else {}
    args, kwargs = call.get("args"), call.get("kwargs")
    if set(call) != {"args", "kwargs"} or type(args) is not list or type(kwargs) is not dict:
        raise UsageError(
            'write an object with an array "args", an object "kwargs" and nothing else: '
            "nothing was changed"
        )
    return cast("list[object]", args), cast("dict[str, object]", kwargs)
