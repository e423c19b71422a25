"""Rules about the code itself that no linter knows."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from types import ModuleType

import pytest

import aiostreamq
from aiostreamq import testing
from aiostreamq.store import scripts

PACKAGE = Path(aiostreamq.__file__).parent
ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"

MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted(PACKAGE.glob("store/lua/*.lua"))
#: Scripts that make one promise with another, and the name of their tests.
TESTED_TOGETHER = {
    "end_quiet": "quiet_limits",
    "find_dead_workers": "lease_clock",
    "list_holders": "lease_clock",
    "read_many_lanes": "read_lanes",
}
PARTS = sorted(PACKAGE.glob("store/lua/parts/*.lua"))

#: "path/in/tests.py::function": why it sleeps.
SLEEPS: dict[str, str] = {
    "support/waiting.py::wait_until": "the one place that looks again after a while",
    "support/redis_server.py::_wait_until_ready": "a process says nothing when it is ready",
    "support/cluster.py::_wait_until_ready": "the same of the nodes of a cluster",
    "support/proxy.py::_chunks": "to be slow is what it is asked for",
    "support/proxy.py::_pass_requests": "the same",
    "chaos/rhythm.py::pause": "faults come at a rhythm, whatever the jobs do",
    "chaos/rhythm.py::pause_about": "the same",
    "contract/test_admit_rates.py::test_spread": "as long as the script has said",
    "contract/test_admit_rates.py::test_clock_was_set_back_while_jobs_waited": "between two looks",
    "contract/test_quiet_limits.py::test_ends_by_itself": "as long as the script has said",
    "contract/test_quiet_limits.py::test_charges_go_on": "until a quiet is over for sure",
    "contract/test_admit_rates.py::test_last_job_of_a_woken_backlog": "as long as the reply says",
    "contract/test_held_ends.py::test_cancelled_when_it_was_woken": "as long as the reply says",
    "hostile/zoo.py::outstay": "to take its time is what it does",
    "hostile/zoo.py::block": "the same",
    "integration/test_stopped_clock.py::wait": "time stands still, so it is the question",
    "integration/test_stopped_clock.py::test_time_passes_again": "the same of time that passes",
    "chaos/test_fuzz.py::commands_in_a_second": "what is asked in that second is the question",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions_of(path: Path) -> list[Function]:
    """Return all functions in a file, nested ones included."""
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def is_task_body(function: Function) -> bool:
    """Say whether a function is decorated with some queue's `task`."""
    called = [node.func if isinstance(node, ast.Call) else node for node in function.decorator_list]
    return any(isinstance(node, ast.Attribute) and node.attr == "task" for node in called)


def sleeps_in(path: Path) -> set[str]:
    """Return the functions of a test file that sleep themselves and are no task."""
    found: set[str] = set()
    if "sleep(" not in path.read_text():  # most files; to parse them all takes long
        return found
    for function in functions_of(path):
        nested = {
            inner
            for node in ast.walk(function)
            if isinstance(node, Function) and node is not function
            for inner in ast.walk(node)
        }
        own = set(ast.walk(function)) - nested
        if any(is_sleep(node) for node in own) and not is_task_body(function):
            found.add(f"{path.relative_to(TESTS)}::{function.name}")
    return found


def is_sleep(node: ast.AST) -> bool:
    """Say whether a node calls some `sleep`. Zero seconds are a turn of the loop, not a wait."""
    if not isinstance(node, ast.Call):
        return False
    is_turn = [isinstance(arg, ast.Constant) and arg.value == 0 for arg in node.args] == [True]
    match node.func:
        case ast.Attribute(attr="sleep") | ast.Name(id="sleep"):
            return not is_turn
        case _:
            return False


def test_nothing_logs_by_itself() -> None:
    """All log lines go through `aiostreamq.logs`, which keeps what logging raises."""
    # The others quiet a library, and set the loggers of programs up.
    known = {"logs.py", "cli/process/reload.py", "worker/logs/setup.py"}
    found = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if "logging.getLogger" in path.read_text()
    }
    assert found == known


def test_scripts_are_installed() -> None:
    """The package holds its Lua scripts and its promise to be typed, however it was installed."""
    assert [path.stem for path in SCRIPTS] == sorted(scripts.SCRIPTS)
    assert (PACKAGE / "py.typed").exists()


