"""A shop whose dashboard is looked at by a browser: `uvicorn tests.browser.shop_app:app`."""

import asyncio
import math
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from aiostreamq import JobState, Queue
from aiostreamq.model.keys import Keys
from aiostreamq.model.stats import BOUNDS
from aiostreamq.web import dashboard

if TYPE_CHECKING:
    from redis.asyncio import Redis

queue = Queue(name="shop", lanes=["default", "mail", "bulk"])
app = dashboard(queue, write=True)


@queue.task(tags=["billing"])
async def charge(order: int, card: dict[str, str], api_key: str = "") -> dict[str, object]:
    """Charge a card."""
    if order % 9 == 4:
        raise ValueError(f"the card of order {order} was refused")
    if order % 31 == 7:
        raise ConnectionError("payments.example.com: connection reset")
    return {"order": order, "paid": True, "lines": [{"sku": f"A-{n}", "count": n} for n in (1, 2)]}


@queue.task(lane="mail")
async def send_mail(to: str, subject: str) -> None:
    """Send a mail."""
    if to.startswith("x"):
        raise TimeoutError("smtp.example.com did not answer")


@queue.task(lane="bulk")
async def resize(image: str, width: int) -> str:
    """Run until there is a file."""
    while not Path(image).exists():  # noqa: ASYNC110, ASYNC240  # the test does not mind
        await asyncio.sleep(0.01)
    return image


@queue.cron("30 2 * * *", tz="Europe/Madrid")
@queue.task
async def report() -> None:
    """Write the report of the day."""


@queue.every("15m")
@queue.task
async def clean_up() -> None:
    """Remove what is old."""


async def write_history(client: "Redis", minutes: int = 170) -> None:
    """Write what ended in the minutes before, as a worker counts it."""
    draw = random.Random(7)
    keys, now = Keys("shop"), int(time.time() // 60)

    def bucket(span: float) -> int:
        return sum(bound <= span for bound in BOUNDS)

    for ago in range(2, minutes):
        wave = 1 + math.sin((now - ago) / 11) * 0.35 + draw.random() * 0.25
        fields: dict[str, int] = {}
        for task, usual, span in (("charge", 420, 0.04), ("send_mail", 260, 0.2)):
            count = int(usual * wave)
            for share, factor in ((0.5, 0.7), (0.4, 1.3), (0.1, 3 + 3 * draw.random())):
                ran = bucket(span * factor * (1 + 0.3 * math.sin(ago / 7)))
                name = f"{task}|{JobState.DONE}|{ran}"
                fields[name] = fields.get(name, 0) + int(count * share)
                waited = f"{task}|wait|{bucket(0.02 * factor * wave)}"
                fields[waited] = fields.get(waited, 0) + int(count * share)
            failed = int(count * (0.02 + (0.16 if 38 < ago < 45 else 0)))
            fields[f"{task}|{JobState.FAILED}|{bucket(span)}"] = failed
        await client.hset(keys.stats(now - ago), mapping=fields)  # pyright: ignore[reportGeneralTypeIssues, reportUnknownMemberType]  # as redis-py types it
        await client.expire(keys.stats(now - ago), 3600)
