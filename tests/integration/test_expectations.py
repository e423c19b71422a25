"""Questions of tests about the jobs that wait, and calls that they perform."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from aiostreamq import Context, PayloadError, Queue, UsageError, current_job
from aiostreamq.testing import EnqueuedJob, IsolatedQueue, ValueChanged, isolated

app = Queue("redis://127.0.0.1:1", name="app", lanes=["default", "bulk"])
DAY = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass
class Letter:
    """A letter."""

    to: str
    day: datetime


@app.task
async def send(letter: Letter, copies: int = 1) -> Letter:
    """Return what is sent."""
    return letter


@app.task(lane="bulk")
def add(*numbers: int) -> int:
    """Run in a thread."""
    return sum(numbers)


@app.task
async def log_in(password: SecretStr) -> str:
    """Take a secret."""
    return password.get_secret_value()


@app.task
async def stream(context: Context, until: int) -> AsyncIterator[int]:
    """Yield numbers."""
    for number in range(until):
        yield number


@app.task
async def who(context: Context) -> list[object]:
    """Return what the context and the current job say."""
    job = current_job()
    return [context.task, context.attempt, context.queue is app, job is not None and job.task]


@app.task
async def keep(value: object) -> object:
    """Return what may be anything."""
    return value


class Strange:
    """A class that JSON does not have."""


@pytest.fixture(params=["memory", "redis"])
async def test(request: pytest.FixtureRequest) -> AsyncIterator[IsolatedQueue]:
    """The application's queue, with a few jobs."""
    url = "memory://" if request.param == "memory" else request.getfixturevalue("redis_url")
    async with isolated(app, url) as test:
        await send.enqueue(Letter("ada", DAY), copies=2)
        await add.using(delay="2h", id="later").enqueue(1, 2, 3)
        await log_in.enqueue(SecretStr("hush"))
        await app.named("elsewhere").enqueue(7, x=8)
        yield test


Check = Callable[[IsolatedQueue], Awaitable[EnqueuedJob]]

FOUND: list[Check] = [
    lambda test: test.assert_enqueued(send),
    lambda test: test.assert_enqueued("send", Letter("ada", DAY), 2),
    lambda test: test.assert_enqueued(send.bind(Letter("ada", DAY), copies=2), delay=0),
    lambda test: test.assert_enqueued(send.bind(copies=2, letter=Letter("ada", DAY))),
    lambda test: test.assert_enqueued(add, 1, 2, 3, delay="2h", lane="bulk", id="later"),
    lambda test: test.assert_enqueued(add, delay=timedelta(hours=2, seconds=-30), within="1m"),
    lambda test: test.assert_enqueued(log_in, SecretStr("other")),
    lambda test: test.assert_enqueued(app.named("elsewhere").bind(7, x=8), lane="default"),
]
MISSED: list[tuple[Check, str]] = [
    (lambda test: test.assert_enqueued(who), "expected who(...) in queue 'app'"),
    (
        lambda test: test.assert_enqueued(send, Letter("eve", DAY), 2),
        "letter: expected {'to': 'eve'",
    ),
    (lambda test: test.assert_enqueued(send, Letter("ada", DAY)), "copies: not expected, is 2"),
    (lambda test: test.assert_enqueued(add, 1, 2), "2: not expected, is 3"),
    (lambda test: test.assert_enqueued(add, 1, 2, 3, 4), "expected 4, is not given"),
    (lambda test: test.assert_enqueued(add, delay=60), "delay: expected 60 s, is 7"),
    (lambda test: test.assert_enqueued(add, lane="default"), "lane: expected 'default'"),
    (lambda test: test.assert_enqueued(add, id="now"), "id: expected 'now', is 'later'"),
]


@pytest.mark.parametrize("check", FOUND)
async def test_finds_a_job(test: IsolatedQueue, check: Check) -> None:
    """However the call is given."""
    found = await check(test)
    assert found.id in [job.id for job in await test.all_enqueued()]


@pytest.mark.parametrize(("check", "message"), MISSED)
async def test_says_what_differs(test: IsolatedQueue, check: Check, message: str) -> None:
    """And lists what is there, the nearest first."""
    with pytest.raises(AssertionError) as caught:
        await check(test)
    text = str(caught.value)
    assert message in text
    assert len([line for line in text.splitlines() if "lane" in line and "  " in line]) >= 4
    assert "hush" not in text


