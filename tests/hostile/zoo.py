"""The zoo: what tasks do that none should, and how each ends. One entry a line, in `ZOO`.

The page docs/explanation/reliability.md shows the table; `python -m tests.hostile.page` writes it.
"""

from __future__ import annotations

import asyncio
import builtins
import concurrent.futures
import contextvars
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from aiostreamq import Drop, GiveUp, RetryLater
from aiostreamq.untrusted import name_of
from tests.hostile.exceptions import EXCEPTIONS, Raising, Text

Place = Literal["loop", "thread", "process", "stream"]

LOOP: tuple[Place, ...] = ("loop",)
ON_LOOP: tuple[Place, ...] = ("loop", "stream")
THREAD: tuple[Place, ...] = ("thread",)
PROCESS: tuple[Place, ...] = ("process",)
STREAM: tuple[Place, ...] = ("stream",)
IN_DEF: tuple[Place, ...] = ("thread", "process")
WHOLE: tuple[Place, ...] = ("loop", "thread", "process")
EVERYWHERE: tuple[Place, ...] = ("loop", "thread", "process", "stream")

#: Seconds in which an entry has ended that nothing has to stop.
SOON = 5.0
#: Seconds in which one has ended that does not heed its cancellation: it is left after five.
LEFT = 9.0

RUN_OUT = "timed_out"  #: ends by its timeout
TIMEOUT = 0.3  #: seconds of those


@dataclass(frozen=True)
class Entry:
    """One thing that a task does."""

    what: str  #: for people, in the words of the page
    body: Callable[..., Any]  #: called with `args`; a coroutine function is awaited
    ends: str  #: the state of the job, after "failed" with the name of the exception
    places: tuple[Place, ...] = EVERYWHERE
    args: tuple[object, ...] = ()
    instead: dict[Place, str] = field(default_factory=dict[Place, str])  #: how it ends elsewhere
    within: float = SOON  #: seconds until it has ended
    attempts: int = 1
    result: object = None  #: what is returned, where it is done

    @property
    def timeout(self) -> float | None:
        """Its timeout in seconds."""
        return TIMEOUT if self.ends == RUN_OUT else None

    @property
    def is_left(self) -> bool:
        """Whether it leaves something for which whoever ends waits some seconds."""
        return self.within == LEFT or self.what.startswith("leaves")

    def end_in(self, place: Place) -> str:
        """How it ends in *place*."""
        return self.instead.get(place, self.ends)


def raise_it(name: str) -> None:
    """Raise one of the exceptions."""
    raise EXCEPTIONS[name]()  # noqa: RSE102  # some are functions


def fails_with(kind: type[BaseException]) -> str:
    """How a job ends that raises such an exception."""
    return f"failed {name_of(kind)}".encode("utf-8", "replace").decode()


#: The classes of exceptions that take long to make: each process that imports this would wait.
LARGE = {"`__str__` of 100 MB": ValueError}


def raises(what: str) -> Entry:
    """Return the entry of an exception."""
    kind = LARGE.get(what) or type(EXCEPTIONS[what]())
    ends = fails_with(kind)
    # What Python itself makes of these in a coroutine, and in a generator.
    instead: dict[Place, str] = {}
    if kind is StopIteration:
        instead = {"loop": "failed RuntimeError", "stream": "failed RuntimeError"}
    if kind is StopAsyncIteration:
        instead = {"stream": "failed RuntimeError"}
    return Entry(what, raise_it, ends, args=(what,), instead=instead)


# What they do to the event loop.


async def cancel_all_tasks() -> None:
    """Cancel whatever runs."""
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.Event().wait()


async def cancel_itself() -> None:
    """Cancel the task in which this runs."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.Event().wait()


async def stop_loop() -> None:
    """Stop the loop."""
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)


async def stop_loop_in_a_callback() -> None:
    """Stop the loop from outside of any task."""
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.stop)
    await asyncio.sleep(0)


async def exit_in_a_callback() -> None:
    """Have the loop itself raise SystemExit."""
    asyncio.get_running_loop().call_soon(sys.exit, 3)
    await asyncio.sleep(0)


async def interrupt_in_a_task() -> None:
    """Raise KeyboardInterrupt in a task that nobody awaits."""
    interrupted = asyncio.create_task(_interrupt())
    await asyncio.wait([interrupted])
    interrupted.exception()


async def _interrupt() -> None:
    raise KeyboardInterrupt


async def close_loop() -> None:
    """Close the loop."""
    asyncio.get_running_loop().close()


async def nest_loops() -> None:
    """Run a loop in the loop."""
    nothing = asyncio.sleep(0)
    try:
        asyncio.run(nothing)
    finally:
        nothing.close()


def own_loop() -> None:
    """Run a loop of its own."""
    asyncio.run(asyncio.sleep(0))


async def spoil_loop() -> None:
    """Give the loop a handler and a factory that raise, and its debug mode."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(cast("Any", fail))
    loop.set_debug(True)  # that is how it is called
    loop.call_soon(fail)
    await asyncio.sleep(0)


