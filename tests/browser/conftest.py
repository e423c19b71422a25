"""A dashboard that is served, a queue that works, and a browser that looks at it."""

from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from aiostreamq import Worker
from tests.browser.shop_app import charge, queue, report, resize, send_mail, write_history
from tests.examples.processes import free_port, running
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

# The dependency group `browser` has it, which only the nightly tests need.
collect_ignore_glob = [] if find_spec("playwright") else ["test_*.py"]

CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")


class Shop:
    """The queue that the dashboard shows, and its address."""

    def __init__(self, address: str, go: Path) -> None:
        self.address = address
        self.home = f"{address}/q/shop/"
        self.queue = queue
        self.go = go  #: a file: once it exists, the jobs that run end
        self.failed = ""
        self.waiting = ""

    async def fill(self) -> None:
        """Have jobs in all states."""
        card = {"holder": "Ada Lovelace", "number": "4242", "password": "x"}
        jobs = [await charge.enqueue(n, card, api_key="k-1") for n in range(160)]
        for n in range(30):
            await send_mail.enqueue(f"{'x' if n % 7 == 3 else 'ada'}@example.com", "Your order")
        self.failed = jobs[4].id
        await queue.enqueue("translate", "es", text="Thank you")

        async def is_done() -> bool:
            info = await queue.info()
            ended = sum(sum(task.ended.values()) for task in info.tasks)
            return info.parked == 1 and ended >= 190

        await wait_until(is_done, "the jobs to end")
        running = [await resize.enqueue(str(self.go), width) for width in (320, 640, 1280)]

        async def are_running() -> bool:
            return (await queue.info()).running == len(running)

        await wait_until(are_running, "three jobs to run")
        await queue.pause(lane="bulk", until="2h")
        for n in range(40):
            self.waiting = (await resize.enqueue(f"photo-{n}.png", width=640)).id
        await send_mail.using(delay="20m").enqueue("bob@example.com", "A reminder")
        await charge.using(delay="3h").enqueue(512, card)
        await report.using(delay="1d").enqueue()


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    """A dashboard at an address, of a queue with a worker."""
    with RedisServer() as server:
        monkeypatch.setenv("AIOSTREAMQ_URL", server.url)
        queue.use_url(server.url)
        port = free_port()
        command = ("-m", "uvicorn", "tests.browser.shop_app:app", "--port", str(port))
        shop = Shop(f"http://localhost:{port}", tmp_path / "go")
        async with (
            Redis.from_url(server.url) as client,
            queue,
            Worker(queue, concurrency=12, name="web1"),
            Worker(queue, concurrency=4, name="web2"),
            running(*command, url=server.url, until="Uvicorn running", ends_with=-15),
        ):
            await write_history(client)
            await shop.fill()
            try:
                yield shop
            finally:
                shop.go.touch()
                await queue.resume(lane="bulk")
                await queue.cancel_many(everything=True)


@pytest.fixture
def chromium() -> str:
    """The path of a browser."""
    path = next((one for one in CHROMIUM if Path(one).exists()), None)
    if path is None:
        pytest.skip(f"no browser: one of {', '.join(CHROMIUM)} is needed")
    return path


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Any]:
    """A headless Chromium."""
    from playwright.async_api import async_playwright

    async with async_playwright() as tool:
        browser = await tool.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()
