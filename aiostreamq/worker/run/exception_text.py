"""The description of an exception in a task: with its own frames, without ours.

Nothing here raises. An exception is an object of the user's, whose class may raise whatever it is
asked; what cannot be read is left out.
"""

import builtins
import concurrent.futures
import traceback
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType

from aiostreamq.model.outcome import Failure, RemoteException
from aiostreamq.untrusted import name_of, text_of

_WORKER = str(Path(__file__).parent.parent)
# The callers of tasks: this package, and the standard library's pool of threads.
_CALLERS = (_WORKER, str(Path(concurrent.futures.__file__).parent))

# The end of a traceback is where the cause is; more than this is not read.
LONGEST_TRACEBACK = 16 * 1024
LONGEST_MESSAGE = 4 * 1024

# More frames and exceptions than this take seconds to format, and are never read.
MOST_FRAMES = 2000
MOST_LINKED = 500
MOST_LINKED_PLAINLY = 20
LONGEST_FORMATTED = 1024 * 1024  # characters of a message

# The attributes that `traceback` follows. A class that computes one may give an endless chain.
_ASKED = frozenset(
    (
        *("__cause__", "__context__", "__suppress_context__", "__traceback__", "exceptions"),
        "__getattribute__",
    )
)
_BUILT_IN = {id(kind) for kind in vars(builtins).values() if isinstance(kind, type)}

# The slots of the built-in classes: an attribute would ask the exception's own class.
_MRO = type.__dict__["__mro__"]
_NAMESPACE = type.__dict__["__dict__"]
_FRAMES = BaseException.__dict__["__traceback__"]
_CAUSE = BaseException.__dict__["__cause__"]
_CONTEXT = BaseException.__dict__["__context__"]
_IS_SUPPRESSED = BaseException.__dict__["__suppress_context__"]
_MEMBERS = BaseExceptionGroup.__dict__["exceptions"]

_DIRECTLY = "\nThe above exception was the direct cause of the following exception:\n\n"
_WHILE_HANDLED = "\nDuring handling of the above exception, another exception occurred:\n\n"

INDESCRIBABLE = Failure("Exception", "<this exception cannot be described>", "")


def describe(error: BaseException) -> Failure:
    """Return a description of *error* that can travel, without what it does not reveal."""
    try:
        if type(error) is RemoteException:
            return error.failure  # described in the process that has its frames
        name = clean(name_of(type(error)))
        message = text_of(error, LONGEST_FORMATTED + 1)
        trace = _traceback(error, is_short=len(message) <= LONGEST_FORMATTED)
        return Failure(name, clean(message[:LONGEST_MESSAGE]), trace)
    except BaseException:  # noqa: BLE001  # too little memory or stack, for one
        return INDESCRIBABLE


def clean(text: object) -> str:
    """Return *text* as JSON can carry it."""
    # Half a surrogate pair, as in undecodable file names, is invalid in JSON.
    return text_of(text, LONGEST_FORMATTED).encode("utf-8", "replace").decode()


def _traceback(error: BaseException, *, is_short: bool) -> str:
    try:
        if is_short and _can_be_formatted(error):
            lines = traceback.format_exception(
                type(error), error, _own_frames(error), limit=-MOST_FRAMES
            )
            return clean("".join(lines)[-LONGEST_TRACEBACK:])
    except BaseException:  # noqa: BLE001, S110  # then without what `traceback` asks of it
        pass
    try:
        return clean("".join(_plainly(error))[-LONGEST_TRACEBACK:])
    except BaseException:  # noqa: BLE001  # the frames' modules may have loaders of the user's
        return _last_line(error)


def _can_be_formatted(error: BaseException) -> bool:
    """Whether `traceback` comes to an end with *error* and all that hangs on it."""
    linked = list(islice(_all_linked(error), MOST_LINKED + 1))
    return len(linked) <= MOST_LINKED and not any(_has_own_ways(type(one)) for one in linked)


def _all_linked(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* with its causes, contexts and members, and theirs."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        members = _MEMBERS.__get__(one) if issubclass(type(one), BaseExceptionGroup) else ()
        waiting += [link for link in (*members, *_links(one)) if link is not None]


def _links(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Return its cause and its context."""
    return _CAUSE.__get__(error), _CONTEXT.__get__(error)


def _has_own_ways(kind: type[BaseException]) -> bool:
    """Whether a class computes what others have as a plain attribute."""
    # By identity: the metaclass of a class says whether it equals another.
    own = [one for one in _MRO.__get__(kind) if id(one) not in _BUILT_IN]
    return not all(_ASKED.isdisjoint(_NAMESPACE.__get__(one)) for one in own)


def _own_frames(error: BaseException) -> TracebackType | None:
    frames: TracebackType | None = _FRAMES.__get__(error)
    while frames is not None and _file_of(frames).startswith(_CALLERS):
        frames = frames.tb_next
    if not any(_file_of(one).startswith(_WORKER) for one in _chain(frames)):
        return frames
    # The worker stands between middleware and the task too.
    theirs = (one for one in _chain(frames) if not _file_of(one).startswith(_WORKER))
    own: TracebackType | None = None
    for one in reversed(deque(theirs, MOST_FRAMES)):
        own = TracebackType(own, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return own


def _chain(frames: TracebackType | None) -> Iterator[TracebackType]:
    while frames is not None:
        yield frames
        frames = frames.tb_next


def _file_of(frame: TracebackType) -> str:
    return frame.tb_frame.f_code.co_filename


def _plainly(error: BaseException) -> Iterator[str]:
    """Yield the lines of *error* and of what led to it, reading only their texts."""
    led = list(islice(_path_to(error), MOST_LINKED_PLAINLY))
    for one, how in reversed(led):
        frames = traceback.format_tb(_own_frames(one), limit=-MOST_FRAMES)
        if frames:
            yield "Traceback (most recent call last):\n"
            yield from frames
        yield _last_line(one)
        yield how


def _path_to(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """Yield *error* and what led to it, each with the text between it and the next."""
    seen, how = set[int](), ""
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        yield one, how
        seen.add(id(one))
        cause, context = _links(one)
        how = _WHILE_HANDLED if cause is None else _DIRECTLY
        one = (None if _IS_SUPPRESSED.__get__(one) else context) if cause is None else cause


def _last_line(error: BaseException) -> str:
    name, message = name_of(type(error)), text_of(error, LONGEST_MESSAGE)
    return clean(f"{name}: {message}\n" if message else f"{name}\n")
