"""The sources that `enqueue_many` takes calls from: never more of them than are sent soon.

An iterable is asked for each call when that is prepared, so a chunk ends at the call that makes it
large enough. An async iterable, and the iterables of other threads, are read ahead: a few commands
full of calls, whose arguments are measured roughly.
"""

from collections.abc import AsyncIterable, Iterable, Iterator, Mapping
from contextlib import suppress
from inspect import iscoroutine
from itertools import chain, islice
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from aiostreamq.aio.batching import BATCH_BYTES
from aiostreamq.client.call import Call, Refusal
from aiostreamq.client.not_a_call import check_calls, close_coroutines, unbound_call
from aiostreamq.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

R = TypeVar("R")

# How many elements of a list or dict are measured. The others count as long as these.
SAMPLE = 64

# How many levels of lists, dicts and objects are measured.
DEPTH = 5


class Source(Generic[R]):
    """A source of calls, which are taken one at a time."""

    def __init__(self, calls: "Iterable[Call[R]]", chunk: "Sequence[Call[R]]" = ()) -> None:
        """Take from *calls*; *chunk* are the calls that were read ahead, if there are any."""
        self.chunk = chunk
        self._calls = _each(iter(calls))
        self._back: list[Call[R]] = []  # was taken too early

    @property
    def is_at_end(self) -> bool:
        """Whether no call is left, after a `take` that has brought nothing."""
        return not self._back

    def take(self, count: int) -> "Iterator[Call[R]]":
        """Iterate over the next *count* calls, or one more.

        Raises:
            Refusal: The iterable has raised an exception.
        """
        if not self._back:
            return islice(self._calls, count)
        back, self._back = self._back, []
        return chain(back, islice(self._calls, count))

    def take_timeless(self, count: int) -> "Iterator[Call[R]]":
        """Iterate over the next *count* calls, up to the first that needs Redis's time.

        Raises:
            Refusal: The iterable has raised an exception.
        """
        for call in self.take(count):
            if type(call) is Call and call.using.needs_time:
                self._back.append(call)
                return
            yield call


def _each(calls: "Iterator[Call[R]]") -> "Iterator[Call[R]]":
    try:
        yield from calls
    except Exception as error:
        raise Refusal(error) from error


def not_a_call(given: object, calls: "Iterator[object]") -> UsageError:
    """Return the error for *given*, which is not a call; close it if it is a coroutine.

    Then the next of *calls* are closed too.
    """
    if iscoroutine(given):
        given.close()
        with suppress(Refusal):
            close_coroutines(calls)
    return unbound_call(given)


async def sources_of(
    calls: "Iterable[Call[R]] | AsyncIterable[Call[R]]", size: int
) -> "AsyncIterator[Source[R]]":
    """Yield one source of all *calls*; if they come asynchronously, one of each *size* calls.

    Raises:
        UsageError: *calls* is not iterable, or is a single call or a mapping.
    """
    if not isinstance(calls, AsyncIterable):
        check_calls(calls)
        yield Source(calls)
        return
    ahead = ReadAhead[R](size, BATCH_BYTES)
    async for call in calls:
        if ahead.add(call):
            chunk = ahead.clear()
            yield Source(chunk, chunk)
    if chunk := ahead.clear():
        yield Source(chunk, chunk)


class ReadAhead(Generic[R]):
    """Calls that were read ahead: a number of them, or roughly a number of bytes."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._calls: list[Call[R]] = []
        self._bytes = 0

    def add(self, call: "Call[R]") -> bool:
        """Add a call; return whether these are enough."""
        self._calls.append(call)
        if type(call) is Call:
            self._bytes += _rough_bytes(call.args) + _rough_bytes(call.kwargs)
        return len(self._calls) >= self._most or self._bytes >= self._most_bytes

    def clear(self) -> "list[Call[R]]":
        """Return the calls, and begin again."""
        calls, self._calls, self._bytes = self._calls, [], 0
        return calls

    def fill(self, calls: "Iterator[Call[R]]") -> "list[Call[R]]":
        """Return the next of *calls*, as many as are enough; none at the end."""
        for call in calls:
            if self.add(call):
                break
        return self.clear()


def _rough_bytes(value: object, depth: int = DEPTH) -> int:
    """Return about how many bytes a value has, and those inside of it."""
    kind = type(value)
    if kind is str or kind is bytes or kind is bytearray:
        return len(cast("bytes", value))
    if kind is int or kind is float or kind is bool or value is None:
        return 8
    if kind is tuple or kind is list or kind is set or kind is frozenset:
        return _rough_bytes_of_all(cast("Sequence[object]", value), depth)
    if kind is dict:
        mapping = cast("Mapping[object, object]", value)
        values = cast("Sequence[object]", mapping.values())
        return _rough_bytes_of_all(cast("Sequence[object]", mapping), depth) + _rough_bytes_of_all(
            values, depth
        )
    own: Any = getattr(value, "__dict__", None)
    if type(own) is dict and depth:  # a dataclass, a model of pydantic, and so on
        return _rough_bytes(cast("object", own), depth - 1)
    slots: Any = getattr(kind, "__slots__", ())
    if slots and depth and type(slots) is tuple:
        inside = [getattr(value, name, None) for name in cast("tuple[str, ...]", slots)]
        return _rough_bytes_of_all(inside, depth)
    return getsizeof(value, 8)


def _rough_bytes_of_all(values: "Sequence[object]", depth: int) -> int:
    count = len(values)
    if not (count and depth):
        return 8 * count
    step = count // SAMPLE + 1
    sample = islice(values, 0, None, step) if step > 1 else values
    return step * sum([_rough_bytes(one, depth - 1) for one in sample])
