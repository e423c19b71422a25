"""Access to the dashboard: logins, forged requests, and read-only use."""

import uuid
from base64 import b64encode
from collections.abc import Mapping

import httpx
import pytest
from starlette.requests import Request

from aiostreamq import Queue, UsageError
from aiostreamq.client.audit import newest_actions
from aiostreamq.web import Access, basic_login, dashboard, proxy_login
from tests.support.dashboard import HOME, Browser, browser_of

SAME = {"sec-fetch-site": "same-origin"}
PAUSE = "/q/shop/do/pause"


@pytest.fixture
def queue() -> Queue:
    """A queue in memory."""
    return Queue(f"memory://{uuid.uuid4()}", name="shop")


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header of a login."""
    return {"authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("client", "host", "headers", "status"),
    [
        ("127.0.0.1", "localhost:8080", {}, 200),
        ("127.0.0.1", "127.0.0.1", {}, 200),
        ("::1", "[::1]:8080", {}, 200),
        ("10.0.0.7", "localhost", {}, 403),
        ("127.0.0.1", "queue.example.com", {}, 403),
        ("127.0.0.1", "localhost", {"x-forwarded-for": "10.0.0.7"}, 403),
        ("127.0.0.1", "localhost", {"forwarded": "for=10.0.0.7"}, 403),
        (None, "localhost", {}, 403),
    ],
)
async def test_without_a_login_only_this_computer_is_answered(
    queue: Queue, client: str | None, host: str, headers: dict[str, str], status: int
) -> None:
    """Other computers, proxies and names that lead here are refused, also for static files."""
    app = dashboard(queue)
    address = (client, 5000)
    transport = httpx.ASGITransport(app, client=address)  # pyright: ignore[reportArgumentType]  # None: a socket of a file
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser:
        for path in (HOME, "/static/x/style.css"):
            answer = await browser.get(path, headers={"host": host, **headers})
            assert answer.status_code == status
            assert answer.headers["x-frame-options"] == "DENY"


async def test_basic_login(queue: Queue) -> None:
    """A wrong name or password is asked for again; readers may only look."""
    login = basic_login({"ada": "s3cret", "bob": "pass:word"}, readers=("bob",))
    async with browser_of(queue, write=True, authorize=login) as browser:
        wrong: list[Mapping[str, str]] = [
            {},
            *(basic("ada", ""), basic("ada", "pass:word"), basic("eve", ""), basic("", "")),
            *({"authorization": "Basic ?"}, {"authorization": "Bearer x"}),
            {"authorization": "Basic " + b64encode(b"\xff:x").decode()},
        ]
        for headers in wrong:
            answer = await browser.get(HOME, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic ")
        ada, bob = basic("ada", "s3cret"), basic("bob", "pass:word")
        assert "ada · read and write" in (await browser.get(HOME, headers=ada)).text
        assert "bob · read-only" in (await browser.get(HOME, headers=bob)).text
        answer = await browser.post(PAUSE, headers={**SAME, **bob}, data={"lane": "default"})
        assert answer.status_code == 403
        answer = await browser.post(PAUSE, headers={**SAME, **ada}, data={"lane": "default"})
        assert answer.status_code == 303
        (action,) = await newest_actions(queue, 10)
        assert (action.user, action.action, action.subject) == ("ada", "pause", "lane default")


async def test_login_of_a_proxy(queue: Queue) -> None:
    """The header has the user; without it nothing is shown."""
    async with browser_of(queue, authorize=proxy_login("X-User")) as browser:
        assert (await browser.get(HOME)).status_code == 403
        assert "ada · read-only" in (await browser.get(HOME, headers={"x-user": "ada"})).text


@pytest.mark.parametrize("is_async", [False, True])
async def test_login_of_the_application(queue: Queue, is_async: bool) -> None:
    """A function of the application decides, and may be a coroutine function."""

    def decide(request: Request) -> Access | None:
        return Access("eve", write=False) if request.cookies.get("session") == "1" else None

    async def decide_later(request: Request) -> Access | None:
        return decide(request)

    authorize = decide_later if is_async else decide
    async with browser_of(queue, write=True, authorize=authorize) as browser:
        assert (await browser.get(HOME)).status_code == 403
        answer = await browser.get(HOME, headers={"cookie": "session=1"})
        assert "eve · read-only" in answer.text
        assert "<button" not in answer.text


def test_logins_are_checked() -> None:
    """A login without users or passwords is refused when it is made."""
    for passwords in ({}, {"ada": ""}, {"": "x"}):
        with pytest.raises(UsageError, match="basic_login"):
            basic_login(passwords)
    with pytest.raises(UsageError, match="bob has no password"):
        basic_login({"ada": "x"}, readers=("bob",))
    with pytest.raises(UsageError, match="proxy_login"):
        proxy_login("")


@pytest.mark.parametrize(
    ("headers", "is_done"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "http://localhost"}, False),
        ({"origin": "http://localhost"}, True),
        ({"origin": "http://localhost:81"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False),
        ({}, True),
    ],
)
async def test_forged_requests_do_nothing(
    queue: Queue,
    headers: dict[str, str],
    is_done: bool,
) -> None:
    """A form of another site is refused before anything is done or noted."""
    async with browser_of(queue, write=True) as browser:
        answer = await browser.post(PAUSE, headers=headers, data={"lane": "default"})
        assert answer.status_code == (303 if is_done else 403)
        assert bool(await queue.paused()) is is_done
        assert bool(await newest_actions(queue, 10)) is is_done
        assert (await browser.get(HOME, headers=headers)).status_code == 200


async def test_read_only_by_default(queue: Queue) -> None:
    """No page has a button, and no address does anything."""
    async with browser_of(queue) as browser:
        for path in (PAUSE, "/q/shop/bulk/queued"):
            answer = await browser.submit(path, lane="default")
            assert answer.status_code == 403
            assert "--write" in answer.text
        assert (await browser.get("/q/shop/bulk/queued")).status_code == 403
        assert (await browser.get(PAUSE)).status_code == 405
        assert await queue.paused() == []


async def test_forms_are_bounded(queue: Queue) -> None:
    """Other bodies than small forms are refused."""
    async with browser_of(queue, write=True) as browser:
        kind = {"content-type": "application/x-www-form-urlencoded", **SAME}
        many = "&".join(f"f{n}=1" for n in range(100))
        for body, headers, status in (
            (b"x" * 100_000, kind, 413),
            (many.encode(), kind, 400),
            (b"\xff", kind, 400),
            (b"{}", {"content-type": "application/json", **SAME}, 415),
            (b"", kind, 400),
            (b"lane=default&task=x", kind, 400),
        ):
            answer = await browser.post(PAUSE, content=body, headers=headers)
            assert answer.status_code == status, body[:20]
        assert (await browser.submit("/q/shop/do/nothing", lane="x")).status_code == 404


@pytest.mark.parametrize(
    ("back", "address"),
    [
        ("q/shop/jobs/queued?task=a", "../../../q/shop/jobs/queued?task=a&did=paused"),
        ("q/shop/?did=resumed&n=1", "../../../q/shop/?did=paused"),
        ("https://evil.example/", "../../../?did=paused"),
        ("//evil.example/", "../../../?did=paused"),
        ("\\\\evil.example/", "../../../?did=paused"),
        ("../../../evil", "../../../?did=paused"),
        ("", "../../../?did=paused"),
    ],
)
async def test_form_leads_back_into_the_dashboard(queue: Queue, back: str, address: str) -> None:
    """A form cannot lead to another site."""
    async with browser_of(queue, write=True) as browser:
        answer = await browser.submit(PAUSE, lane="default", back=back)
        assert answer.headers["location"] == address


async def test_other_protocols_are_refused(queue: Queue) -> None:
    """A websocket is not answered, and a lifespan is."""
    app = dashboard(queue)
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: object) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == []
    assert isinstance(Browser(app), httpx.AsyncClient)
