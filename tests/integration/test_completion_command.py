"""The completion scripts, in the shells that are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from aiostreamq.cli.main import main

# A command line, and some of the offers for its end.
TYPED = [
    ("aiostreamq ", {"run", "info", "jobs", "completion"}),
    ("aiostreamq jo", {"jobs"}),
    ("aiostreamq jobs ", {"ls", "show", "result", "cancel"}),
    ("aiostreamq jobs ls --st", {"--state"}),
    ("aiostreamq jobs cancel app:queue --state ", {"queued", "running"}),
    ("aiostreamq dead replay --ra", {"--rate"}),
    ("aiostreamq completion ", {"bash", "zsh", "fish"}),
    ("aiostreamq run app:queue --work", {"--workers"}),
]

_ASK = {
    "bash": """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_aiostreamq
printf '%s\\n' "${COMPREPLY[@]}"
""",
    "zsh": """
compdef() { }
compadd() { shift; for one in "$@"; [[ $one = ${words[CURRENT]}* ]] && print -- $one; return 0 }
source "$1"; shift
words=("$@"); CURRENT=$#
_aiostreamq
""",
    "fish": """
source $argv[1]
complete -C "$argv[2..]" | string split -f1 \\t; true
""",
}


@pytest.fixture(scope="module")
def shells() -> set[str]:
    """Return the shells that are installed here."""
    return {shell for shell in _ASK if shutil.which(shell)}


@pytest.mark.parametrize(
    "shell",
    # The others are missing on many machines; scripts/nightly installs them with scripts/shells.
    [pytest.param(one, marks=() if one == "bash" else pytest.mark.nightly) for one in _ASK],
)
@pytest.mark.parametrize(("line", "offers"), TYPED)
def test_offers(
    shells: set[str],
    shell: str,
    line: str,
    offers: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The shell offers the commands, options and values that fit."""
    if shell not in shells:
        pytest.skip(f"{shell} is not installed: put `scripts/shells DIR` on PATH")
    assert main(["completion", shell]) == 0
    script = tmp_path / "script"
    script.write_text(capsys.readouterr().out)
    arguments = [str(script), *([line] if shell == "fish" else line.split(" "))]
    if shell != "fish":
        arguments.insert(0, shell)  # $0, which fish does not have
    start = ["zsh", "-f", "-c"] if shell == "zsh" else [shell, "-c"]
    asked = subprocess.run(
        [*start, _ASK[shell], *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    found = set(asked.stdout.split())
    assert offers <= found
    typed = line.rpartition(" ")[2]
    assert all(one.startswith(typed) for one in found)
