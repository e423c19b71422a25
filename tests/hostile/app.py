"""The queue whose tasks do what the zoo says: `run tests.hostile.app:queue`."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from types import AsyncGeneratorType, CoroutineType
from typing import Any, cast

from aiostreamq import Queue
from tests.hostile.exceptions import Raising
from tests.hostile.zoo import ZOO

queue = Queue(name="zoo")


@queue.task
async def act_on_loop(entry: int, *args: Any) -> Any:
    """Do what an entry says, in a coroutine."""
    done = ZOO[entry].body(*args)
    return await cast("Any", done) if type(done) is CoroutineType else done


@queue.task
def act_in_thread(entry: int, *args: Any) -> Any:
    """Do it in a thread."""
    return ZOO[entry].body(*args)


@queue.task(executor="process")
def act_in_process(entry: int, *args: Any) -> Any:
    """Do it in a process."""
    return ZOO[entry].body(*args)


@queue.task
async def act_as_stream(entry: int, *args: Any) -> AsyncIterator[Any]:
    """Do it in a generator, or be the generator."""
    done = ZOO[entry].body(*args)
    if type(done) is AsyncGeneratorType:
        async with aclosing(cast("AsyncGenerator[Any]", done)) as chunks:
            async for one in chunks:
                yield one
    else:
        yield await cast("Any", done) if type(done) is CoroutineType else done


@queue.task(executor="process")
def start_a_program() -> int:
    """Start a program that runs for ever; returns its process id."""
    return subprocess.Popen(["sleep", "1000"]).pid


# Those that are well behaved.


@queue.task
async def double_on_loop(number: int) -> int:
    """Return twice the number."""
    await asyncio.sleep(0.05)
    return number * 2


@queue.task
def double_in_thread(number: int) -> int:
    """Return twice the number."""
    time.sleep(0.01)
    return number * 2


@queue.task(executor="process")
def double_in_process(number: int) -> int:
    """Return twice the number."""
    return number * 2


@queue.task
async def count(number: int) -> AsyncIterator[int]:
    """Yield the numbers up to this one."""
    for one in range(number):
        await asyncio.sleep(0.001)
        yield one


# How the application has set up logging.


@queue.task
def set_up_logs(name: str) -> None:
    """Set logging up as one of `LOGS` says."""
    logging.setLogRecordFactory(logging.LogRecord)
    logging.Logger.isEnabledFor = PLAIN_LEVEL
    logging.Logger.handle = PLAIN_HANDLE
    LOGS[name]()


PLAIN_LEVEL, PLAIN_HANDLE = logging.Logger.isEnabledFor, logging.Logger.handle


def _fail(*_: object, **__: object) -> Any:
    raise Raising


def _exit(*_: object, **__: object) -> Any:
    raise SystemExit(3)


def _interrupt(*_: object, **__: object) -> Any:
    raise KeyboardInterrupt


def _name_records() -> None:
    """Set the fields that the worker sets, as who looks for the lines of a request does."""

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = logging.LogRecord(*args, **kwargs)
        vars(record).update(job_id="request-7", task="mine", attempt=None, worker=_fail)
        return record

    logging.setLogRecordFactory(factory)


class _Handler(logging.Handler):
    def __init__(self, emit: Callable[..., Any]) -> None:
        super().__init__()
        self.emit = emit


def _handle_by(emit: Callable[..., Any]) -> Callable[[], None]:
    def set_up() -> None:
        logging.getLogger().handlers[1:] = [_Handler(emit)]

    return set_up


def _filter_by(look: Callable[..., Any]) -> Callable[[], None]:
    def set_up() -> None:
        logging.getLogger("aiostreamq.worker").filters[:] = [look]

    return set_up


def _reset() -> None:
    logging.getLogger().handlers[1:] = []
    logging.getLogger("aiostreamq.worker").filters[:] = []


LOGS: dict[str, Callable[[], object]] = {
    "records that have the fields of the worker": _name_records,
    "record factory that raises": lambda: logging.setLogRecordFactory(_fail),
    "record factory that exits": lambda: logging.setLogRecordFactory(_exit),
    "record factory that returns None": lambda: logging.setLogRecordFactory(cast("Any", len)),
    "handler that raises": _handle_by(_fail),
    "handler that exits": _handle_by(_exit),
    "handler that raises KeyboardInterrupt": _handle_by(_interrupt),
    "filter that raises": _filter_by(_fail),
    "filter that raises KeyboardInterrupt": _filter_by(_interrupt),
    "logger class that raises": lambda: setattr(logging.Logger, "handle", _fail),
    "levels that raise": lambda: setattr(logging.Logger, "isEnabledFor", _fail),
    "stderr that is closed": lambda: sys.stderr.close(),  # noqa: PLW0108  # the one of that moment
    "none of them": _reset,
}
