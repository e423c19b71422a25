"""The actions of the dashboard: each does what its button says, and is noted before."""

from collections.abc import AsyncIterator

import httpx
import pytest

from aiostreamq import JobState, Queue, Worker
from aiostreamq.client.audit import newest_actions
from aiostreamq.web import bulk
from tests.support.dashboard import HOME, Browser, Shop, browser_of, shop_at
from tests.support.waiting import wait_until


@pytest.fixture
async def shop(store_url: str) -> AsyncIterator[Shop]:
    """A filled queue, on a real Redis and in memory."""
    async with shop_at(store_url) as shop:
        yield shop


@pytest.fixture
async def browser(shop: Shop) -> AsyncIterator[Browser]:
    """The browser of its dashboard, which may write."""
    async with browser_of(shop.queue, write=True) as browser:
        yield browser


async def act(browser: Browser, name: str, **fields: str) -> str:
    """Carry out an action, and return the notice on the page that follows."""
    back = "q/shop/workers"
    answer = await browser.submit(f"{HOME}do/{name}", back=back, **fields)
    assert answer.status_code == 303, answer.text
    location = answer.headers["location"]
    assert location.startswith("../../../q/shop/workers?did=")
    page = await browser.page(location.replace("../../..", ""))
    return page.partition('role="status">')[2].partition("</p>")[0]


async def actions_of(queue: Queue) -> list[tuple[str, str]]:
    """Return what was noted, oldest first."""
    return [(one.action, one.subject) for one in reversed(await newest_actions(queue, 100))]


async def test_cancel(shop: Shop, browser: Browser) -> None:
    """A waiting job ends as cancelled; one that has ended does not change."""
    assert shop.queued is not None
    job_id, done = shop.queued.id, shop.ids["done"]
    assert await act(browser, "cancel", id=job_id) == "Cancelled: 1 job."
    assert await shop.queued.status() is JobState.CANCELLED
    assert "had ended already" in await act(browser, "cancel", id=done)
    assert await actions_of(shop.queue) == [("cancel", f"job {job_id}"), ("cancel", f"job {done}")]
    assert (await browser.submit(f"{HOME}do/cancel", id="unknown")).status_code == 404


async def test_replay_and_delete(shop: Shop, browser: Browser) -> None:
    """A dead letter's job runs again, or the letter is deleted."""
    (letter,) = await shop.queue.dead_letters.list()
    assert await act(browser, "replay", id=letter.id) == "Enqueued again: 1 job."
    assert shop.failed is not None
    assert await shop.failed.status() is JobState.QUEUED
    await Worker(shop.queue).run(burst=True)
    (letter,) = await shop.queue.dead_letters.list()
    assert await act(browser, "purge", id=letter.id) == "Deleted: 1 dead letter."
    assert await shop.queue.dead_letters.count() == 0
    assert (await browser.submit(f"{HOME}do/replay", id=letter.id)).status_code == 404


@pytest.mark.parametrize(("kind", "name"), [("task", "charge"), ("lane", "bulk")])
async def test_pause_and_resume(shop: Shop, browser: Browser, kind: str, name: str) -> None:
    """Tasks and lanes are paused and resumed."""
    assert "Paused" in await act(browser, "pause", **{kind: name})
    assert name in {getattr(pause, kind) for pause in await shop.queue.paused()}
    assert ">Resume</button>" in await browser.page(HOME)
    assert await act(browser, "resume", **{kind: name}) == "Resumed."
    assert name not in {getattr(pause, kind) for pause in await shop.queue.paused()}


async def test_pause_of_an_unknown_lane_is_refused(shop: Shop, browser: Browser) -> None:
    """It would have no effect, and the mistake would go unnoticed."""
    assert (await browser.submit(f"{HOME}do/pause", lane="nowhere")).status_code == 400


async def test_schedules(shop: Shop, browser: Browser) -> None:
    """A schedule runs now, is paused, and is resumed."""
    before = (await shop.queue.info()).waiting
    assert "Enqueued a job" in await act(browser, "trigger", schedule="nightly")
    assert (await shop.queue.info()).waiting == before + 1
    assert "Paused" in await act(browser, "pause-schedule", schedule="nightly")
    assert (await shop.queue.schedules.get("nightly")).is_paused
    assert await act(browser, "resume-schedule", schedule="nightly") == "Resumed."
    assert not (await shop.queue.schedules.get("nightly")).is_paused
    assert (await browser.submit(f"{HOME}do/trigger", schedule="none")).status_code == 400


async def test_page_after_an_action_shows_it(shop: Shop, browser: Browser) -> None:
    """The values from before an action are not shown after it."""
    assert "199" not in await browser.page(HOME)
    await act(browser, "pause", lane="default")
    assert (await browser.page(HOME)).count('class="state s-paused"') == 2
    await act(browser, "resume", lane="default")
    assert (await browser.page(HOME)).count('class="state s-paused"') == 1


