"""The reaction to each error of Redis."""

import pytest

from aiostreamq import AioStreamQError
from aiostreamq.store.connection.link import CommandError, LinkLost
from aiostreamq.store.connection.redis_errors import (
    Remedy,
    is_elsewhere,
    moved_to,
    remedy_for,
    with_advice,
)

SHA = "6b1bf486c81ceb7edf3c093f4c48582e38c0e791"
# How Redis 6.2 tells of an error inside a script.
OLD = f"ERR Error running script (call to f_{SHA}): @user_script:37: "
# And Redis 7 and newer.
NEW = f" script: {SHA}, on @user_script:37."

TOLD = [
    ("LOADING Redis is loading the dataset in memory", Remedy.AGAIN),
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL", Remedy.AGAIN),
    ("TRYAGAIN Multiple keys request during rehashing of slot", Remedy.AGAIN),
    ("CLUSTERDOWN The cluster is down", Remedy.AGAIN),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is 'no'.", Remedy.AGAIN),
    ("READONLY You can't write against a read only replica.", Remedy.AGAIN),
    ("READONLY You can't write against a read only replica." + NEW, Remedy.AGAIN),
    (OLD + "@user_script: 37: -READONLY You can't write against a read", Remedy.AGAIN),
    ("NOREPLICAS Not enough good replicas to write.", Remedy.AGAIN),
    ("MISCONF Redis is configured to save RDB snapshots, but it's unable to", Remedy.AGAIN),
    (OLD + "@user_script: 37: -MISCONF Redis is configured to save RDB", Remedy.AGAIN),
    ("UNBLOCKED force unblock from blocking operation, instance state changed", Remedy.AGAIN),
    ("UNBLOCKED the stream key no longer exists", Remedy.REPAIR),
    ("NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP", Remedy.REPAIR),
    ("-NOGROUP No such consumer group 'g' for key name 's'" + NEW, Remedy.REPAIR),
    (OLD + "NOGROUP No such consumer group", Remedy.REPAIR),
    ("OOM command not allowed when used memory > 'maxmemory'.", Remedy.PUSH_BACK),
    ("OOM command not allowed when used memory > 'maxmemory'." + NEW, Remedy.PUSH_BACK),
    (OLD + "@user_script: 37: -OOM command not allowed when used", Remedy.PUSH_BACK),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", Remedy.NONE),
    ("NOAUTH Authentication required.", Remedy.NONE),
    ("NOPERM User default has no permissions to run the 'evalsha' command", Remedy.NONE),
    ("ERR The user executing the script can't run this command or" + NEW, Remedy.NONE),
    ("ERR unknown command 'XREADGROUP'", Remedy.NONE),
    ("ERR value is not an integer or out of range", Remedy.NONE),
    ("WRONGPASS invalid username-password pair or user is disabled.", Remedy.NONE),
    ("MOVED 3999 127.0.0.1:6381", Remedy.AGAIN),
    ("ASK 3999 127.0.0.1:6381", Remedy.AGAIN),
    (OLD + "@user_script: 37: Lua script attempted to access a non local key in", Remedy.AGAIN),
    ("ERR Script attempted to access a non local key in a cluster node" + NEW, Remedy.AGAIN),
    ("ERR Unable to execute command 'exists' in script because undeclared keys "
     "were accessed during rehashing of the slot" + NEW, Remedy.AGAIN),
    (OLD + "@user_script: 37: Lua script attempted to execute a write command "
     "while the cluster is down and readonly", Remedy.AGAIN),
    ("ERR Script attempted to execute a write command while the cluster is down "
     "and readonly" + NEW, Remedy.AGAIN),
    ("NOSCRIPT No matching script. Please use EVAL.", Remedy.AGAIN),
    ("ERR max number of clients reached", Remedy.AGAIN),
    ("ERR WAIT cannot be used with replica instances. Please also note", Remedy.AGAIN),
    ("ERR WAITAOF cannot be used with replica instances. Please also", Remedy.AGAIN),
    ("ERR WAITAOF cannot be used when numlocal is set but appendonly is", Remedy.NONE),
]  # fmt: skip


