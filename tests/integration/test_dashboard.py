"""The pages of the dashboard: what they show, and what they never show."""

from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx
import pytest
from fastapi import FastAPI
from litestar import Litestar, asgi
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from aiostreamq import Queue, UsageError, Worker
from aiostreamq.web import dashboard
from tests.support.dashboard import (
    HOME,
    HOSTILE,
    SECRET,
    Browser,
    Shop,
    browser_of,
    links_in,
    shop_at,
)
from tests.support.waiting import wait_until

PAGES = (
    *("", "jobs/running", "jobs/queued", "jobs/delayed", "jobs/parked", "jobs/done"),
    *("jobs/failed", "jobs/dead", "jobs/cancelled", "jobs/expired", "jobs/dropped"),
    *("workers", "schedules", "dead-letters", "audit"),
)
PARTS = {"": "overview", "jobs/queued": "counts", "workers": "workers"}


@pytest.fixture
async def shop(store_url: str) -> AsyncIterator[Shop]:
    """A filled queue, on a real Redis and in memory."""
    async with shop_at(store_url) as shop:
        yield shop


@pytest.fixture
async def browser(shop: Shop) -> AsyncIterator[Browser]:
    """The browser of its dashboard, which is read-only."""
    async with browser_of(shop.queue) as browser:
        yield browser


async def pages_of(shop: Shop, browser: Browser) -> dict[str, str]:
    """Return the text of each page."""
    letters = await shop.queue.dead_letters.list()
    paths = [*PAGES, *(f"job?id={job_id}" for job_id in shop.ids.values())]
    paths += [f"dead-letter?id={letter.id}" for letter in letters]
    return {path: await browser.page(HOME + path) for path in paths}


async def test_every_link_leads_somewhere(shop: Shop, browser: Browser) -> None:
    """All pages are reached from the first, and no link is dead."""
    found = await browser.crawl()
    assert set(found.values()) <= {200, 303}, found
    paths = {address.partition(HOME)[2].partition("?")[0] for address in found}
    assert paths >= {*PAGES, "job", "dead-letter"}


def in_starlette(app: Starlette) -> ASGIApp:
    """Mount a dashboard below two paths."""
    inner = Starlette(routes=[Mount("/queue", app)])
    return Starlette(routes=[Mount("/admin", inner)])


def in_fastapi(app: Starlette) -> ASGIApp:
    """Mount a dashboard as the documentation of FastAPI does."""
    outer = FastAPI()
    outer.mount("/admin/queue", app)
    return outer


def in_litestar(app: Starlette) -> ASGIApp:
    """Mount a dashboard in Litestar."""
    return cast("ASGIApp", Litestar([asgi("/admin/queue", is_mount=True, copy_scope=True)(app)]))


@pytest.mark.parametrize("mounted", [in_starlette, in_fastapi, in_litestar])
@pytest.mark.parametrize("start", ["", "/"])
async def test_links_are_right_under_any_mount(
    shop: Shop, mounted: Callable[[Starlette], ASGIApp], start: str
) -> None:
    """Mounted below a path, no link leaves it, and its address needs no slash at the end."""
    app = mounted(dashboard(shop.queue))
    async with Browser(app, "http://localhost/admin/queue") as browser:
        found = await browser.crawl(start)
    assert len(found) > len(PAGES)
    assert all(address.endswith("/queue") or "/admin/queue/" in address for address in found)
    assert set(found.values()) <= {200, 303, 307}, found


async def test_links_are_right_behind_a_proxy(shop: Shop) -> None:
    """A proxy may remove a path: all links are relative."""
    async with browser_of(shop.queue) as browser:
        page = await browser.page(HOME)
    assert all(not link.startswith("/") for link in links_in(page))


async def test_hostile_text_is_text(shop: Shop, browser: Browser) -> None:
    """Texts of jobs, errors and headers never become markup."""
    pages = await pages_of(shop, browser)
    shown = [path for path, text in pages.items() if "onerror=alert(1)" in text]
    assert len(shown) >= 4
    for path, text in pages.items():
        assert HOSTILE not in text, path
        assert "<img src=x" not in text, path
        assert "<script>alert" not in text, path


