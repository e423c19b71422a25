"""A script and its caller see the same in memory as on a server."""

from typing import cast

import pytest

from aiostreamq.store.connection.link import CommandError, Reply
from tests.support.store import Store

#: Scripts, and the reply to a call of each.
REPLIES: dict[str, Reply] = {
    # from Lua to the caller
    "return 'text'": b"text",
    "return '\\255\\0\\r\\n'": b"\xff\0\r\n",
    "return 3": 3,
    "return 3.9": 3,
    "return -3.9": -3,
    "return 4503599627370497": 4503599627370497,
    "return true": 1,
    "return false": None,
    "return nil": None,
    "local nothing = 1": None,
    "return {}": [],
    "return {1, 'two', {3, {'4'}}, false, true, 6.6}": [1, b"two", [3, [b"4"]], None, 1, 6],
    "return {1, nil, 3}": [1],
    "return {name = 1}": [],
    "return redis.status_reply('FINE')": b"FINE",
    "return {ok = 'FINE'}": b"FINE",
    # from the caller to Lua
    "return {#KEYS, #ARGV, KEYS[1]}": [1, 3, b"{q}k"],
    "return {ARGV[1], ARGV[2], ARGV[3]}": [b"7", b"", b"\xc3\xa9\xff"],
    "return type(ARGV[1])": b"string",
    "return ARGV[4] == nil and KEYS[2] == nil": 1,
    # from Redis to Lua
    "return type(redis.call('GET', KEYS[1]))": b"boolean",
    "return redis.call('GET', KEYS[1])": None,
    "return redis.call('SET', KEYS[1], 'v')": b"OK",
    "return redis.call('SET', KEYS[1], 'v').ok": b"OK",
    "redis.call('SET', KEYS[1], 'v') return type(redis.call('GET', KEYS[1]))": b"string",
    "return type(redis.call('EXISTS', KEYS[1]))": b"number",
    "redis.call('ZADD', KEYS[1], 1.5, 'm') return redis.call('ZSCORE', KEYS[1], 'm')": b"1.5",
    "redis.call('ZADD', KEYS[1], 2, 'm')return redis.call('ZRANGE', KEYS[1], 0, 9, 'WITHSCORES')": [
        b"m",
        b"2",
    ],
    "redis.call('HSET', KEYS[1], 'f', 'v')return redis.call('HMGET', KEYS[1], 'f', 'no')": [
        b"v",
        None,
    ],
    "redis.call('HSET', KEYS[1], 'f', 'v')return redis.call('HGETALL', KEYS[1])": [b"f", b"v"],
    "redis.call('XADD', KEYS[1], '1-1', 'f', 'v')return redis.call('XRANGE', KEYS[1], '-', '+')": [
        [b"1-1", [b"f", b"v"]]
    ],
    "return redis.call('HGETALL', KEYS[1])": [],
    "redis.call('XGROUP', 'CREATE', KEYS[1], 'g', '$', 'MKSTREAM')"
    "return redis.call('xgroup', 'DelConsumer', KEYS[1], 'g', 'c')": 0,
    # several keys, and keys that go with their last value
    "redis.call('MSET', KEYS[1], 'a', KEYS[1] .. '2', 'b')"
    "return redis.call('DEL', KEYS[1], KEYS[1] .. '2', KEYS[1] .. '3')": 2,
    "redis.call('HSET', KEYS[1], 'f', 'v') redis.call('HDEL', KEYS[1], 'f')"
    "return redis.call('EXISTS', KEYS[1], KEYS[1])": 0,
    "for n = 1, 300 do redis.call('RPUSH', KEYS[1], n) end "
    "return #redis.call('LRANGE', KEYS[1], 0, -1) + #redis.call('LRANGE', KEYS[1], 0, 98)": 399,
    # from Lua to Redis
    "redis.call('SET', KEYS[1], 12); return redis.call('GET', KEYS[1])": b"12",
    "redis.call('SET', KEYS[1], 1.5); return redis.call('GET', KEYS[1])": b"1.5",
    "redis.call('set', KEYS[1], 'v') return redis.call('gEt', KEYS[1])": b"v",
    # errors inside
    "return type(redis.pcall('LPUSH', KEYS[1]).err)": b"string",
    "redis.call('SET', KEYS[1], 'v')"
    "return string.sub(redis.pcall('LPUSH', KEYS[1], 1).err, 1, 9)": b"WRONGTYPE",
    "return (pcall(redis.call, 'NO'))": None,
    "return (pcall(cjson.decode, 'no'))": None,
    # JSON
    "return cjson.encode({a = 'b'})": b'{"a":"b"}',
    "return cjson.encode({1, 'two', true})": b'[1,"two",true]',
    'return cjson.decode(\'{"a": [1, {"b": "c"}]}\').a[2].b': b"c",
    "return cjson.decode('[null]')[1] == cjson.null": 1,
}

