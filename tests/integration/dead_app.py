"""The queue whose dead letters test_dead_command is about."""

from datetime import datetime

from aiostreamq import Queue

queue = Queue(name="dead")


@queue.task
async def greet(name: str, at: datetime | None = None) -> str:
    """Greet somebody, but not everybody."""
    if name.startswith("nobody"):
        raise ValueError(f"cannot greet {name}")
    return f"hello {name}, {at:%Y}" if at else f"hello {name}"


@queue.task
async def sink(ship: str) -> None:
    """Fail in another way."""
    raise LookupError(ship)
