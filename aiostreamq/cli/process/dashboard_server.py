"""The server of `aiostreamq dashboard`: uvicorn, ended by signals as a worker is."""

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from aiostreamq.cli.output import complain
from aiostreamq.errors import AioStreamQError
from aiostreamq.web import dashboard

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from socket import socket

    from aiostreamq.queue import Queue
    from aiostreamq.web.access import Authorize

# Seconds that answers in progress may take after the first signal.
_GRACE = 5


class _Server(uvicorn.Server):
    """Uvicorn that ends in order at a signal, and says where it listens."""

    def __init__(self, config: uvicorn.Config, announce: "Callable[[str], None]") -> None:
        super().__init__(config)
        self._announce = announce

    @contextmanager
    def capture_signals(self) -> "Generator[None]":
        """Handle signals while the server runs."""
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, self.handle_exit, one, None)
        yield

    async def startup(self, sockets: "list[socket] | None" = None) -> None:
        """Listen. If the port is taken, uvicorn says so and exits with 1."""
        await super().startup(sockets=sockets)
        if self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            self._announce(f"http://{shown}:{port}{self.config.root_path}/")


def serve(
    queues: "Sequence[Queue]",
    *,
    host: str,
    port: int,
    root_path: str,
    write: bool,
    authorize: "Authorize | None",
) -> int:
    """Serve the dashboard until a signal ends it; return the exit code."""
    server = _server_of(
        queues, host=host, port=port, root_path=root_path, write=write, authorize=authorize
    )
    return asyncio.run(_run(server, queues))


async def serve_beside(queues: "Sequence[Queue]", *, host: str, port: int) -> None:
    """Serve the dashboard of open queues, with write allowed, until a signal ends it."""
    server = _server_of(queues, host=host, port=port, root_path="", write=True, authorize=None)
    await server.serve()


def _server_of(
    queues: "Sequence[Queue]",
    *,
    host: str,
    port: int,
    root_path: str,
    write: bool,
    authorize: "Authorize | None",
) -> _Server:
    app = dashboard(*queues, write=write, authorize=authorize)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        root_path=root_path,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
    )
    names = ", ".join(queue.name for queue in queues)
    mode = "read and write" if write else "read-only: --write lets users change jobs"

    def announce(address: str) -> None:
        complain(f"aiostreamq: dashboard of {names} at {address} ({mode})")

    return _Server(config, announce)


async def _run(server: _Server, queues: "Sequence[Queue]") -> int:
    try:
        await server.serve()
    except SystemExit as end:
        return 1 if end.code else 0
    finally:
        for queue in queues:
            try:
                await queue.aclose()
            except AioStreamQError as error:
                complain(f"aiostreamq: {error}")
    return 0
