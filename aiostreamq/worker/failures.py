"""What is told about an exception in a task: its own frames, not ours."""

import concurrent.futures
import traceback
from pathlib import Path
from types import TracebackType

from aiostreamq.model.outcome import Failure
from aiostreamq.model.raised import RaisedInChild

# What calls a task: this package, and the standard library's pool of threads.
_CALLERS = (str(Path(__file__).parent.parent), str(Path(concurrent.futures.__file__).parent))

# The end of a traceback is where the cause is; more than this is not read.
LONGEST_TRACEBACK = 16 * 1024
LONGEST_MESSAGE = 4 * 1024


def describe(error: BaseException) -> Failure:
    """Return *error* as it can travel."""
    if isinstance(error, RaisedInChild):
        return error.failure  # described where its frames are
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ != "builtins":
        name = f"{kind.__module__}.{name}"
    lines = traceback.format_exception(kind, error, _own_frames(error.__traceback__))
    return Failure(
        name, clean(_message(error))[:LONGEST_MESSAGE], clean("".join(lines))[-LONGEST_TRACEBACK:]
    )


def _own_frames(frames: TracebackType | None) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_CALLERS):
        frames = frames.tb_next
    return frames


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001  # a __str__ of the user's may do anything
        return f"<its __str__ raised {type(broken).__qualname__}>"


def clean(text: object) -> str:
    """Return *text* as JSON can carry it."""
    # Half a surrogate pair, as in undecodable file names, is no JSON.
    return str(text).encode("utf-8", "replace").decode()
