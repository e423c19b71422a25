"""Two queues of one process, each with a lifespan that writes down what happens to it."""

import os
from collections.abc import AsyncGenerator

from aiostreamq import Context, Queue
from tests.support.lifespan_app import note

orders = Queue(name="orders")
mail = Queue(name="mail")


@orders.lifespan
async def shop() -> AsyncGenerator[str]:
    """Open what the jobs of the first queue share."""
    note("enter shop")
    yield "shop"
    note("leave shop")


@mail.lifespan
async def post_office() -> AsyncGenerator[str]:
    """Open what the jobs of the second queue share, or fail."""
    if os.environ.get("LIFESPAN") == "fails":
        raise ConnectionError("the post office is closed")
    note("enter post office")
    yield "post office"
    note("leave post office")


@orders.task
async def place(ctx: Context[str]) -> str:
    """Return the state of this queue."""
    return ctx.state


@mail.task
async def send(ctx: Context[str]) -> str:
    """Return the state of this queue."""
    return ctx.state
