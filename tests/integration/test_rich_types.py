"""Arguments and results keep the types that their annotations name."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID

from pydantic import BaseModel

from aiostreamq import Context, Queue, Worker


class Colour(Enum):
    """An enum."""

    RED = "red"


@dataclass
class Item:
    """A dataclass with others inside."""

    id: UUID
    price: Decimal
    colours: set[Colour]


class Order(BaseModel):
    """A pydantic model."""

    at: datetime
    within: timedelta


ITEM = Item(UUID(int=7), Decimal("9.90"), {Colour.RED})
ORDER = Order(at=datetime(2024, 2, 29, tzinfo=UTC), within=timedelta(hours=1))


async def test_arguments_and_results(queue: Queue) -> None:
    """The task gets what was sent, and who awaits gets what it returned, in their own types."""
    seen: list[object] = []

    @queue.task
    async def ship(
        item: Item, order: Order, *days: date, ctx: Context, seal: bytes = b"", **notes: Decimal
    ) -> tuple[Item, Order, bytes]:
        seen.extend([item, order, *days, seal, notes])
        assert ctx.attempt == 1
        return item, order, seal

    day = date(2024, 2, 29)
    async with Worker(queue):
        job = await queue.enqueue("ship", ITEM, ORDER, day, day, seal=b"\xff", tax=Decimal("0.1"))
        assert await job == (ITEM, ORDER, b"\xff")
        assert await queue.job(job.id) == (ITEM, ORDER, b"\xff")
    assert seen == [ITEM, ORDER, day, day, b"\xff", {"tax": Decimal("0.1")}]


async def test_client_that_does_not_know_the_task(store_url: str, queue: Queue) -> None:
    """It gets the plain JSON."""

    @queue.task
    async def give() -> Item:
        return ITEM

    job = await give.enqueue()
    async with Queue(store_url) as other, Worker(queue):
        assert await other.job(job.id) == {
            "id": "00000000-0000-0000-0000-000000000007",
            "price": "9.90",
            "colours": ["red"],
        }
