"""rediss://: the same over an encrypted connection, under both event loops' transports."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
import trustme
import uvloop

from aiostreamq import Queue, QueueUnavailable, Worker
from tests.support.redis_server import RedisServer


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The certificate of those who have signed the server's."""
    signer = trustme.CA()
    signer.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "server.pem")
    )
    signer.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    return tmp_path / "authority.pem"


@pytest.fixture
def tls_port(authority: Path) -> Iterator[int]:
    """A server that also listens for encrypted connections, on this port."""
    port = free_port()
    server_pem = str(authority.with_name("server.pem"))
    files = ["--tls-cert-file", server_pem, "--tls-key-file", server_pem]
    trust = ["--tls-ca-cert-file", str(authority), "--tls-auth-clients", "no"]
    with RedisServer("--tls-port", str(port), *files, *trust):
        yield port


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_jobs_over_tls(
    tls_port: int, authority: Path, run: Callable[[Coroutine[None, None, None]], None]
) -> None:
    """Enqueue, run and await, with payloads larger than one TLS record."""
    run(make_round_trips(f"rediss://localhost:{tls_port}/0?ssl_ca_certs={authority}"))


async def make_round_trips(url: str) -> None:
    """Send 50 jobs that carry 40,000 bytes there and twice as many back."""
    async with Queue(url) as queue:

        @queue.task
        async def double(text: str) -> str:
            return text + text

        async with Worker(queue):
            jobs = await queue.enqueue_many(double.bind("x" * 40_000) for _ in range(50))
            assert [len(await job) for job in jobs] == [80_000] * 50


async def test_unknown_authority(tls_port: int) -> None:
    """A server that cannot show who it is is not talked to."""
    queue = Queue(f"rediss://localhost:{tls_port}/0", enqueue_timeout=2)
    with pytest.raises(QueueUnavailable, match="certificate"):
        await queue.open()
    await queue.aclose()
