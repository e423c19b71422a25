"""A dashboard in the process of a test, the browser that asks it, and a queue to be seen."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import httpx

from aiostreamq import Job, Queue, Worker
from aiostreamq.web import dashboard
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import ASGIApp

    from aiostreamq.client.queue_client import QueueClient

#: Markup that must never come out of a page as it went in.
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"

#: A value that no page may show.
SECRET = "hunter2hunter2"

HOME = "/q/shop/"


class Browser(httpx.AsyncClient):
    """A client on the same computer, which does not follow redirects."""

    def __init__(self, app: ASGIApp, base: str = "http://localhost", **options: Any) -> None:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 5000))
        super().__init__(transport=transport, base_url=base, **options)

    async def page(self, path: str, **query: str) -> str:
        """Return the text of a page, which must be there."""
        answer = await self.get(path, params=query or None)
        assert answer.status_code == 200, (path, answer.status_code, answer.text)
        return answer.text

    async def submit(self, path: str, **fields: str) -> httpx.Response:
        """Send a form as a browser does."""
        kind = "application/x-www-form-urlencoded"  # sent by browsers also with an empty form
        headers = {"sec-fetch-site": "same-origin", "content-type": kind}
        return await self.post(path, data=fields, headers=headers)

    async def crawl(self, start: str = "/") -> dict[str, int]:
        """Follow all links from a page, and return the addresses with their answers."""
        found: dict[str, int] = {}
        left = [str(self.base_url).rstrip("/") + start]
        while left:
            address = left.pop()
            if address in found:
                continue
            answer = await self.get(address)
            found[address] = answer.status_code
            if answer.has_redirect_location:
                left.append(urljoin(address, answer.headers["location"]))
            if answer.headers.get("content-type", "").startswith("text/html"):
                left += [urljoin(address, link).partition("#")[0] for link in links_in(answer.text)]
        return found


def links_in(page: str) -> list[str]:
    """Return the addresses that a page links to or loads."""
    return [unescape(one) for one in re.findall(r'(?:href|src)="([^"]*)"', page)]


def browser_of(*queues: QueueClient, **options: Any) -> Browser:
    """Return a browser of a new dashboard."""
    return Browser(dashboard(*queues, **options))


class Shop:
    """A queue with jobs in many states."""

    def __init__(self, url: str) -> None:
        self.queue = queue = Queue(url, name="shop", lanes=["default", "bulk"])

        @queue.task(tags=["billing"])
        async def charge(order: int, card: dict[str, str], api_key: str = "") -> dict[str, object]:
            if order < 0:
                raise ValueError(f"order {order}: password={SECRET} {HOSTILE}")
            return {"order": order, "token": SECRET, "text": HOSTILE, "lines": [*range(30)]}

        @queue.task(lane="bulk")
        async def resize(image: str) -> str:
            return image

        self.charge, self.resize = charge, resize
        self.done: Job[dict[str, object]] | None = None
        self.failed: Job[dict[str, object]] | None = None
        self.queued: Job[str] | None = None

    async def fill(self) -> None:
        """Have jobs that are done, failed, parked, delayed and queued, and schedules."""
        card = {"holder": HOSTILE, "password": SECRET}
        headers = {"authorization": SECRET, "tenant": HOSTILE}
        call = self.charge.using(headers=headers)
        self.done = await call.enqueue(1, card, api_key=SECRET)
        self.failed = await call.enqueue(-1, card, SECRET)
        await self.queue.enqueue("unknown", HOSTILE, token=SECRET)
        await Worker(self.queue).run(burst=True)
        await self.charge.using(delay="1h").enqueue(2, card)
        self.queued = await self.resize.enqueue(HOSTILE)
        await self.queue.schedules.create("nightly", self.resize.bind("x"), cron="0 2 * * *")
        await self.queue.pause(task="resize", until="1h")

    @property
    def ids(self) -> dict[str, str]:
        """The ids of jobs, by how they are."""
        jobs = {"done": self.done, "failed": self.failed, "queued": self.queued}
        return {name: job.id for name, job in jobs.items() if job is not None}


@asynccontextmanager
async def shop_at(url: str) -> AsyncGenerator[Shop, None]:
    """Give a filled queue."""
    shop = Shop(url)
    async with shop.queue:
        await shop.fill()

        async def is_counted() -> bool:
            tasks = {task.name: task for task in (await shop.queue.info()).tasks}
            return len(tasks["charge"].ended) == 2

        await wait_until(is_counted, "the ends to be counted")
        yield shop
