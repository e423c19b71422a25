"""What strangers may write where jobs, calls and notices are expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

#: Where a number should be.
NUMBERS = (
    *(
        b"",
        b"0",
        b"-1",
        b"1_0",
        b" 1",
        b"+1",
        b"1.5",
        b"nan",
        b"inf",
        b"1e308",
        b"0x10",
        b"\xd9\xa1",
    ),
    *(b"9" * 18, b"9" * 30, b"9" * 400, b"9" * 5_000, b"-" + b"9" * 400, b"one", b"\x00"),
)

#: Where a value of JSON should be.
VALUES: list[object] = orjson.loads(
    rb"""[null, true, false, 0, -1, 1.5, 1e300, -1e300, 9223372036854775808, 1000000000000000000,
    "", "x", "1", "\u0000", "\u00e9", [], [1], [null], [[[]]], {}, {"a": 1}, {"1": 2},
    [{"a": [1]}], "10s", "-5s"]"""
)

#: The fields of an envelope, and of its rule of retries.
FIELDS = ("v", "task", "args", "kwargs", "timeout", "result_ttl", "retry", "expires", "lane", "new")
RULE = ("on", "not_on", "backoff", "base", "cap", "jitter", "new")


def some_bytes(rng: Random, most: int = 40) -> bytes:
    """Anything at all."""
    return rng.randbytes(rng.randrange(most))


def deep(rng: Random) -> bytes:
    """JSON that is nested deeper than readers like."""
    depth = rng.choice([100, 300, 1_000, 2_000, 20_000])
    return b'{"task":"echo","args":' + b"[" * depth + b"]" * depth + b"}"


def json_value(rng: Random, depth: int = 0) -> object:
    """A random value that JSON can carry."""
    kind = rng.randrange(12)
    if depth > 3 or kind < 8:
        return rng.choice(VALUES) if rng.random() < 0.8 else rng.uniform(-1e9, 1e9)
    if kind < 10:
        return [json_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(FIELDS): json_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def call(rng: Random, tasks: Sequence[str]) -> dict[str, object]:
    """A call that begins well, with a field or two that do not."""
    said: dict[str, object] = {"task": rng.choice(tasks), "args": [rng.choice(VALUES)]}
    for _ in range(rng.randrange(3)):
        said[rng.choice(FIELDS)] = json_value(rng)
    if rng.random() < 0.3:
        said["retry"] = rule(rng) if rng.random() < 0.7 else [rule(rng), rule(rng)]
    return said


def rule(rng: Random) -> dict[str, object]:
    """A rule of retries that may be one."""
    # Not for ever: a job that is told to run a billion times does.
    told: dict[str, object] = {"attempts": rng.choice([1, 2, 3, True, 2.5, *"1x", None, [], -1])}
    return told | {rng.choice(RULE): json_value(rng) for _ in range(rng.randrange(3))}


def envelope(rng: Random, tasks: Sequence[str]) -> bytes:
    """What may stand where an envelope should."""
    match rng.randrange(6):
        case 0:
            return some_bytes(rng)
        case 1:
            return orjson.dumps(json_value(rng))
        case 2:
            written = orjson.dumps(call(rng, tasks))
            return written[: rng.randrange(len(written))]
        case 3:
            return deep(rng) if rng.random() < 0.05 else b'{"v":2,"task":"echo","args":[1]}'
        case _:
            return orjson.dumps(call(rng, tasks))


def unreadable_envelope(rng: Random) -> bytes:
    """What no worker takes for a call."""
    good = b'{"task":"echo","args":[1]}'
    return rng.choice(
        [
            *(b"", b"\xff", b"null", b"[]", b"5", b"{}", b'{"v":2,"task":"echo"}'),
            *(b'{"task":5}', b'{"task":"echo","args":5}', b'{"task":"echo","kwargs":[]}'),
            *(b'{"task":"echo","retry":5}', b'{"task":"echo","timeout":-1}'),
            good[: rng.randrange(len(good) - 1)],
        ]
    )


def an_id(rng: Random) -> bytes:
    """What may stand where the id of a job should."""
    odd = (
        b"",
        b" ",
        b"a b",
        b"a\nb",
        b"\xff\xfe",
        b"\x00",
        b"x" * 5_000,
        b"{q}",
        "é".encode(),
        b"*",
    )
    return rng.choice(odd) if rng.random() < 0.3 else b"stranger-%d" % rng.randrange(2_000)


def entry(rng: Random, job_id: bytes, job: bytes) -> list[bytes]:
    """The fields and values of an entry that is nearly one."""
    fields = [b"id", job_id, b"n", b"1", b"job", job]
    match rng.randrange(10):
        case 0:
            return [some_bytes(rng) for _ in range(2 * rng.randrange(1, 5))]
        case 1:
            at = rng.randrange(0, 6, 2)
            return fields[:at] + fields[at + 2 :]
        case 2:
            fields[rng.randrange(6)] = some_bytes(rng)
        case 3:
            fields[3] = rng.choice(NUMBERS)
        case 4:
            fields += [rng.choice([b"a", b"d", b"x"]), rng.choice(NUMBERS)]
        case 5:
            return fields[2:4] + fields[:2] + fields[4:]
        case 6 if rng.random() < 0.002:
            fields += [b"%d" % number for number in range(rng.choice([500, 9_000, 20_000]))]
        case _:
            pass
    return fields


def unparsed_entry(rng: Random, job_id: bytes) -> list[bytes]:
    """The fields and values of an entry under somebody's id that no worker takes for a job."""
    fields = [b"id", job_id, b"n", b"1", b"job", b'{"task":"echo","args":[0]}']
    match rng.randrange(4):
        case 0:
            fields[3] = rng.choice([b"", b"0", b"-1", b"1.5", b"one", b"1_0", b"9" * 400])
        case 1:
            fields[5] = unreadable_envelope(rng)
        case 2:
            return fields[:4]
        case _:
            fields += [b"a", rng.choice([b"-1", b"x", b"1_0"])]
    return fields


def notice(rng: Random, job_id: bytes) -> bytes:
    """What may come through an inbox, about a job among others, that is no outcome of it."""
    task = rng.choice([b'"echo"', b"[]", b"5", b"null"])
    outcomes = (
        *(b"", b" ", b"{", b"null", b"5", b"[]", b"{}", b'"done"', b"\xff\xfe", some_bytes(rng)),
        *(b'{"state":5}', b'{"state":"queued"}', b'{"state":"?"}', b'{"state":["done"]}'),
        *(b'{"state":"failed","error":5}', b'{"state":"failed","error":{"type":1}}'),
        b'{"state":"done","n":1,"task":%b' % task,
        b'{"state":"done","task":[%b],"value":0}' % task,
        b"[" * 3_000,
    )
    match rng.randrange(5):
        case 0:
            return some_bytes(rng)
        case 1:
            return an_id(rng) + b" " + rng.choice(outcomes)
        case 2:
            lines = [job_id + b" " + rng.choice(outcomes) for _ in range(3)]
            return b"\n".join([*lines, b"", some_bytes(rng)])
        case 3:
            return job_id
        case _:
            return job_id + b" " + rng.choice(outcomes)