class Own(asyncio.Task[Any]):
    """A task that may not be asked for its name."""

    def get_name(self) -> str:
        """Raise."""
        raise Raising


async def own_tasks() -> None:
    """Have the loop make tasks of its own, which raise here and there."""

    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **how: Any) -> Own:
        return Own(coroutine, loop=loop, **how)

    asyncio.get_running_loop().set_task_factory(make)
    await asyncio.create_task(asyncio.sleep(0))


def fail(*_: object, **__: object) -> None:
    """Raise."""
    raise Raising


async def yield_garbage() -> None:
    """Await what gives the loop something that is no future."""

    class Garbage:
        def __await__(self) -> Generator[int, None, None]:
            yield 3

    await Garbage()


async def await_elsewhere() -> None:
    """Await a future of another loop."""
    other = asyncio.new_event_loop()
    other.close()
    await other.create_future()


async def leave_tasks() -> None:
    """Leave tasks that run for ever, one of which does not heed its cancellation."""
    for forever in (asyncio.Event().wait(), swallow(), close_never()):
        LEFT_TASKS.add(asyncio.create_task(cast("Any", forever)))
    await asyncio.sleep(0)


#: Lest they are forgotten.
LEFT_TASKS = set[asyncio.Task[None]]()


# What does not heed that it is to end.


async def swallow() -> None:
    """Catch whatever comes."""
    while True:
        with suppress(BaseException):  # as a bare `except:` does
            await asyncio.get_running_loop().create_future()


async def close_never() -> None:
    """Clean up for ever."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.Event().wait()


class Uncancellable(asyncio.Future[None]):
    """A future that cannot be cancelled."""

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002
        """Raise."""
        raise Raising


async def await_uncancellable() -> None:
    """Wait for a future that raises when it is cancelled."""
    await Uncancellable()


async def yield_when_closed() -> AsyncIterator[int]:
    """Yield once more when it is closed."""
    try:
        yield 1
        await asyncio.Event().wait()
    finally:
        yield 2


async def never_close() -> AsyncIterator[int]:
    """Take for ever to be closed."""
    try:
        yield 1
        await asyncio.Event().wait()
    finally:
        await asyncio.Event().wait()


async def abandon_generator() -> None:
    """Begin with a generator that takes for ever to be closed, and forget it."""
    async for _ in never_close():
        return


def outstay() -> None:
    """Take three seconds whatever is said."""
    time.sleep(3)


def block() -> None:
    """Let nothing else run for a second."""
    time.sleep(1.2)


# What they do to the process.


def vanish() -> None:
    """End the process."""
    os._exit(3)


def close_descriptors() -> None:
    """Close what is not its own."""
    os.closerange(0, 100)


def drop_outputs() -> None:
    """Leave nothing to print to."""
    sys.stdout = sys.stderr = cast("Any", None)


def spoil_outputs() -> None:
    """Leave outputs that raise at every use."""
    sys.stdout = sys.stderr = cast("Any", OfRaising())


def lose_folder() -> None:
    """Go to a folder, and delete it."""
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    shutil.rmtree(folder)


async def take_signals() -> None:
    """Have SIGTERM and SIGINT do what they do in other programs."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def take_signals_there() -> None:
    """The same in a process of its own."""
    asyncio.run(take_signals())


def shallow_stack() -> None:
    """Leave little stack to whoever comes next."""
    sys.setrecursionlimit(120)


def deep_stack() -> None:
    """Leave more stack than there is."""
    sys.setrecursionlimit(10**6)


def raise_warnings() -> None:
    """Make errors of warnings."""
    warnings.simplefilter("error")


def odd_context() -> None:
    """Put what raises into a variable that whatever it starts has too."""
    contextvars.ContextVar[object]("odd").set(OfRaising())


