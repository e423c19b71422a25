"""Tasks for processes. Those import them, so they cannot be inside tests."""

import asyncio
import ctypes
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from aiostreamq import Context, Drop, GiveUp, Queue, Rate, RateLimited, RetryLater, current_job
from tests.support.seizing import seize_interpreter

queue = Queue(name="cpu")

carried: ContextVar[str] = ContextVar("carried")
queue.carry(carried)


@dataclass
class Item:
    """What JSON does not have."""

    id: UUID
    price: Decimal
    tags: set[str]


class Unsendable(LookupError):
    """Can neither be pickled nor made again from its arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")
        self.lock = threading.Lock()


@queue.task(executor="process")
def where() -> list[int]:
    """Return the process, and its parent."""
    return [os.getpid(), os.getppid()]


@queue.task(executor="process")
def headers(context: Context) -> list[dict[str, str]]:
    """Return the headers of the job, as the context and as any code sees them."""
    job = current_job()
    assert job is not None
    return [dict(context.headers), dict(job.headers)]


@queue.task(executor="process")
def show_carried() -> str:
    """Return the value that came with the job."""
    return carried.get("unset")


def parent_of(context: Context) -> str | None:
    """Return the job whose callback this is."""
    return context.parent


def next_day(day: date) -> date:
    """Take and return what JSON does not have."""
    return day + timedelta(days=1)


def undecorated() -> str:
    """Be no task in this module."""
    return "ran"


@queue.task(executor="process")
def ship(item: Item, *days: date, at: datetime, **notes: Decimal) -> tuple[Item, list[date]]:
    """Take and return rich types."""
    assert isinstance(item, Item)
    assert at.tzinfo is not None
    assert all(isinstance(note, Decimal) for note in notes.values())
    return item, list(days)


@queue.task(executor="process")
def tell(context: Context, marks: str) -> dict[str, object]:
    """Return what it can know of its job, when run for the second time."""
    if _marked(marks, add=True) < 2:
        raise Unsendable("once", "more")
    return {
        "job_id": context.job_id,
        "task": context.task,
        "attempt": context.attempt,
        "delivery": context.delivery,
        "worker": context.worker,
        "scheduled_for": context.scheduled_for and context.scheduled_for.isoformat(),
        "deadline": context.deadline and context.deadline.isoformat(),
        "is_cancelled": context.is_cancelled,
    }


@queue.task(executor="process")
def use_queue(context: Context, n: int) -> int:
    """Ask for what no process has."""
    return n + context.queue.max_payload


@queue.task(executor="process")
def report(context: Context) -> None:
    """Tell progress, which no process can."""
    context.progress_nowait(0.5)


async def _leaf() -> None:
    """Never run."""


@queue.task(executor="process")
def enqueue_by_itself(url: str) -> str:
    """Enqueue a job for later, by a queue of its own."""
    # Not on top: each new process imports this module, and some tests leave it little time.
    import asyncio

    async def put() -> str:
        async with Queue(url, name="cpu") as own:
            return (await own.task(_leaf).using(delay="1h").enqueue()).id

    return asyncio.run(put())


@queue.task(executor="process")
def say(text: str) -> str:
    """Print, and let a program print and read; none of it is for the worker."""
    print(text)  # noqa: T201  # that is the point
    subprocess.run([sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))"], check=True)
    return text


def _deep_inside() -> None:
    raise Unsendable("no tea", "no coffee")


@queue.task(executor="process")
def fail() -> None:
    """Raise."""
    _deep_inside()


@queue.task(executor="process")
def odd() -> Any:
    """Return what can not travel."""
    return threading.Lock()


@queue.task(executor="process")
def long() -> str:
    """Return too much."""
    return "x" * (2 * 1024 * 1024)


@queue.task(executor="process")
def drop(reason: str) -> None:
    """End without a result."""
    raise Drop(reason)


@queue.task(executor="process")
def give_up(reason: str) -> None:
    """End among the dead letters."""
    raise GiveUp(reason)


@queue.task(executor="process")
def later(marks: str, after: float, moment: datetime | None = None) -> int:
    """Run three times."""
    return _marked(marks) if _marked(marks, add=True) > 2 else _raise(RetryLater(moment or after))


@queue.task(executor="process", limits=[Rate("1000/s", name="api")])
def refused(marks: str) -> int:
    """Be refused by an API two times."""
    return _marked(marks) if _marked(marks, add=True) > 2 else _raise(RateLimited("api", 0.01))


@queue.task(executor="process")
def fail_twice(marks: str) -> int:
    """Raise when run for the first two times."""
    return _marked(marks) if _marked(marks, add=True) > 2 else _raise(Unsendable("a", "b"))


@queue.task(executor="process")
def die_twice(marks: str) -> int:
    """Take the process along when run for the first two times."""
    if _marked(marks, add=True) <= 2:
        os._exit(7)
    return _marked(marks)


@queue.task(executor="process")
def fail_alike_twice(marks: str) -> int:
    """Raise several at once when run for the first two times."""
    several = ExceptionGroup("both", [Unsendable("a", "b"), json.JSONDecodeError("no", "{", 0)])
    return _marked(marks) if _marked(marks, add=True) > 2 else _raise(several)


P = ParamSpec("P")
R = TypeVar("R")


def twice(function: Callable[P, R]) -> Callable[P, R]:
    """Call a function, and then again, which shows whether it was called through this."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        function(*args, **kwargs)
        return function(*args, **kwargs)

    return wrapper


