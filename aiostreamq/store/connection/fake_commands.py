"""The commands of fakeredis, each called with little around it.

fakeredis runs a command for each kind of server and client: it looks at which of them it has,
whether someone listens for changes of keys, and whether the reply is a valid one. That takes longer
than the command. Here the reading of the arguments is prepared once for a command, and the rest is
left out (decision 0021).
"""

from typing import Any, Final

from fakeredis import _msgs as messages
from fakeredis._commands import Key, Signature
from fakeredis._core import CommandItem, Database
from fakeredis._helpers import SimpleError
from fakeredis._socket import FakeSocket
from fakeredis._socket._resp import convert_to_resp2

# The version of the server, which decides the words of some errors.
VERSION: Final = (7,)

# Types of replies that fakeredis would convert to themselves.
_PLAIN: Final = frozenset((bytes, int, type(None)))


class Command:
    """A command, without its name and its arguments."""

    __slots__ = (
        "_creates",
        "_fixed",
        "_function",
        "_is_exempt",
        "_is_open",
        "_signature",
        "_steps",
        "_tidies",
        "is_refused_in_scripts",
    )

    def __init__(self, signature: Signature, function: Any) -> None:
        """Prepare.

        Args:
            signature: The signature of the command in fakeredis.
            function: The method of a session that runs it.
        """
        flags = signature.flags
        self._function = function
        self._signature = signature
        self._fixed = len(signature.fixed)
        self._steps = _steps_of(signature.fixed)
        # Whether any further arguments may follow, which are taken as they are.
        self._is_open = signature.repeat == (bytes,)
        self._creates = messages.FLAG_DO_NOT_CREATE not in flags
        self._tidies = messages.FLAG_LEAVE_EMPTY_VAL not in flags
        self._is_exempt = messages.FLAG_SKIP_CONVERT_TO_RESP2 in flags
        self.is_refused_in_scripts = messages.FLAG_NO_SCRIPT in flags

    def run(self, session: FakeSocket, database: Database, arguments: list[Any]) -> Any:
        """Run it, and return the reply, as values of the second version of the protocol.

        *arguments* is changed.

        Raises:
            SimpleError: The command failed.
        """
        values, keys = self._steps
        if len(arguments) != self._fixed:
            values, keys = self._steps_for(arguments)
        for place, type_ in values:
            if not isinstance(type_, Key):
                arguments[place] = type_.decode(arguments[place])
            elif arguments[place] not in database:
                return type_.missing_return
        items = [self._read_key(database, arguments, place, type_) for place, type_ in keys]
        try:
            reply = self._function(session, *arguments)
        finally:  # a command that fails may have changed something
            for item in items:
                item.writeback(remove_empty_val=self._tidies)
        if type(reply) in _PLAIN:
            return reply
        if isinstance(reply, SimpleError):
            raise reply
        return reply if self._is_exempt else convert_to_resp2(reply)

    def _steps_for(self, arguments: list[Any]) -> "_Steps":
        """Return the steps for arguments of another number than the fixed ones."""
        if self._is_open and len(arguments) > self._fixed:
            return self._steps
        signature = self._signature
        signature.check_arity(arguments, VERSION)
        repeat = signature.repeat
        times = (len(arguments) - self._fixed) // len(repeat)
        return _steps_of((*signature.fixed, *repeat * times))

    def _read_key(
        self,
        database: Any,  # a `Database`, which says nothing about the types in it
        arguments: list[Any],
        place: int,
        type_: Key,
    ) -> CommandItem:
        """Put the value of a key into its place.

        Raises:
            SimpleError: It has another type.
        """
        key, wanted = arguments[place], type_.type_
        found = database.get(key)
        default = None
        if wanted is not None:
            if found is not None:
                if type(found.value) is not wanted:
                    raise SimpleError(messages.WRONGTYPE_MSG)
            elif self._creates and wanted is not bytes:
                default = wanted()
        item = arguments[place] = CommandItem(key, database, found, default=default)
        return item


# The steps that prepare the arguments, each with its place: first the values that are read and the
# keys that must exist, in their order, and then all keys.
_Steps = tuple[tuple[tuple[int, Any], ...], tuple[tuple[int, Key], ...]]


def _steps_of(types: tuple[Any, ...]) -> _Steps:
    placed = tuple(enumerate(types))
    values = tuple(
        (place, type_)
        for place, type_ in placed
        if type_ is not bytes
        and not (isinstance(type_, Key) and type_.missing_return is Key.UNSPECIFIED)
    )
    return values, tuple((place, type_) for place, type_ in placed if isinstance(type_, Key))
