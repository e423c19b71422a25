"""Loading the queue that `package.module:name` names."""

import importlib
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from aiostreamq.errors import UsageError
from aiostreamq.model.english import with_article
from aiostreamq.queue import Queue
from aiostreamq.store.connection.connector import import_client


def load_queue(target: str, modules: Iterable[str] = ()) -> Queue:
    """Import the queue named by *target*, and *modules* that register tasks of it.

    Raises:
        UsageError: There is no such queue or module.
    """
    if "://" in target:
        raise UsageError(
            "the target is a URL: give the queue as package.module:name, and the URL with --url"
        )
    module_name, colon, path = target.partition(":")
    if not (module_name and colon and path):
        raise UsageError(
            f"{target!r} does not name a queue in code: write package.module:name, as in "
            f"app:queue; commands other than run take the name of a queue in Redis as --queue NAME"
        )
    _refuse_path(module_name, f":{path}")
    _find_in_current_directory()
    module = _import(module_name)
    found: object = module
    for name in path.split("."):
        found = _attribute(found, name, module)
    if not isinstance(found, Queue):
        kind = with_article(type(found).__qualname__)
        raise UsageError(f"{target} is {kind}, not a Queue{_queues_hint(module)}")
    for name in modules:
        _refuse_path(name, "")
        _import(name)
    return found


def _find_in_current_directory() -> None:
    # redis-py is imported late, and a redis.py of the user's must not take its place.
    import_client()
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def _refuse_path(name: str, rest: str) -> None:
    """Refuse the path of a file, and suggest the name of its module."""
    is_file = name.endswith(".py") and not Path(name.replace(".", "/") + ".py").exists()
    if not (is_file or "/" in name or "\\" in name or name.startswith(".")):
        return
    path = name.replace("\\", "/") if "/" in name or "\\" in name or is_file else name.lstrip(".")
    file = (Path.cwd() / path).resolve()
    start = ""
    try:
        parts = file.relative_to(Path.cwd().resolve()).parts
    except ValueError:
        start, parts = f"change to the folder {file.parent} and ", (file.name,)
    module = ".".join(parts).removesuffix(".py") or "package.module"
    raise UsageError(f"{name!r} is the path of a file: {start}give the module, {module}{rest}")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise  # the module exists; one that it imports does not
        raise UsageError(
            f"there is no module {error.name!r}: looked in {Path.cwd()} and on the Python path"
        ) from None


def _attribute(found: object, name: str, module: ModuleType) -> object:
    try:
        return getattr(found, name)
    except AttributeError:
        near = get_close_matches(name, dir(found), n=1)
        similar = f": did you mean {near[0]!r}?" if near else ""
        # First of all, that it is another module than the one in the current directory.
        hint = _shadow_hint(module) or _queues_hint(found) or similar
        raise UsageError(f"module {module.__name__!r} has no {name!r}{hint}") from None


def _queues_hint(module: object) -> str:
    queues = [k for k, v in getattr(module, "__dict__", {}).items() if isinstance(v, Queue)]
    if not queues:
        return ""
    return f": its queues are {', '.join(sorted(queues))}"


def _shadow_hint(module: ModuleType) -> str:
    """Return a hint if the file in the current directory is not the one that was imported."""
    file = Path.cwd() / f"{module.__name__.replace('.', '/')}.py"
    imported = getattr(module, "__file__", None)
    if not file.exists() or imported is None or Path(imported).resolve() == file.resolve():
        return ""
    return f": it is {imported}, not the file {file.name} here: rename your file"
