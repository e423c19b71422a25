"""A queue with lifespans that write down what happens to them, for worker processes."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiostreamq import Context, Queue

queue = Queue(name="lifespans", lanes=["default"])


def note(what: str) -> None:
    """Write down what happened, and where."""
    with Path(os.environ["LEDGER"]).open("a") as ledger:
        ledger.write(f"{os.getpid()} {what}\n")


@dataclass
class State:
    """The state that jobs of a process share."""

    pid: int
    turns: int = 0


@queue.lifespan
async def counting() -> AsyncGenerator[State]:
    """Count in the background while jobs run."""
    match os.environ.get("LIFESPAN"):
        case "fails":
            raise ConnectionError("the database is away")
        case "hangs":
            note("hangs")
            await asyncio.Event().wait()
        case _:
            pass
    state = State(os.getpid())

    loop = asyncio.get_running_loop()

    def count() -> None:
        nonlocal timer
        state.turns += 1
        timer = loop.call_later(0.01, count)

    note("enter counting")
    timer = loop.call_later(0.01, count)
    try:
        yield state
    finally:
        timer.cancel()
        note("leave counting")
        if os.environ.get("LIFESPAN") == "fails at its end":
            raise ConnectionError("the database does not say goodbye")


@queue.lifespan
@asynccontextmanager
async def silent() -> AsyncGenerator[None]:
    """Yield no state."""
    note("enter silent")
    yield
    note("leave silent")


@queue.task
async def here(ctx: Context[State]) -> list[int]:
    """Return the process, and the one that has entered the lifespan."""
    note("job")
    return [os.getpid(), ctx.state.pid]


@queue.task(executor="process")
def there(ctx: Context[State]) -> list[int]:
    """Return the same of a process for `def` tasks, once its background task has run."""
    before = ctx.state.turns
    while ctx.state.turns == before:
        pass  # the loop of the lifespan turns in another thread
    note("job")
    return [os.getpid(), ctx.state.pid]
