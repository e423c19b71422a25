"""Servers that are recognized, and servers that are too old."""

import pytest

from aiostreamq import BrokerError, UnsupportedServer
from aiostreamq.store.connection.server import Server, server_of


def info(**facts: str) -> bytes:
    """Write the answer of INFO server."""
    lines = ["# Server", *(f"{name}:{value}" for name, value in facts.items()), "os:Linux: 6.1", ""]
    return "\r\n".join(lines).encode()


def test_redis() -> None:
    """The version is read as numbers, and told to people as a name."""
    assert server_of(info(redis_version="7.0.15")) == Server((7, 0, 15), "Redis 7.0.15")
    assert server_of(info(redis_version="6.2.0")).version == (6, 2, 0)


def test_valkey() -> None:
    """What counts is what it is compatible with; what is told is what it is."""
    found = server_of(info(redis_version="7.2.4", server_name="valkey", valkey_version="8.0.1"))
    assert found == Server((7, 2, 4), "Valkey 8.0.1")


@pytest.mark.parametrize(
    ("facts", "is_cluster"),
    [
        ({"redis_mode": "cluster"}, True),
        ({"server_mode": "cluster"}, True),
        ({"redis_mode": "standalone"}, False),
        ({"server_mode": "standalone"}, False),
        ({"redis_mode": "sentinel"}, False),
        ({}, False),
    ],
)
def test_cluster(facts: dict[str, str], is_cluster: bool) -> None:
    """Redis and newer Valkeys tell by different names whether this is a node of a cluster."""
    assert server_of(info(redis_version="7.2.4", **facts)).is_cluster is is_cluster


@pytest.mark.parametrize("version", ["6.0.16", "5.0.14", "2.8.0", "6.1.240"])
def test_too_old(version: str) -> None:
    """It is refused with its version and what is needed."""
    with pytest.raises(UnsupportedServer, match=rf"Redis {version} is too old.*6\.2") as caught:
        server_of(info(redis_version=version))
    assert isinstance(caught.value, BrokerError)


def test_unknown_version_is_not_new_enough() -> None:
    """Who does not tell its version is not taken for new enough."""
    with pytest.raises(UnsupportedServer):
        server_of(b"")


@pytest.mark.parametrize(
    ("version", "takes"), [((6, 2, 14), False), ((7, 0, 0), True), ((7, 4), True), ((8, 0), True)]
)
def test_script_flags(version: tuple[int, ...], takes: bool) -> None:
    """Scripts start with a line of flags from Redis 7 on."""
    assert Server(version, "").takes_script_flags is takes