async def confirm(browser: Browser, path: str, **filters: str) -> str:
    """Return the number on the page that asks for a confirmation."""
    page = await browser.page(f"{HOME}bulk/{path}", **filters)
    return page.partition('<p class="big">')[2].partition("</p>")[0]


FILTERS: list[dict[str, str]] = [{}, {"task": "resize"}, {"text": "image-1"}, {"lane": "bulk"}]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
async def test_cancel_all_that_match(shop: Shop, browser: Browser, filters: dict[str, str]) -> None:
    """They are counted first, and then those that match are cancelled, and no others."""
    await shop.queue.enqueue_many([shop.resize.bind(f"image-{n}") for n in range(20)])
    await shop.queue.enqueue_many([shop.charge.bind(n, {}) for n in range(20)])
    expected = {"": 41, "task": 21, "text": 11, "lane": 21}["".join(filters)]
    assert await confirm(browser, "queued", **filters) == str(expected)
    answer = await browser.submit(f"{HOME}bulk/queued", **filters)
    assert answer.headers["location"].endswith(f"jobs/queued?did=cancelled&n={expected}")
    assert (await shop.queue.job_page("queued")).jobs.__len__() == 41 - expected
    noted = [action for action, _ in await actions_of(shop.queue)]
    assert noted == ["cancel", "cancel: done"]


@pytest.mark.parametrize("path", ["letters", "failed"])
@pytest.mark.parametrize("filters", [{}, {"task": "charge"}, {"error": "ValueError"}], ids=str)
async def test_replay_all_that_match(
    shop: Shop, browser: Browser, path: str, filters: dict[str, str]
) -> None:
    """Dead letters are replayed by task and error, from their page and from that of jobs."""
    await shop.queue.enqueue_many([shop.charge.bind(-n, {}) for n in range(2, 12)])
    await Worker(shop.queue).run(burst=True)
    assert await confirm(browser, path, **filters) == "11"
    answer = await browser.submit(f"{HOME}bulk/{path}", **filters)
    assert answer.headers["location"].endswith("did=replayed&n=11")
    assert await shop.queue.dead_letters.count() == 0
    assert await confirm(browser, path, error="KeyError") == "0"


async def test_bulk_action_that_takes_long_is_continued(
    shop: Shop, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request does a part, says so, and the next one does the rest."""
    monkeypatch.setattr(bulk, "_ACT_TIME", -1.0)
    monkeypatch.setattr(bulk, "_COUNT_TIME", -1.0)
    monkeypatch.setattr(bulk, "_PAGE", 5)
    await shop.queue.enqueue_many([shop.resize.bind(f"image-{n}") for n in range(20)])
    assert (await confirm(browser, "queued", text="image")).startswith("at least ")
    done, after = 0, {}
    for _ in range(30):
        answer = await browser.submit(f"{HOME}bulk/queued", text="image", **after)
        address = httpx.URL(answer.headers["location"])
        done += int(address.params["n"])
        if address.params["did"] != "more":
            break
        assert address.path.endswith("/bulk/queued")
        after = {"after": address.params["after"]}
    assert done == 20


@pytest.mark.parametrize("state", ["done", "cancelled", "nowhere"])
async def test_ended_jobs_have_no_bulk_action(browser: Browser, state: str) -> None:
    """Jobs that ended without a dead letter cannot be changed."""
    assert (await browser.get(f"{HOME}bulk/{state}")).status_code == 404
    assert (await browser.submit(f"{HOME}bulk/{state}")).status_code == 404


async def test_running_job_is_asked_to_stop(store_url: str) -> None:
    """The notice says that its worker stops it."""
    shop = Shop(store_url)

    @shop.queue.task
    async def forever() -> None:
        import asyncio

        await asyncio.Event().wait()

    async with shop.queue, browser_of(shop.queue, write=True) as browser:
        job = await forever.enqueue()
        async with Worker(shop.queue):

            async def is_running() -> bool:
                return await job.status() is JobState.RUNNING

            await wait_until(is_running, "the job to run")
            assert "asked to stop" in await act(browser, "cancel", id=job.id)

            async def is_cancelled() -> bool:
                return await job.status() is JobState.CANCELLED

            await wait_until(is_cancelled, "the job to be cancelled")


async def test_audit_trail_is_shown_and_bounded(shop: Shop, browser: Browser) -> None:
    """Its page has the newest actions, also on a dashboard that is read-only."""
    await act(browser, "pause", lane="bulk")
    async with browser_of(shop.queue) as reader:
        page = await reader.page(f"{HOME}audit")
    assert "lane bulk" in page