async def test_refutes(test: IsolatedQueue) -> None:
    """Found jobs are shown."""
    await test.refute_enqueued(who)
    await test.refute_enqueued(add, 1)
    with pytest.raises(AssertionError, match=r"expected no add\(\.\.\.\).*\n  add\(numbers=1, "):
        await test.refute_enqueued(add)
    await test.run_all()
    with pytest.raises(AssertionError, match="add"):
        await test.assert_enqueued(send)
    async with isolated(Queue(name="empty")) as empty:
        with pytest.raises(AssertionError, match="holds no job"):
            await empty.assert_enqueued("send")


async def test_refuses_what_cannot_be_expected(test: IsolatedQueue) -> None:
    """A mistake of the test does not count as a failure of the application."""
    for wrong in (
        test.assert_enqueued(send, 1, 2, 3),
        test.assert_enqueued(send.bind(Letter("ada", DAY)), 1),
        test.assert_enqueued(add, delay="soon"),
        test.assert_enqueued(lambda: None),  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(UsageError):
            await wrong
    with pytest.raises(PayloadError):
        await test.assert_enqueued(keep, Strange())


async def test_performs(test: IsolatedQueue) -> None:
    """Each kind of task, with what a worker would give it."""
    letter = Letter("ada", DAY)
    found = await test.perform(send, letter, copies=2)
    assert found == letter
    assert found is not letter
    assert await test.perform(add, 1, 2) == 3
    assert await test.perform(log_in, SecretStr("hush")) == "hush"
    assert await test.perform(stream, 3) == [0, 1, 2]
    assert await test.perform(who) == ["who", 1, True, "who"]
    assert current_job() is None


@app.task
async def who_in_full(context: Context) -> list[object]:
    """Return more of what the context and the current job say."""
    job = current_job()
    assert job is not None
    assert (job.attempt, job.job_id, job.headers) == (
        context.attempt,
        context.job_id,
        context.headers,
    )
    return [context.attempt, context.delivery, context.job_id, dict(context.headers)]


@app.task(headers={"tenant": "acme"})
def own_headers() -> list[object]:
    """Return the same, from a thread and without a context."""
    job = current_job()
    assert job is not None
    return [job.attempt, job.headers["tenant"]]


async def test_performs_calls(test: IsolatedQueue) -> None:
    """A call has the options of its job, and the numbers that the test gives."""
    call = who_in_full.using(headers={"a": "b"}, id="seven").bind()
    assert await test.perform(who_in_full) == [1, 1, "perform", {}]
    assert await test.perform(call) == [1, 1, "seven", {"a": "b"}]
    assert await test.perform(call, attempt=3) == [3, 3, "seven", {"a": "b"}]
    assert await test.perform(call, attempt=2, delivery=5) == [2, 5, "seven", {"a": "b"}]
    assert await test.perform(own_headers) == [1, "acme"]
    assert await test.perform(own_headers.bind(), attempt=2) == [2, "acme"]
    assert await test.perform(stream.bind(2), attempt=2) == [0, 1]
    assert current_job() is None


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"attempt": 0}, "attempt must be an integer from 1, got 0"),
        ({"attempt": "2"}, "attempt must be an integer from 1, got '2'"),
        ({"attempt": True}, "attempt must be an integer"),
        ({"delivery": 1.5}, "delivery must be an integer"),
        ({"attempt": 3, "delivery": 2}, "delivery=2 is less than attempt=3"),
        ({"number": 1}, r"give the arguments of the task to bind\(\.\.\.\)"),
    ],
)
async def test_performs_no_invalid_attempts(options: dict[str, Any], problem: str) -> None:
    """An invalid number is refused, and so are arguments beside a call."""
    async with isolated(app) as test:
        with pytest.raises(UsageError, match=problem):
            await test.perform(who_in_full.bind(), **options)
        with pytest.raises(UsageError, match="by its name only"):
            await test.perform(app.named("elsewhere").bind(1))


CHANGED = [(1, 2), {"a": (1,)}, {1: "a"}, {1, 2}, DAY, Strange(), float("nan"), 2**70]


@pytest.mark.parametrize("value", CHANGED, ids=lambda value: type(value).__name__)
async def test_perform_finds_what_changes(value: object) -> None:
    """As an argument, and as a result."""
    made = Queue(name="made")

    @made.task
    async def take(number: int, value: object) -> None:
        """Take what may be anything."""

    @made.task
    async def give() -> object:
        return value

    async with isolated(made) as test:
        with pytest.raises((ValueChanged, PayloadError), match="value"):
            await test.perform(take, 1, value)
        with pytest.raises((ValueChanged, PayloadError), match="result of task 'give'"):
            await test.perform(give)
