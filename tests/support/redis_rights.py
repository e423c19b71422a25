"""Which commands of Redis the code sends, and on whose behalf: read from the source."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from aiostreamq.store import scripts
from aiostreamq.store.scripts import SCRIPTS
from tests.support.redis_server import RedisServer, RedisServerError

PACKAGE = Path(scripts.__file__).parents[1]
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "redis-users.md"

#: Commands that rules name with their subcommand.
CONTAINERS = {"ACL", "CLIENT", "CONFIG", "MEMORY", "OBJECT", "SCRIPT", "XGROUP", "XINFO"}

#: A file without a match sends no command, and need not be parsed, which takes its time.
COMMAND = re.compile('"[A-Z]{3,}"')

#: Words in capitals that begin a tuple or the arguments of a call, and are no commands.
NO_COMMANDS = {"BLOCK", "COUNT", "GROUP", "LIMIT", "MATCH", "METADATA", "STREAMS"}

#: What is asked for if it may be, and done without: see the page for what that costs.
OPTIONAL = {"config|get", "type", "wait", "waitaof"}

#: Which scripts and which functions each kind of user needs. A function is named by its
#: file; with its own name too where only some of the file's are needed.
SCRIPTS_OF = {
    "producer": "create_groups enqueue enqueue_delayed enqueue_unique replication_marker subscribe "
    "push_inbox_marker job_state cancel cancel_lane take_lock renew_lock release_lock",
    "worker": "settle settle_and_continue record_stats requeue dead_letter_unreadable "
    "deregister_worker renew_lease "
    "find_dead_workers register_strays list_holders recover_worker read_lanes "
    "read_many_lanes note_suspect_run promote retry requeue_deleted park unpark append_events "
    "free_key declare_schedules due_schedules skip_cancelled "
    "fire_schedules list_pauses",
    "reader": "create_groups job_state queue_snapshot list_pauses list_limits explain_limits "
    "check_limits",
    "operator": "pause resume set_limit end_quiet put_schedule pause_schedule delete_schedule "
    "replay_dead_letters delete_dead_letters",
}
FUNCTIONS_OF = {
    "producer": "store/connection/connector store/connection/clock store/scripts "
    "client/results/inbox store/connection/blocking_read store/durability "
    "store/job_events:wait store/job_events:after store/queue:unblock",
    "worker": "store/inspect/server_check store/control_stream store/workers "
    "store/queue store/deliveries store/results store/inspect/snapshot:paused "
    "store/schedules:_definitions store/schedules:_state store/dead_letters:forget_old",
    "reader": "store/connection/connector store/connection/clock store/scripts "
    "store/inspect/server_check store/inspect/snapshot store/inspect/walk "
    "store/inspect/doctor_probes store/inspect/key_scan store/schedules store/locks:find_all "
    "store/dead_letters:count store/dead_letters:find "
    "store/dead_letters:newest_first store/dead_letters:oldest_first",
    "operator": "store/cancellation",
}
#: Whose rights each has beside its own.
INCLUDES = {
    "producer": (),
    "worker": ("producer",),
    "reader": (),
    "operator": ("producer", "reader"),
}


def commands_of(role: str) -> set[str]:
    """Return what a kind of user must be granted, as rules write it: `xadd`, `xinfo|groups`."""
    found: set[str] = set()
    for other in INCLUDES[role]:
        found |= commands_of(other)
    for script in SCRIPTS_OF[role].split():
        found |= _in_lua(_source(script))
    sent = commands_in_python()
    for name in FUNCTIONS_OF[role].split():
        places = [place for place in sent if place == name or place.startswith(f"{name}:")]
        assert places, f"{name} sends nothing any more"
        found = found.union(*(sent[place] for place in places))
    return found - OPTIONAL


def all_commands() -> set[str]:
    """Return every command that is sent by any code of the package."""
    in_scripts = [_in_lua(_source(script)) for script in SCRIPTS]
    return set[str]().union(*in_scripts, *commands_in_python().values())


@cache
def commands_in_python() -> dict[str, set[str]]:
    """Return the commands that each function sends, by `folder/file:function`."""
    found: dict[str, set[str]] = {}
    for folder in ("store", "client", "worker"):
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            if path.stem == "in_memory":  # it answers them
                continue
            source = path.read_text()
            if not COMMAND.search(source):
                continue
            place = path.relative_to(PACKAGE).with_suffix("").as_posix()
            for function in ast.walk(ast.parse(source)):
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                    commands = _in_function(function)
                    if commands:
                        found.setdefault(f"{place}:{function.name}", set()).update(commands)
    return found


def _in_function(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(function):
        # A command is the arguments of a call, or a tuple of its own; `_ask(queue, "TIME")`.
        words = node.args[:3] if isinstance(node, ast.Call) else []
        words = node.elts[:2] if isinstance(node, ast.Tuple) else words
        texts = [word.value if isinstance(word, ast.Constant) else None for word in words]
        for at, text in enumerate(texts):
            if not isinstance(text, str) or not re.fullmatch("[A-Z]{3,}", text):
                continue
            if text not in NO_COMMANDS:
                found.add(_named(text, texts[at + 1] if at + 1 < len(texts) else None))
            break
    return found


def _in_lua(source: str) -> set[str]:
    # A command stands in a call, or in a table that is unpacked into one.
    calls = re.findall(r"redis\.p?call\(\s*'([A-Z]+)'(?:,\s*'([A-Z]+)')?", source)
    tables = re.findall(r"\{ '[a-z|]+', '([A-Z]+)'(?:, '([A-Z]+)')?", source)
    handed_on = [(name, "") for name in re.findall(r"tasks_in\('([A-Z]+)'", source)]
    return {_named(command, more) for command, more in (*calls, *tables, *handed_on)}


def _named(command: str, more: object) -> str:
    name = f"{command}|{more}" if command in CONTAINERS and more else command
    return name.lower()


def _source(script: str) -> str:
    return scripts._source(script, on_cluster=True)  # pyright: ignore[reportPrivateUsage]


def rule_on_page(role: str) -> list[str]:
    """Return what stands on the page behind `ACL SETUSER <role>`, as words."""
    found = re.search(rf"^ACL SETUSER {role} ([^`]+)", PAGE.read_text(), flags=re.MULTILINE)
    assert found, f"the page has no rule for a {role}"
    return found[1].split()


def take_away(server: RedisServer, user: str, command: str) -> None:
    """Let a user no longer run a command; 6.2 can only take one away with all its subcommands."""
    try:
        server.ask("ACL", "SETUSER", user, f"-{command}")
    except RedisServerError:
        server.ask("ACL", "SETUSER", user, f"-{command.partition('|')[0]}")
