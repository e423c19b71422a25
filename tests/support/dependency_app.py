"""Tasks for processes that have dependencies."""

import os
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Annotated

from aiostreamq import Context, Depends, Queue

queue = Queue(name="dependencies")


def note(what: str) -> None:
    """Write down what happened, and where."""
    with Path(os.environ["LEDGER"]).open("a") as ledger:
        ledger.write(f"{os.getpid()} {what}\n")


@queue.lifespan
async def state() -> AsyncGenerator[str]:
    """Yield a state."""
    yield "state"


async def client(given: str = Depends(state)) -> AsyncGenerator[str]:
    """Open what all jobs of a process share."""
    note("open client")
    yield f"client of {given}"
    note("close client")


def session(
    ctx: Context, shared: Annotated[str, Depends(client, scope="worker")]
) -> Generator[str]:
    """Open what one run uses."""
    note(f"open session {ctx.attempt}")
    try:
        yield f"session of {shared}"
    except BaseException as error:
        note(f"roll back {type(error).__name__}")
        raise
    note("commit")


@queue.task(executor="process")
def work(fails: bool, used: str = Depends(session)) -> str:
    """Return what it uses, or fail."""
    if fails:
        raise ValueError("no")
    return used


def fail(ctx: Context, place: str) -> None:
    """Raise, if the job asks for it at this place."""
    match ctx.headers.get(place):
        case "ValueError":
            raise ValueError(place)
        case "SystemExit":
            raise SystemExit(place)
        case "KeyboardInterrupt":
            raise KeyboardInterrupt(place)
        case _:
            pass


def faulty_in_thread(ctx: Context) -> Generator[str]:
    """Raise before or after the job, in a thread."""
    fail(ctx, "start-in-thread")
    yield "in thread"
    fail(ctx, "end-in-thread")


async def faulty_on_loop(ctx: Context) -> AsyncGenerator[str]:
    """Raise before or after the job, on the loop."""
    fail(ctx, "start-on-loop")
    yield "on loop"
    fail(ctx, "end-on-loop")


@queue.task(executor="process")
def endangered(
    one: str = Depends(faulty_in_thread), other: str = Depends(faulty_on_loop)
) -> list[str]:
    """Return what it uses."""
    return [one, other]