async def test_secrets_are_masked_by_name(shop: Shop, browser: Browser) -> None:
    """Arguments, results, headers and errors show no value that is called a secret."""
    pages = await pages_of(shop, browser)
    masked = [path for path, text in pages.items() if "**********" in text]
    assert len(masked) >= 4
    assert {path for path, text in pages.items() if SECRET in text} == set()


async def test_secrets_are_not_found_by_a_search(shop: Shop, browser: Browser) -> None:
    """A search cannot find a secret out letter by letter."""
    for state in ("delayed", "failed"):
        assert "charge" in await browser.page(f"{HOME}jobs/{state}", text="holder")
        page = await browser.page(f"{HOME}jobs/{state}", text=SECRET[:4])
        assert "No match." in page
        assert "searched 1" in page


async def test_nothing_is_loaded_or_run_from_elsewhere(shop: Shop, browser: Browser) -> None:
    """Each answer forbids it, and no page has scripts or styles in it."""
    pages = await pages_of(shop, browser)
    for path, text in pages.items():
        assert "style=" not in text, path
        assert "<style" not in text, path
        assert "onclick" not in text, path
        assert not [link for link in links_in(text) if "//" in link], path
    for path in (HOME, "/nothing", "/static/x/style.css", "/"):
        answer = await browser.get(path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("path", "part"), PARTS.items())
async def test_parts_are_pieces_of_their_pages(browser: Browser, path: str, part: str) -> None:
    """The live parts are rendered alone, for the script to put them in place."""
    page = await browser.page(HOME + path)
    assert f'data-live="{part}"' in page
    text = await browser.page(HOME + path, part=part)
    assert "<html" not in text
    assert text.count("<div") == text.count("</div")


async def test_overview(shop: Shop, browser: Browser) -> None:
    """It counts what there is, draws what ended, and says what is wrong."""
    page = await browser.page(HOME)
    for text in ("charge", "resize", "bulk", "no worker", "1 done,", "1 failed,"):
        assert text in page
    assert page.count('class="chart"') == 3
    assert page.count("<g>") == 60
    assert (await browser.page(HOME, span="3h")).count("<g>") == 179


async def test_job_pages(shop: Shop, browser: Browser) -> None:
    """The page of a job has its state, arguments by parameter, result, error and timeline."""
    done, failed, queued = shop.ids.values()
    page = await browser.page(f"{HOME}job", id=done)
    assert "Ended as done" in page
    assert "30 items" in page
    page = await browser.page(f"{HOME}job", id=failed)
    for text in ("ValueError", "Traceback", "api_key", "Ended as failed", "Dead letter"):
        assert text in page
    page = await browser.page(f"{HOME}job", id=queued)
    for text in ("Why it does not run", "task &#39;resize&#39; is paused until", "image"):
        assert text in page


async def test_parked_job_says_which_task_no_worker_knows(shop: Shop, browser: Browser) -> None:
    """The reason for a parked job names its task."""
    page = await shop.queue.job_page("parked")
    text = await browser.page(f"{HOME}job", id=page.jobs[0].id)
    assert "No worker that is alive knows the task &#39;unknown&#39;" in text


async def test_pages_of_jobs(shop: Shop, browser: Browser) -> None:
    """The next page begins after the end of this one, and the last has no next."""
    await shop.queue.enqueue_many([shop.resize.bind(f"image-{n}") for n in range(120)])
    seen, address = list[str](), f"http://localhost{HOME}jobs/queued"
    for _ in range(10):
        text = (await browser.get(address)).text
        seen += [link for link in links_in(text) if "job?id=" in link]
        following = [link for link in links_in(text) if "after=" in link]
        if not following:
            break
        address = str(httpx.URL(address).join(following[0]))
    assert len(seen) == len(set(seen)) == 121


