"""One virtual environment per contestant, all on the same interpreter.

``python -m benchmarks.environments`` makes those that are missing or whose
requirements have changed; the questions do the same before they start, which
costs nothing when all is in place.

A contestant that cannot be installed is left out, with the reason: half a table
today is better than a whole one after someone has built a compiler.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field

from benchmarks.contestants import ALL, HERE, Contestant

ROOT = HERE.parent
VENVS = HERE / ".venvs"

#: Newest first: libraries are measured on what a new project would run.
PREFERRED = ("python3.13", "python3.12", "python3.11", "python3")

_IDENTIFY = "import sys, json; print(json.dumps([sys.executable, sys.version.split()[0]]))"
_VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that ran and said what it is."""

    path: str
    version: str

    @property
    def minor(self) -> tuple[int, int]:
        """Return (3, 13) for 3.13.0."""
        major, minor, *_ = self.version.split(".")
        return int(major), int(minor)


@dataclass(slots=True)
class Environments:
    """The contestants that are ready to run, and why the others are not."""

    interpreter: Interpreter
    ready: list[Contestant] = field(default_factory=list[Contestant])
    left_out: dict[str, str] = field(default_factory=dict[str, str])


class NotInstalled(Exception):
    """A contestant's environment could not be made."""


def prepare(contestants: list[Contestant], python: str | None) -> Environments:
    """Make the environments of *contestants* and say which of them are ready."""
    environments = Environments(find_interpreter(python))
    for contestant in contestants:
        try:
            _ensure(contestant, environments.interpreter)
        except NotInstalled as error:
            environments.left_out[contestant.name] = str(error)
            print(f"{contestant.name} is left out: {error}", file=sys.stderr)
        else:
            environments.ready.append(contestant)
    return environments


def find_interpreter(python: str | None) -> Interpreter:
    """Return the interpreter asked for, else the newest on PATH.

    Raises:
        SystemExit: None of them runs.
    """
    for name in (python,) if python else PREFERRED:
        if found := _identify(name):
            return found
    raise SystemExit(f"no such Python runs: {python or ', '.join(PREFERRED)}; pass --python")


def python_of(contestant: Contestant) -> str:
    """Return the path of the interpreter in the contestant's environment."""
    return str(VENVS / contestant.name / "bin" / "python")


def versions_of(contestant: Contestant) -> dict[str, str]:
    """Return what is installed for the contestant, the parts that matter."""
    command = [python_of(contestant), "-c", _VERSIONS, *contestant.distributions]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def _identify(name: str) -> Interpreter | None:
    if shutil.which(name) is None:
        return None
    # A pyenv shim answers for a version that is installed but not selected
    # only when the version is named.
    minor = name.rpartition("/")[2].removeprefix("python")
    for extra in ({}, {"PYENV_VERSION": minor}):
        command = [name, "-c", _IDENTIFY]
        answer = subprocess.run(
            command, env=os.environ | extra, check=False, capture_output=True, text=True
        )
        if answer.returncode == 0:
            path, version = json.loads(answer.stdout)
            return Interpreter(path, version)
    return None


def _ensure(contestant: Contestant, interpreter: Interpreter) -> None:
    if interpreter.minor < contestant.oldest_python:
        oldest = ".".join(map(str, contestant.oldest_python))
        raise NotInstalled(f"needs Python {oldest}, this is {interpreter.version}")
    home = VENVS / contestant.name
    stamp = home / "requirements.stamp"
    wanted = _fingerprint(contestant, interpreter)
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return
    print(f"making the environment of {contestant.name} ...", file=sys.stderr)
    _run([interpreter.path, "-m", "venv", "--clear", str(home)])
    _run(
        [
            python_of(contestant),
            *("-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
            *("--requirement", str(contestant.requirements)),
        ]
    )
    stamp.write_text(wanted, encoding="ascii")


def _fingerprint(contestant: Contestant, interpreter: Interpreter) -> str:
    requirements = contestant.requirements.read_bytes()
    if b"--editable" in requirements:
        requirements += (ROOT / "pyproject.toml").read_bytes()
    digest = hashlib.sha256(requirements).hexdigest()
    return f"{interpreter.path} {interpreter.version} {digest}\n"


def _run(command: list[str]) -> None:
    answer = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if answer.returncode != 0:
        reason = answer.stderr.strip().splitlines()[-1:] or [f"exit {answer.returncode}"]
        raise NotInstalled(reason[0])


def main() -> None:
    """Make all environments and print what is in them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", help="the interpreter to make them with")
    environments = prepare(list(ALL), parser.parse_args().python)
    for contestant in environments.ready:
        installed = versions_of(contestant).items()
        print(contestant.name, ", ".join(f"{name} {version}" for name, version in installed))


if __name__ == "__main__":
    main()
