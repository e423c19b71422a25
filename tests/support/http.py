"""Asking a small HTTP server, byte by byte where need be."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import cast

from tests.support.waiting import PATIENCE


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]  #: names in lower case
    body: bytes

    @property
    def told(self) -> dict[str, str]:
        """The body as JSON."""
        return cast("dict[str, str]", json.loads(self.body))


async def send(port: int, request: bytes) -> bytes:
    """Send *request* as it is; return all that comes back until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    try:
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    finally:
        writer.close()


async def ask(port: int, path: str, method: str = "GET") -> Answer:
    """Ask one question as a probe does."""
    reply = await send(
        port, f"{method} {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\n\r\n".encode()
    )
    return parse(reply)


def parse(reply: bytes) -> Answer:
    """Take a reply apart."""
    head, _, body = reply.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    version, status, _ = first.split(" ", 2)
    assert version == "HTTP/1.1"
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Answer(int(status), headers, body)