@pytest.mark.parametrize(("told", "remedy"), TOLD, ids=[told[:60] for told, _ in TOLD])
def test_what_redis_may_say(told: str, remedy: Remedy) -> None:
    """Each error has its one remedy, also where a script stands between."""
    assert remedy_for(CommandError(told)) is remedy


def test_a_lost_connection() -> None:
    """It may be tried again: whether the command ran is for the scripts to know."""
    assert remedy_for(LinkLost("gone")) is Remedy.AGAIN


def test_what_is_not_of_redis() -> None:
    """It is no matter of trying again."""
    assert remedy_for(AioStreamQError("BUSY")) is Remedy.NONE
    assert remedy_for(ValueError("LOADING")) is Remedy.NONE


@pytest.mark.parametrize(
    ("told", "elsewhere"),
    [
        ("READONLY You can't write against a read only replica.", True),
        (OLD + "@user_script: 37: -READONLY You can't write against a read only", True),
        ("MASTERDOWN Link with MASTER is down", True),
        ("UNBLOCKED force unblock from blocking operation", True),
        ("UNBLOCKED the stream key no longer exists", False),
        ("ERR max number of clients reached", True),
        ("ERR WAIT cannot be used with replica instances. Please also note", True),
        ("MOVED 3999 127.0.0.1:6381", True),
        ("ASK 3999 127.0.0.1:6381", False),
        ("TRYAGAIN Multiple keys request during rehashing of slot", False),
        ("LOADING Redis is loading the dataset in memory", False),
        ("OOM command not allowed when used memory > 'maxmemory'.", False),
    ],
)
def test_another_server_is_in_charge(told: str, elsewhere: bool) -> None:
    """Where the link leads to a server that may not write, it is opened anew."""
    assert is_elsewhere(CommandError(told)) is elsewhere


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("MOVED 3999 127.0.0.1:6381", ("127.0.0.1", 6381)),
        ("MOVED 3999 ::1:6381", ("::1", 6381)),
        ("MOVED 3999 node-2.example.org:6381", ("node-2.example.org", 6381)),
        ("MOVED 3999 :6381", ("", 6381)),
        ("MOVED 3999 ?:6381", None),
        ("MOVED 3999", None),
        ("MOVED", None),
        ("MOVED 3999 host:port", None),
        ("ASK 3999 127.0.0.1:6381", None),
        ("READONLY You can't write against a read only replica.", None),
        (OLD + "MOVED 3999 127.0.0.1:6381", None),
    ],
)
def test_where_the_queue_is(told: str, address: tuple[str, int] | None) -> None:
    """A cluster tells which node has the queue, and only that is followed."""
    assert moved_to(CommandError(told)) == address


def test_code() -> None:
    """The first word of an error is its code."""
    assert CommandError("NOSCRIPT No matching script.").code == "NOSCRIPT"


@pytest.mark.parametrize(
    ("told", "advice"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'." + NEW, "Redis is full"),
        (OLD + "@user_script: 37: -OOM command not allowed when used", "Redis is full"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "another program"),
        ("NOPERM User default has no permissions to run the 'evalsha' command", "the Redis user"),
        ("ERR The user executing the script can't run this command or" + NEW, "the Redis user"),
        (OLD + "@user_script: 37: The user executing the script can't run", "the Redis user"),
        ("ERR ACL failure in script: User default has no permissions" + NEW, "the Redis user"),
        ("NOAUTH Authentication required.", "put it in the URL"),
        ("MOVED 3999 127.0.0.1:6381", "has this queue on another node"),
        ("ASK 3999 127.0.0.1:6381", "is moving this queue"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "is moving this queue"),
        ("ERR Script attempted to access a non local key in" + NEW, "is moving this queue"),
    ],
    ids=str,
)
def test_whose_business_it_is(told: str, advice: str) -> None:
    """What will not pass by itself is told with what to do, and Redis's own words."""
    advised = str(with_advice(CommandError(told)))
    assert advice in advised
    assert told in advised


def test_no_advice() -> None:
    """Where there is none, the error is left as it is."""
    for error in (CommandError("ERR unknown command 'X'"), LinkLost("gone"), ValueError("OOM")):
        assert with_advice(error) is error
