"""Finding the queue that `package.module:name` means."""

import importlib
import sys
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from aiostreamq.errors import UsageError
from aiostreamq.queue import Queue


def load_queue(target: str) -> Queue:
    """Import the queue named by *target*.

    Raises:
        UsageError: There is none; the message says what was tried.
    """
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise UsageError(f"{target!r} names no queue: write package.module:name, as in app:queue")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    found: object = _import(module_name)
    for name in path.split("."):
        found = _attribute(found, name, module_name)
    if not isinstance(found, Queue):
        raise UsageError(f"{target} is a {type(found).__qualname__}, not a Queue")
    return found


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise  # the module is there; something that it imports is not
        raise UsageError(
            f"there is no module {error.name!r}: looked in {Path.cwd()} and the Python path"
        ) from None


def _attribute(found: object, name: str, module: str) -> object:
    try:
        return getattr(found, name)
    except AttributeError:
        near = get_close_matches(name, dir(found), n=1)
        queues = [k for k, v in getattr(found, "__dict__", {}).items() if isinstance(v, Queue)]
        hint = ""
        if queues:
            hint = f": its queues are {', '.join(sorted(queues))}"
        elif near:
            hint = f": did you mean {near[0]!r}?"
        raise UsageError(f"module {module!r} has no {name!r}{hint}") from None