def raise_when_forgotten() -> None:
    """Leave an object that raises when it goes."""

    class Last:
        def __del__(self) -> None:
            raise Raising

    Last()


def shut_logging() -> None:
    """Log no more."""
    logging.disable(logging.CRITICAL)
    with suppress(Raising):  # another entry may have left outputs that raise
        logging.shutdown()


def change_arguments(numbers: list[int]) -> list[int]:
    """Fail with its arguments changed; they are whole again in the next attempt."""
    numbers.append(len(numbers))
    where = "main" if threading.current_thread() is threading.main_thread() else "other"
    if where not in HAS_FAILED:
        HAS_FAILED.add(where)
        raise Raising
    return numbers


#: In which thread of this process the function above has failed.
HAS_FAILED = set[str]()


# What they start.


def end_a_child() -> int | None:
    """Fork a child as `multiprocessing` does, and end it by SIGTERM; returns its exit code."""
    child = multiprocessing.get_context("fork").Process(target=signal.pause)
    child.start()
    child.terminate()
    child.join(SOON)
    code = child.exitcode
    child.kill()
    return code


def use_a_pool() -> list[int]:
    """Have a pool of forked processes do something, and end it."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, -2])


def come_back_twice() -> str:
    """Fork, and return in both."""
    child = os.fork()
    if not child:
        return "child"
    os.waitpid(child, 0)
    return "parent"


def leave_a_program() -> None:
    """Start a program that runs for ever, and forget it."""
    subprocess.Popen(["sleep", "1000"])


def leave_a_child() -> None:
    """Leave a child for which Python would wait at its end."""
    multiprocessing.get_context("fork").Process(target=_pause_alone).start()


def _pause_alone() -> None:
    os.closerange(0, 100)  # who reads what the worker prints waits for its end
    signal.alarm(30)
    signal.pause()


def leave_a_thread() -> None:
    """Leave a thread for which Python would wait at its end."""
    threading.Thread(target=threading.Event().wait).start()


# What they return, or raise to steer.


class OfRaising:
    """Raises for whatever it is asked."""

    def __iter__(self) -> Iterator[int]:
        raise Raising

    def __len__(self) -> int:
        raise Raising

    def __bool__(self) -> bool:
        raise Raising

    def model_dump(self, **_: object) -> object:
        """Raise."""
        raise Raising

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise Raising


class Exits(OfRaising):
    """Ends the program when it is written."""

    def model_dump(self, **_: object) -> object:
        """Exit."""
        raise SystemExit(3)

    __class__ = builtins.object  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]


def endless() -> list[object]:
    """Return a list that holds itself."""
    inside = list[object]()
    inside.append(inside)
    return inside


def steer_oddly() -> None:
    """Ask for another run at no time."""
    later = RetryLater(1)
    later.after = cast("Any", "soon")
    raise later


def drop_oddly() -> None:
    """Drop the job for a reason that cannot be told."""
    raise Drop(cast("Any", Unsayable()))


def die_at_length() -> None:
    """Give the job up with a very long reason."""
    raise GiveUp("half a \ud800 " * 1_000_000)


class Unsayable:
    """Has no text."""

    def __str__(self) -> str:
        raise Raising


RETURNED: dict[str, Callable[[], object]] = {
    "an object that raises for all it is asked": OfRaising,
    "an object that exits when it is written": Exits,
    "a generator": lambda: (number for number in range(3)),
    "a coroutine function": lambda: swallow,
    "a list that holds itself": endless,
    "half surrogates": lambda: "\ud800",
    "a number beyond 64 bits": lambda: 2**80,
    "no number": lambda: [None, float("nan")],
    "an exception": OSError,
    "a lock": threading.Lock,
    "a future": concurrent.futures.Future,
}


def return_it(what: str) -> object:
    """Return one of those."""
    return RETURNED[what]()


DIED = "failed aiostreamq.errors.ProcessDied"
UNSENDABLE = "failed aiostreamq.errors.PayloadError"
RAISED = fails_with(Raising)
CANCELLED = "failed asyncio.exceptions.CancelledError"
NO_LOOP = "failed RuntimeError"

#: What it raises.
RAISES = [raises(what) for what in EXCEPTIONS]

#: What it returns, or raises to steer.
RETURNS = [
    *(Entry(f"returns {what}", return_it, UNSENDABLE, args=(what,)) for what in RETURNED),
    Entry("`Drop` with a reason that raises", drop_oddly, "dropped"),
    Entry("`GiveUp` with a reason of megabytes", die_at_length, "dead"),
    Entry("`RetryLater` at no time", steer_oddly, "failed aiostreamq.model.verdict.RetryLater"),
    Entry("text that raises when it is used", lambda: Text("x"), UNSENDABLE),
]

#: What it does beside that.
DOES = [
    Entry("cancels all tasks of the loop", cancel_all_tasks, CANCELLED, ON_LOOP),
    Entry("cancels its own task", cancel_itself, CANCELLED, ON_LOOP),
    Entry("stops the loop", stop_loop, "done", ON_LOOP),
    Entry("stops the loop in a callback", stop_loop_in_a_callback, "done", ON_LOOP),
    Entry("`sys.exit` in a callback", exit_in_a_callback, "done", ON_LOOP),
    Entry("KeyboardInterrupt in a task of its own", interrupt_in_a_task, "done", ON_LOOP),
    Entry("closes the loop", close_loop, NO_LOOP, ON_LOOP),
    Entry("`asyncio.run` in the loop", nest_loops, NO_LOOP, ON_LOOP),
    Entry("`asyncio.run` outside of it", own_loop, "done", IN_DEF),
    Entry("exception handler that raises, debug mode", spoil_loop, "done", ON_LOOP),
    Entry("task factory of its own", own_tasks, "done", ON_LOOP),
    Entry("awaits what is no future", yield_garbage, NO_LOOP, ON_LOOP),
    Entry("awaits a future of another loop", await_elsewhere, NO_LOOP, ON_LOOP),
    Entry("blocks the loop for a second", block, "done", ON_LOOP),
    Entry("leaves tasks, one that swallows its cancellation", leave_tasks, "done", ON_LOOP),
    Entry("forgets a generator that never closes", abandon_generator, "done", ON_LOOP),
    Entry("swallows its cancellation", swallow, RUN_OUT, ON_LOOP, within=LEFT),
    Entry("`finally` that waits for ever", close_never, RUN_OUT, ON_LOOP, within=LEFT),
    Entry("future whose `cancel` raises", await_uncancellable, RUN_OUT, ON_LOOP, within=LEFT),
    Entry("generator that yields in `finally`", yield_when_closed, RUN_OUT, STREAM),
    Entry("generator that never closes", never_close, RUN_OUT, STREAM, within=LEFT),
    Entry("runs past its timeout", outstay, RUN_OUT, IN_DEF),
    Entry("`os._exit`", vanish, DIED, PROCESS),
    Entry("closes all descriptors", close_descriptors, DIED, PROCESS),
    Entry("sets `sys.stdout` and `sys.stderr` to None", drop_outputs, "done"),
    Entry("sets `sys.stdout` and `sys.stderr` to what raises", spoil_outputs, "done"),
    Entry("goes to a folder that it deletes", lose_folder, "done"),
    Entry("takes the handlers of SIGTERM and SIGINT", take_signals, "done", LOOP),
    Entry("takes the handlers of SIGTERM and SIGINT", take_signals_there, "done", PROCESS),
    Entry("`sys.setrecursionlimit` to 120", shallow_stack, "done", PROCESS),
    Entry("`sys.setrecursionlimit` to a million", deep_stack, "done"),
    Entry("warnings as errors", raise_warnings, "done"),
    Entry("context variable that raises", odd_context, "done"),
    Entry("`__del__` that raises", raise_when_forgotten, "done"),
    Entry("`logging.disable` and `logging.shutdown`", shut_logging, "done", IN_DEF),
    Entry(
        "changes its arguments, and fails once",
        change_arguments,
        "done",
        WHOLE,
        args=([1, 2],),
        attempts=9,  # each process fails once
        result=[1, 2, 2],
    ),
    Entry("forks a child and ends it by SIGTERM", end_a_child, "done", WHOLE, result=-15),
    Entry("`multiprocessing.Pool`", use_a_pool, "done", IN_DEF, result=[1, 2]),
    Entry("`os.fork`, and returns in both", come_back_twice, "done", IN_DEF, result="parent"),
    Entry("leaves a program that it has started", leave_a_program, "done", PROCESS),
    Entry("leaves a child process", leave_a_child, "done", IN_DEF),
    Entry("leaves a thread", leave_a_thread, "done", IN_DEF),
]

ZOO = [*RAISES, *RETURNS, *DOES]
