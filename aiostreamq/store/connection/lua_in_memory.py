"""Lua in this process, for the scripts of `memory://`.

fakeredis makes an interpreter for each server, compiles a script at each call of it, and then
collects all garbage of the interpreter. Here a thread has one interpreter for all servers, which
compiles each script once and collects garbage at its own pace (decision 0021).
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from fakeredis._helpers import SimpleError
from fakeredis.commands_mixins.scripting_mixin import (
    LUA_MODULE,
)
from fakeredis.commands_mixins.scripting_mixin import (
    _lua_cjson_decode as decode,  # pyright: ignore[reportPrivateUsage]  # no public way
)
from fakeredis.commands_mixins.scripting_mixin import (
    _lua_cjson_encode as encode,  # pyright: ignore[reportPrivateUsage]  # no public way
)
from fakeredis.commands_mixins.scripting_mixin import (
    _lua_cjson_null as null,  # pyright: ignore[reportPrivateUsage]  # no public way
)

LuaError: Final[type[Exception]] = LUA_MODULE.LuaError

# How long a list may be to become a table by a call of Lua.
MOST_PACKED = 100

# As in Redis, a script makes no globals: another script would find them.
_SET_UP: Final = b"""
local call, pcall, encode, decode, null = ...
redis = {
    call = call,
    pcall = pcall,
    error_reply = function(message) return {err = message} end,
    status_reply = function(message) return {ok = message} end,
}
cjson = {encode = encode, decode = decode, null = null}
KEYS, ARGV = {}, {}
python = nil
setmetatable(_G, {
    __newindex = function(_, name)
        error('Script attempted to create global variable ' .. tostring(name), 2)
    end,
    __index = function(_, name)
        error('Script attempted to access nonexistent global variable ' .. tostring(name), 2)
    end,
})
return function(script, keys, arguments)
    KEYS, ARGV = keys, arguments
    return script()
end
"""


class Interpreter(threading.local):
    """The Lua of a thread.

    One for all threads would need a lock, and a fork may copy a lock while it is held.
    """

    def __init__(self) -> None:
        self.lua: Any = LUA_MODULE.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._compiled: dict[bytes, object] = {}
        # `redis.call` of the server whose script runs. Each script of each server gets to it
        # through this attribute: a script keeps the functions that it was compiled with.
        self._call: Callable[..., object] | None = None
        # fakeredis refuses all other globals before it reads or writes JSON. Here the interpreter
        # itself refuses them, so this list is only an argument that fakeredis needs.
        self._globals = {*self.lua.globals().keys(), b"redis", b"cjson", b"KEYS", b"ARGV"}
        self._pack = self.lua.eval("function(...) return {...} end")
        self._enter = self.lua.execute(
            _SET_UP, self._redis_call, self._redis_pcall, self._encode, self._decode, null
        )

    def run(
        self,
        sha: bytes,
        source: bytes,
        keys: Sequence[bytes],
        arguments: Sequence[bytes],
        call: Callable[..., object],
    ) -> object:
        """Run a script; *call* is its `redis.call`.

        Raises:
            LuaError: The script is invalid, or it failed.
            SimpleError: A command of the script failed.
        """
        script = self._compiled.get(sha)
        if script is None:
            script = self._compiled[sha] = self.lua.compile(source)
        self._call = call
        try:
            return self._enter(script, self.table(keys), self.table(arguments))
        finally:
            self._call = None

    def table(self, items: Sequence[object]) -> object:
        """Return a list as Lua has it. None of *items* is None."""
        # A call is faster, but the stack of Lua takes some thousand arguments at most.
        return self._pack(*items) if len(items) <= MOST_PACKED else self.lua.table_from(items)

    def _redis_call(self, *command: object) -> object:
        assert self._call is not None  # only scripts get here
        return self._call(*command)

    def _redis_pcall(self, *command: object) -> object:
        try:
            return self._redis_call(*command)
        except SimpleError as error:
            return self.lua.table_from({b"err": error.value.encode(errors="replace")})

    def _encode(self, value: object) -> bytes:
        return encode(self.lua, self._globals, value)

    def _decode(self, text: str) -> object:
        try:
            return decode(self.lua, self._globals, text)
        except ValueError as error:
            raise SimpleError(f"ERR invalid JSON: {error}") from None