def test_scripts_state_their_contract() -> None:
    """A script begins with what it does, takes, returns and costs."""
    for path in SCRIPTS:
        lines = path.read_text().splitlines()
        end = next((n for n, line in enumerate(lines) if not line.startswith("--")), len(lines))
        header = "\n".join(lines[:end])
        assert header.startswith(f"-- {path.name}: ")
        missing = [word for word in ("KEYS", "ARGV", "Returns", "Cost") if word not in header]
        assert not missing, path.name


def defined_in(path: Path) -> set[str]:
    """Return the names that a part gives to those who use it."""
    lines = re.findall(r"^local (?:function )?([\w, ]+)", path.read_text(), flags=re.MULTILINE)
    return {name for line in lines for name in re.findall(r"\w+", line)}


def names_in(path: Path) -> set[str]:
    """Return all words of the code of a script or a part."""
    return set(re.findall(r"\w+", re.sub(r"--.*", "", path.read_text())))


def used_by(path: Path) -> list[Path]:
    """Return the parts that a script or a part names in its header."""
    found = re.search(r"^-- uses: (.+)$", path.read_text(), flags=re.MULTILINE)
    return (
        [PACKAGE / "store/lua/parts" / f"{name}.lua" for name in found[1].split()] if found else []
    )


def test_scripts_name_the_parts_that_they_use() -> None:
    """Each names the parts that define something it needs, in order of the alphabet; no other."""
    defined = {part: defined_in(part) for part in PARTS}
    for path in SCRIPTS + PARTS:
        foreign = names_in(path) - defined_in(path)
        needed = [part.name for part in PARTS if part != path and defined[part] & foreign]
        assert [part.name for part in used_by(path)] == sorted(needed), path.name


def test_parts_define_different_names() -> None:
    """Whatever parts a script uses, none hides what another defines."""
    names = [name for part in PARTS for name in defined_in(part)]
    assert len(names) == len(set(names))


#: Commands that one part sends for all scripts: what has to be done with them has one place.
ONE_PLACE = {
    "TIME": {"time.lua"},
    "XACK": {"leave.lua", "create_groups.lua"},  # that one only tries whether it may
}


@pytest.mark.parametrize("command", ONE_PLACE)
def test_command_has_one_place(command: str) -> None:
    """No other script sends it, nor any other part."""
    sent = re.compile(rf"call\(\s*'{command}'")
    found = {path.name for path in PACKAGE.rglob("*.lua") if sent.search(path.read_text())}
    assert found == ONE_PLACE[command]


def test_all_is_what_exists() -> None:
    """`__all__` names what the package has, and all that it has."""
    public = {
        name
        for name in {*vars(aiostreamq), *dir(aiostreamq)} - {"TYPE_CHECKING"}
        if not name.startswith("_") and not isinstance(getattr(aiostreamq, name), ModuleType)
    }
    listed = {name for name in aiostreamq.__all__ if not name.startswith("__")}
    assert public == listed
    assert len(aiostreamq.__all__) == len(set(aiostreamq.__all__))


def test_all_is_what_is_documented() -> None:
    """The reference has a heading for each public name, and for nothing else."""
    reference = (ROOT / "docs" / "reference" / "api.md").read_text()
    before, _, rest = reference.partition("\n## Testing\n")
    section, _, after = rest.partition("\n## ")
    heading = re.compile(r"^### `(\w+)`$", re.MULTILINE)
    listed = sorted(name for name in aiostreamq.__all__ if not name.startswith("__"))
    assert sorted(heading.findall(before + after)) == listed
    assert sorted(heading.findall(section)) == sorted(testing.__all__)


def test_no_test_waits_by_sleeping() -> None:
    """A test waits for a condition. Tasks may sleep, and what is on the list above."""
    found: set[str] = set()
    for path in TESTS.rglob("*.py"):
        found |= sleeps_in(path)
    assert found == set(SLEEPS)


def test_scripts_have_contract_tests() -> None:
    """They are in a file of its name, where a reader of the script finds them."""
    folder = Path(__file__).parents[1] / "contract"
    names = {path.stem: TESTED_TOGETHER.get(path.stem, path.stem) for path in SCRIPTS}
    assert [stem for stem, n in names.items() if not (folder / f"test_{n}.py").exists()] == []
