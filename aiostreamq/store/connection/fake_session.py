"""A fakeredis without a client, a connection, and the encoding between the two.

Its commands are those of fakeredis, but scripts run in our interpreter (decision 0021).
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final, cast

import redis
from fakeredis import FakeServer
from fakeredis import _msgs as messages
from fakeredis._commands import COMMANDS_WITH_SUB
from fakeredis._core import Database
from fakeredis._helpers import SimpleError, SimpleString, decode_command_bytes
from fakeredis._socket import FakeSocket
from fakeredis.commands_mixins.scripting_mixin import (
    _convert_redis_arg as argument_of,  # pyright: ignore[reportPrivateUsage]  # no public way
)

from aiostreamq import clock
from aiostreamq.store.connection.fake_commands import VERSION, Command
from aiostreamq.store.connection.link import Argument, CommandError, Reply
from aiostreamq.store.connection.lua_in_memory import Interpreter, LuaError

INTERPRETER: Final = Interpreter()


class _Database(Database):
    """Notes which keys change."""

    def __init__(self, server: FakeServer) -> None:
        super().__init__(server.lock)
        self.changed: set[bytes] = set()

    def notify_watch(self, key: bytes) -> None:
        """Note a key: what fakeredis calls at each change."""
        # The original notifies other sessions. There are none.
        self.changed.add(key)

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None

    def get(self, key: Any, default: Any = None) -> Any:
        """Return what is stored, without an exception for each key that is missing."""
        item = self._dict.get(key)
        if item is None:
            return default
        if item.expireat is not None and item.expireat < self.time:
            del self._dict[key]
            return default
        return item


class FakeSession(FakeSocket):
    """The only session on a fakeredis of its own."""

    # Each script that was ever loaded in this process. A new server has them all: a test has a
    # server of its own, and would call each script twice and load it in between.
    _known_scripts: ClassVar[dict[bytes, bytes]] = {}

    # Each command that was ever called in this process, by its name as it was written.
    _commands: ClassVar[dict[bytes, Command]] = {}

    def __init__(self) -> None:
        server = FakeServer(version=VERSION)
        server.script_cache.update(self._known_scripts)
        server.dbs[0] = self._database = _Database(server)
        super().__init__(server, 0, client_class=redis.Redis)

    def execute(self, command: tuple[Argument, ...], changed: set[bytes]) -> Reply:
        """Run a command that does not block, and put the keys that it changes into *changed*.

        Raises:
            CommandError: The command failed.
        """
        name, *arguments = [one if isinstance(one, bytes) else str(one).encode() for one in command]
        with self._server.lock:
            self._database.time = clock.wall()
            self._database.changed = changed
            try:
                known = self._commands.get(name) or self._find(name, arguments)
                result = known.run(self, self._db, arguments)
            except SimpleError as error:
                raise _command_error(error) from None
        return _reply(result)

    def eval(self, script: bytes, numkeys: int, *keys_and_args: bytes) -> Any:
        """Keep a script and run it: what fakeredis calls for EVAL."""
        return self.evalsha(super().script_load(script), numkeys, *keys_and_args)

    def evalsha(self, sha1: bytes, numkeys: int, *keys_and_args: bytes) -> Any:
        """Run a script: what fakeredis calls for EVALSHA."""
        source = self._server.script_cache.get(sha1)
        if source is None:
            raise SimpleError(messages.NO_MATCHING_SCRIPT_MSG)
        keys, arguments = keys_and_args[:numkeys], keys_and_args[numkeys:]
        self._script_resp = 2
        try:
            result = INTERPRETER.run(sha1, source, keys, arguments, self._call_from_script)
        except LuaError as error:
            message = messages.SCRIPT_ERROR_MSG.format(sha1.decode(), error)
            raise SimpleError(message) from None
        finally:
            self._script_resp = None
        return self._convert_lua_result(result, nested=False)

    def script_load(self, *args: bytes) -> bytes:
        """Keep a script: what fakeredis calls for SCRIPT LOAD."""
        sha1 = super().script_load(*args)
        self._known_scripts[sha1] = args[0]
        return sha1

    def add_subkey_event(self, event: bytes, key: bytes, subkeys: Sequence[bytes]) -> None:
        """Do nothing: fakeredis calls it at each change of a field, for its listeners."""

    def _call_from_script(self, name: bytes, *arguments: object) -> object:
        """Run a command of a script: its `redis.call`."""
        encoded = [one if type(one) is bytes else argument_of(one) for one in arguments]
        command = self._commands.get(name) or self._find(name, encoded)
        if command.is_refused_in_scripts:
            raise SimpleError(messages.COMMAND_IN_SCRIPT_MSG)
        result = command.run(self, self._db, encoded)
        return result if type(result) is bytes else self._for_lua(result)

    def _for_lua(self, result: Any) -> object:
        """Return a result as Lua gets it."""
        if isinstance(result, (bytes, int)):
            return result
        if result is None:
            return False
        if type(result) is list:
            items = cast("list[Any]", result)
            return INTERPRETER.table(
                [one if type(one) is bytes else self._for_lua(one) for one in items]
            )
        return self._convert_redis_result(INTERPRETER.lua, result)

    def _find(self, name: bytes, arguments: list[bytes]) -> Command:
        """Return a command, and take the second word of its name from the arguments.

        Raises:
            SimpleError: There is no such command.
        """
        full_name = name
        text = decode_command_bytes(name)
        if text in COMMANDS_WITH_SUB and arguments:
            second = arguments.pop(0)
            full_name = name + b" " + second
            text += " " + decode_command_bytes(second)
        command = self._commands.get(full_name)
        if command is None:
            _, signature = self._name_to_func(text)
            command = Command(signature, getattr(FakeSession, signature.func_name))
            if text not in COMMANDS_WITH_SUB:
                self._commands[full_name] = command
        return command


def _reply(result: Any) -> Reply:
    """Return a result of fakeredis as a reply without types of its own."""
    if isinstance(result, list):
        items = cast("list[Any]", result)
        return [item if type(item) is bytes else _reply(item) for item in items]
    return result.value if isinstance(result, SimpleString) else result


def _command_error(error: SimpleError) -> CommandError:
    message = error.value
    # The code that Redis sends and fakeredis leaves out.
    if "requires the key to exist" in message:
        message = f"NOGROUP {message.removeprefix('ERR ')}"
    return CommandError(message)
