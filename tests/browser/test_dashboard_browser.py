"""The dashboard in Chromium: each page and each action, in both themes and on a phone.

`AIOSTREAMQ_PICTURES=1` makes the pictures of the documentation again.
"""

import os
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiostreamq import JobState
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.browser.conftest import Shop

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(600),
    pytest.mark.may_block("a job waits for a file, and the browser is a process"),
]

SIZE_OF_PICTURES = {"width": 1120, "height": 680}
ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "how-to" / "dashboard"
DESKTOP, PHONE = {"width": 1240, "height": 800}, {"width": 390, "height": 800}

#: The pages of which the documentation has pictures.
SHOWN = {
    "overview": "",
    "jobs-failed": "jobs/failed",
    "job-waits": "job?id={waiting}",
    "job-failed": "job?id={failed}",
    "dead-letters": "dead-letters",
    "workers": "workers",
    "schedules": "schedules",
}
PAGES = (
    *SHOWN.values(),
    *(f"jobs/{state}" for state in JobState),
    *("audit", "bulk/queued?task=resize", "jobs/queued?text=photo-1", "jobs/nowhere"),
)


@asynccontextmanager
async def tab(browser: Any, **options: Any) -> "AsyncGenerator[Any]":
    """Give a tab, and fail if anything in it goes wrong."""
    wrong: list[str] = []
    context = await browser.new_context(**{"viewport": DESKTOP, **options})
    page = await context.new_page()
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on(
        "console",
        lambda line: wrong.append(line.text) if line.type in {"error", "warning"} else None,
    )
    page.on("requestfailed", lambda one: wrong.append(f"failed: {one.url} {one.failure}"))
    try:
        yield page
    finally:
        await context.close()
    assert [one for one in wrong if "404" not in one and "ERR_ABORTED" not in one] == []


#: Replaces a text in a page: pictures name no place of the machine that made them.
REPLACE = """([old, other]) => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    node.textContent = node.textContent.replaceAll(old, other);
}"""


async def picture(page: Any, name: str) -> None:
    """Write a picture of a page, in few colours, which makes it small."""
    file = PICTURES / f"{name}.png"
    for old, new in ((str(ROOT), "/srv/shop"), (socket.gethostname(), "host-1")):
        await page.evaluate(REPLACE, [old, new])
    await page.screenshot(path=file)
    from PIL import Image

    Image.open(file).convert("RGB").quantize(208).save(file, optimize=True)


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_pages(shop: "Shop", browser: Any, theme: str) -> None:
    """No page has an error in the console, or is wider than the screen, also of a phone."""
    for size in (DESKTOP, PHONE):
        async with tab(browser, color_scheme=theme, viewport=size) as page:
            for one in PAGES:
                path = one.format(waiting=shop.waiting, failed=shop.failed)
                await page.goto(shop.home + path)
                wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, (path, size)


@pytest.mark.skipif("AIOSTREAMQ_PICTURES" not in os.environ, reason="makes pictures")
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_pictures(shop: "Shop", browser: Any, theme: str) -> None:
    """The pictures of the documentation are those of a real browser."""
    PICTURES.mkdir(exist_ok=True)
    async with tab(browser, color_scheme=theme, viewport=SIZE_OF_PICTURES) as page:
        for name, path in SHOWN.items():
            await page.goto(shop.home + path.format(waiting=shop.waiting, failed=shop.failed))
            await picture(page, f"{name}-{theme}")
    if theme == "light":
        async with tab(browser, viewport=PHONE) as page:
            await page.goto(shop.home)
            await picture(page, "overview-phone")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_accessibility(shop: "Shop", browser: Any, theme: str) -> None:
    """Axe finds nothing: names of controls, contrasts, roles and the order of headings."""
    axe = pytest.importorskip("axe_playwright_python.async_playwright")
    async with tab(browser, color_scheme=theme, bypass_csp=True) as page:
        for path in SHOWN.values():
            await page.goto(shop.home + path.format(waiting=shop.waiting, failed=shop.failed))
            found = await axe.Axe().run(page)
            assert found.violations_count == 0, (path, found.generate_report())