async def test_filters_of_jobs(shop: Shop, browser: Browser) -> None:
    """A filter stays in the form, and a search says how far it went."""
    await shop.queue.enqueue_many([shop.resize.bind(f"image-{n}") for n in range(20)])
    page = await browser.page(f"{HOME}jobs/queued", text="IMAGE-7", lane="bulk", task="resize")
    assert page.count("job?id=") == 1
    assert 'value="IMAGE-7"' in page
    assert "searched 21 of 21" in page
    assert "No match." in await browser.page(f"{HOME}jobs/queued", lane="default")
    assert "charge" in await browser.page(f"{HOME}jobs/failed", error="ValueError", tag="billing")


async def test_workers(shop: Shop, browser: Browser) -> None:
    """A worker is shown with its slots and what it knows."""
    async with Worker(shop.queue, concurrency=7) as worker:

        async def is_shown() -> bool:
            return "7 slots" in await browser.page(f"{HOME}workers")

        await wait_until(is_shown, "the worker to describe itself")
        page = await browser.page(f"{HOME}workers")
        assert worker.name in page
        assert "charge, resize" in page


async def test_schedules(browser: Browser) -> None:
    """A schedule is shown in words, with its next runs."""
    page = await browser.page(f"{HOME}schedules")
    for text in ("nightly", "At 02:00", "0 2 * * *", "resize", "UTC"):
        assert text in page


async def test_dead_letters_are_grouped(shop: Shop, browser: Browser) -> None:
    """Letters of one task and one error are one row, which leads to its letters."""
    page = await browser.page(f"{HOME}dead-letters")
    assert "task=charge&amp;error=ValueError" in page
    page = await browser.page(f"{HOME}dead-letters", task="charge", error="ValueError")
    assert page.count("dead-letter?id=") == 1
    assert "None." in await browser.page(f"{HOME}dead-letters", error="KeyError")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/q/none/", 404),
        ("/nothing", 404),
        (f"{HOME}jobs/nowhere", 404),
        (f"{HOME}jobs/queued?after=x", 400),
        (f"{HOME}jobs/queued?after=default~1-0&searched=x&long=1", 200),
        (f"{HOME}job", 404),
        (f"{HOME}job?id=unknown", 404),
        (f"{HOME}job?id=%00", 400),
        (f"{HOME}dead-letter?id=1-0", 404),
        (f"{HOME}dead-letters?before=x", 400),
        (f"{HOME}?part=../base", 200),
        (f"{HOME}?did=cancelled&n=99999999999999999999", 200),
        ("/static/x/../dashboard.py", 404),
    ],
)
async def test_wrong_addresses(browser: Browser, path: str, status: int) -> None:
    """A wrong address is answered with what is wrong."""
    assert (await browser.get(path)).status_code == status


async def test_static_files_are_kept_by_browsers(browser: Browser) -> None:
    """Their addresses change with what is in them, so that they are loaded once."""
    page = await browser.page(HOME)
    (style,) = [link for link in links_in(page) if link.endswith("style.css")]
    answer = await browser.get(f"/{style.replace('../', '')}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/css")
    assert "immutable" in answer.headers["cache-control"]
    assert (await browser.get(HOME)).headers["cache-control"] == "no-store"


async def test_several_queues(shop: Shop, store_url: str) -> None:
    """Queues are listed together; those of one name get numbers."""
    other, same = Queue(store_url, name="other"), Queue(store_url, name="shop")
    async with other, same, browser_of(shop.queue, other, same) as browser:
        page = await browser.page("/")
        assert {"./q/shop/", "./q/other/", "./q/shop-2/"} <= set(links_in(page))
        assert "../../q/other/" in links_in(await browser.page("/q/shop-2/"))


def test_queues_are_checked() -> None:
    """No queue, and the same one twice, is refused when the dashboard is made."""
    queue = Queue("memory://")
    with pytest.raises(UsageError, match="needs a queue"):
        dashboard()
    with pytest.raises(UsageError, match="twice"):
        dashboard(queue, queue)


async def test_redis_is_away() -> None:
    """The page says that Redis does not answer, and the next request tries again."""
    queue = Queue("redis://127.0.0.1:1", name="shop")
    async with browser_of(queue) as browser:
        answer = await browser.get(HOME)
    assert answer.status_code == 503
    assert "Redis is not answering" in answer.text