#: Scripts, and words in the error of a call of each.
ERRORS = {
    "return redis.error_reply('FAULT made here')": "FAULT made here",
    "return {err = 'FAULT made here'}": "FAULT made here",
    "redis.call('SET', KEYS[1], 'v') return redis.call('LPUSH', KEYS[1], 1)": "WRONGTYPE",
    "redis.call('SET', KEYS[1], 'v') return redis.pcall('LPUSH', KEYS[1], 1)": "WRONGTYPE",
    "return redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', KEYS[1], '>')": "NOGROUP",
    "error('made here')": "made here",
    "return nothing + 1": "nothing",
    "return nothing": "nothing",
    "made = 1": "global|readonly",
    "function made() end": "global|readonly",
    "local nothing; return nothing.field": "nothing",
    "return redis.call('NO')": "(?i)unknown",
    "return redis.call('SET')": "(?i)wrong number",
    "return redis.call('GET', KEYS[1], 'more')": "(?i)wrong number",
    "return redis.call('MSET', KEYS[1], 'a', 'b')": "(?i)wrong number",
    "return redis.call('XGROUP')": "(?i)wrong number|unknown",
    "return redis.call('XGROUP', 'NO', KEYS[1])": "(?i)unknown",
    "return redis.call('LRANGE', KEYS[1], 0, 'x')": "not an integer",
    "return redis.call('SUBSCRIBE', 'c')": "not allowed from script",
    "redis.call('SET', KEYS[1], 'v') return redis.call('DEL', KEYS[1]), "
    "redis.call('LPUSH', KEYS[1], 1), redis.call('HLEN', KEYS[1])": "WRONGTYPE",
    "return redis.call('SET', KEYS[1], {})": "must be strings or integers",
    "return redis.call('SET', KEYS[1], nil, 1)": "must be strings or integers",
    "return cjson.decode('no')": "Expected|invalid",
    "return redis.call('EVALSHA', 'x', 0)": "script",
}


async def load(store: Store, source: str) -> bytes:
    """Send a script; return its hash."""
    return cast("bytes", await store.call("SCRIPT", "LOAD", source))


async def run(store: Store, source: str) -> Reply:
    """Call a script with one key and three arguments."""
    sha = await load(store, source)
    return await store.call("EVALSHA", sha, 1, "{q}k", 7, "", b"\xc3\xa9\xff")


@pytest.mark.parametrize("source", REPLIES)
async def test_reply(store: Store, source: str) -> None:
    """Twice: a script that ran before runs as if it were the first time."""
    for _ in range(2):
        assert await run(store, source) == REPLIES[source]
        await store.call("DEL", "{q}k")


@pytest.mark.parametrize("source", ERRORS)
async def test_error(store: Store, source: str) -> None:
    """It reaches the caller, and the next script runs."""
    for _ in range(2):
        with pytest.raises(CommandError, match=ERRORS[source]):
            await run(store, source)
        assert await run(store, "return rawget(_G, 'made') == nil and #KEYS") == 1
        await store.call("DEL", "{q}k")


async def test_no_script(store: Store) -> None:
    """A server runs a script that it has, until it forgets it."""
    sha = await load(store, "return 'kept'")
    assert await store.call("SCRIPT", "EXISTS", sha) == [1]
    await store.call("SCRIPT", "FLUSH")
    assert await store.call("SCRIPT", "EXISTS", sha) == [0]
    link = await store.connector.open_link("test")
    with pytest.raises(CommandError, match=r"^NOSCRIPT "):
        await link.call("EVALSHA", sha, 0)
    link.close()