@queue.task(executor="process")
@twice
def marked_twice(marks: str) -> int:
    """Be called through a decorator."""
    return _marked(marks, add=True)


def awaiting(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Hide that a function is to be awaited."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
        return function(*args, **kwargs)

    return wrapper


@queue.task(executor="process")
@awaiting
async def awaited(n: int) -> int:
    """Be a coroutine, behind a decorator."""
    await asyncio.sleep(0)
    return n + 1


def bare(n: int) -> int:
    """Be a function that a task of another name decorates."""
    return n


doubled = queue.task(name="doubled", executor="process")(twice(bare))


class ByClass:
    """What has a method that needs no object."""

    @classmethod
    def made(cls, n: int) -> str:
        """Return the name of the class."""
        return cls.__name__ * n


by_class = queue.task(executor="process")(ByClass.made)


def _raise(error: Exception) -> int:
    raise error


def _marked(marks: str, *, add: bool = False) -> int:
    path = Path(marks)
    if add:
        with path.open("a") as file:
            file.write(".")
    return len(path.read_text())


@queue.task(executor="process")
def die(how: str) -> None:
    """Take the process along."""
    match how:
        case "exit":
            os._exit(3)
        case "segfault":
            # Python's own report of it is for people, not for this test's output.
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            ctypes.string_at(0)
        case _:
            os.kill(os.getpid(), signal.SIGKILL)


@queue.task(executor="process")
def fork_and_die(pids: str) -> None:
    """Die, and leave one behind that holds all that was open."""
    started, start = os.pipe()
    if os.fork() == 0:
        note_pid(pids)
        os.write(start, b".")
        time.sleep(60)
        os._exit(0)
    os.read(started, 1)
    os._exit(4)


def note_pid(pids: str) -> None:
    """Write down that this process runs something."""
    with Path(pids).open("a") as file:
        file.write(f"{os.getpid()}\n")


@queue.task(executor="process")
def spin(pids: str) -> None:
    """Keep a processor busy for ever."""
    note_pid(pids)
    while True:
        pass


@queue.task(executor="process")
def stick(pids: str) -> None:
    """Never come back from a call that lets no other thread run."""
    note_pid(pids)
    seize_interpreter()


@queue.task(executor="process")
def start_program(pids: str) -> None:
    """Wait for a program."""
    note_pid(pids)
    program = f"import os, time; open({pids!r}, 'a').write(f'{{os.getpid()}}\\n'); time.sleep(60)"
    subprocess.run([sys.executable, "-c", program], check=False)


@queue.task(executor="process")
def wait_for_file(path: str, pids: str) -> str:
    """Run until there is a file."""
    note_pid(pids)
    while not Path(path).exists():
        time.sleep(0.005)
    return path


@queue.task
async def quick(n: int) -> int:
    """Run on the event loop."""
    return n