async def test_actions(shop: "Shop", browser: Any) -> None:
    """Each button does what it says; what cannot be undone is asked first."""
    asked: list[str] = []

    async def answer(dialog: Any) -> None:
        asked.append(dialog.message)
        await dialog.accept()

    async def press(page: Any, name: str) -> str:
        await page.get_by_role("button", name=name, exact=True).first.click()
        notice: str = await page.get_by_role("status").first.inner_text()
        return notice

    async with tab(browser) as page:
        page.on("dialog", answer)
        await page.goto(shop.home)
        assert "Paused" in await press(page, "Pause")
        assert [pause.lane for pause in await shop.queue.paused()] == ["bulk", "default"]
        assert "Resumed" in await press(page, "Resume")
        await page.goto(f"{shop.home}job?id={shop.waiting}")
        assert "Cancelled: 1 job" in await press(page, "Cancel")
        assert await shop.queue.job(shop.waiting).status() is JobState.CANCELLED
        await page.goto(f"{shop.home}job?id={shop.failed}")
        assert "Enqueued again: 1 job" in await press(page, "Replay")
        await page.goto(f"{shop.home}schedules")
        assert "Enqueued a job" in await press(page, "Run now")
        assert "Paused" in await press(page, "Pause")
        assert "Resumed" in await press(page, "Resume")
        assert asked == ["Cancel this job?", "Enqueue a job of this schedule now?"]
        await page.goto(f"{shop.home}audit")
        assert await page.locator("tbody tr").count() == 7


async def test_bulk_cancel(shop: "Shop", browser: Any) -> None:
    """A filter, a count, a confirmation, and those that matched are gone."""
    async with tab(browser) as page:
        await page.goto(f"{shop.home}jobs/queued")
        await page.get_by_label("In the arguments").fill("photo-1")
        await page.get_by_role("button", name="Filter").click()
        assert await page.locator("tbody tr").count() == 11
        assert "searched" in await page.locator(".searched").inner_text()
        await page.get_by_role("button", name="Cancel all that match").click()
        assert await page.locator(".big").inner_text() == "11"
        await page.get_by_role("button", name="Cancel them").click()
        assert "Cancelled: 11 jobs." in await page.get_by_role("status").inner_text()


async def test_live_parts(shop: "Shop", browser: Any) -> None:
    """The numbers change without a reload, and not while a form in them is in use."""
    async with tab(browser) as page:
        await page.goto(shop.home)
        running = page.locator(".tile-value").first
        assert await running.inner_text() == "3"
        shop.go.touch()

        async def is_updated() -> bool:
            return bool(await running.inner_text() == "0")

        await wait_until(is_updated, "the page to show that the jobs ended")
        await page.goto(f"{shop.home}job?id={shop.waiting}")
        await shop.queue.job(shop.waiting).cancel()
        await page.get_by_text("Ended as cancelled").wait_for()


async def test_without_javascript(shop: "Shop", browser: Any) -> None:
    """Links, filters and forms work without a script."""
    async with tab(browser, java_script_enabled=False) as page:
        await page.goto(shop.address)
        await page.get_by_role("link", name="Jobs").click()
        await page.get_by_role("link", name="queued").click()
        await page.get_by_label("In the arguments").fill("photo-3.png")
        await page.get_by_role("button", name="Filter").click()
        assert await page.locator("tbody tr").count() == 1
        await page.locator("tbody a").first.click()
        await page.get_by_role("button", name="Cancel").click()
        assert "Cancelled: 1 job." in await page.get_by_role("status").inner_text()


async def test_keyboard(shop: "Shop", browser: Any) -> None:
    """The first stop skips the navigation, and every stop is visible."""
    async with tab(browser) as page:
        await page.goto(f"{shop.home}workers")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
        await page.keyboard.press("Enter")
        assert page.url.endswith("#main")
