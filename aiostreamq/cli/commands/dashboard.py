"""`aiostreamq dashboard`: serve the dashboard of queues, in code or in Redis."""

import argparse
from typing import TYPE_CHECKING

from aiostreamq.cli.connect import add_import, checked_url, modules_of
from aiostreamq.cli.named_queue import is_in_code
from aiostreamq.cli.option_sources import add_sourced, from_variable, sourced
from aiostreamq.cli.option_values import add_value, port, text
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiostreamq.queue import Queue

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080

# The packages of the extra.
_NEEDED = ("starlette", "jinja2", "uvicorn")


def add_dashboard(add_parser: "Callable[..., argparse.ArgumentParser]") -> None:
    """Add the command."""
    dashboard = add_parser(
        "dashboard",
        help="serve a dashboard of queues",
        description="Serve a dashboard in the browser. It shows all queues of a Redis, whose "
        "code is not needed, or queues in your code. Needs the extra 'web'.",
    )
    dashboard.add_argument(
        "sources",
        nargs="*",
        metavar="URL or module:queue",
        help="a Redis, such as redis://localhost:6379, for all of its queues; or a queue in your "
        "code; several may be given (default: the Redis of --url)",
    )
    which = dashboard.add_argument_group("which queues")
    which.add_argument(
        "--queue", metavar="NAME", action="append", help="only the queue of this name in each "
        "Redis; may be repeated"
    )  # fmt: skip
    which.add_argument(
        "--url", default=from_variable("--url"), help="the Redis if no other is given"
    )
    add_import(which)
    served = dashboard.add_argument_group("how it is served")
    served.add_argument(
        "--host", default=DEFAULT_HOST, help="the address to listen at (default: %(default)s)"
    )
    add_value(served, "--port", port, "the port (default: %(default)s)", default=DEFAULT_PORT)
    served.add_argument(
        "--root-path", default="", metavar="PATH", help="the path that a proxy removes, as /queue"
    )
    allowed = dashboard.add_argument_group("what is allowed")
    allowed.add_argument(
        "--write", action="store_true", help="let users cancel, replay, pause and trigger"
    )
    login = "ask for this name and password; better in the variable, as others see arguments"
    add_sourced(allowed, "--login", text, None, login, metavar="NAME:PASSWORD")
    allowed.add_argument(
        "--login-header", metavar="HEADER", help="take the user from this header of a proxy"
    )


def dashboard(args: argparse.Namespace) -> int:
    """Run `aiostreamq dashboard` and return the exit code.

    Raises:
        UsageError: An option is wrong, the extra is missing, or the dashboard would be open to
            others without a login.
    """
    if missing := missing_packages():
        raise UsageError(f"the dashboard needs {', '.join(missing)}: pip install 'aiostreamq[web]'")
    from aiostreamq.cli.process.dashboard_server import serve
    from aiostreamq.web.access import LOCAL_HOSTS, basic_login, proxy_login

    authorize = None
    if args.login and args.login_header:
        raise UsageError("--login and --login-header exclude each other: give one")
    if args.login:
        user, _, password = str(args.login).partition(":")
        if not (user and password):
            raise sourced(
                UsageError("--login: give a name and a password, as in ada:secret"), args.login
            )
        authorize = basic_login({user: password})
    elif args.login_header:
        authorize = proxy_login(args.login_header)
    elif args.host not in LOCAL_HOSTS:
        raise UsageError(
            f"--host {args.host}: others could see and change your jobs; give a login, with "
            f"--login, AIOSTREAMQ_LOGIN or --login-header, or listen at {DEFAULT_HOST}"
        )
    queues = queues_of(args)
    return serve(
        queues,
        host=args.host,
        port=args.port,
        root_path=args.root_path.rstrip("/"),
        write=args.write,
        authorize=authorize,
    )


def queues_of(args: argparse.Namespace) -> "list[Queue]":
    """Return the queues that the command line names.

    Raises:
        UsageError: There is no such queue, or a URL is invalid.
        QueueUnavailable: Redis cannot be reached to find its queues.
    """
    from aiostreamq.cli.target import load_queue

    url = checked_url(args.url)
    queues: list[Queue] = []
    for source in args.sources or [url]:
        if source is not None and is_in_code(source):
            queue = load_queue(source, modules_of(args))
            if url:
                queue.use_url(url)
            queues.append(queue)
        else:
            queues += _queues_in(checked_url(source), args.queue)
    return queues


def _queues_in(url: str | None, names: list[str] | None) -> "list[Queue]":
    import asyncio

    from aiostreamq.queue import Queue
    from aiostreamq.store.connection.connector import connector_for
    from aiostreamq.store.inspect.key_scan import find_queues

    connector = connector_for(url)
    if connector.is_in_memory:
        raise UsageError(
            "memory:// is a store of each process for itself, and is empty here: mount the "
            "dashboard in the process of the queue, with aiostreamq.web.dashboard(queue)"
        )
    found = asyncio.run(find_queues(connector))
    missing = [name for name in names or () if name not in found]
    if missing or not found:
        named = ", ".join(map(repr, missing)) or "any queue"
        raise UsageError(
            f"{named}: not found at {connector.address}; no program has opened such a queue yet. "
            f"It has: {', '.join(sorted(found)) or 'none'}"
        )
    return [Queue(url, name=name, lanes=found[name]) for name in names or sorted(found)]


def missing_packages() -> list[str]:
    """Return the packages that the dashboard needs and that are not installed."""
    from importlib.util import find_spec

    return [name for name in _NEEDED if find_spec(name) is None]
