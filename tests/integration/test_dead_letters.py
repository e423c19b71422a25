"""Dead letters, through the public face."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aiostreamq import (
    Context,
    DeadLetter,
    GiveUp,
    Job,
    JobDead,
    JobExpired,
    JobFailed,
    JobNotFound,
    JobState,
    PayloadError,
    Queue,
    QueueUnavailable,
    Retry,
    Task,
    UsageError,
    Worker,
)
from aiostreamq.client.core import core_of
from aiostreamq.store import workers
from aiostreamq.store.dead_letters import MAX_DEAD_AGE_MS, PAGE
from tests.support.waiting import be_in_time, wait_until

MEANWHILE = timedelta(minutes=5)


class Refusal(Exception):
    """An error with a module in its name."""


def register(queue: Queue) -> tuple[Task[..., Any], Task[..., Any]]:
    """Give *queue* two tasks that fail, each in its own way."""

    @queue.task
    async def size(url: str, times: int = 1) -> int:
        if url.startswith("bad"):
            raise ValueError(f"no {url}")
        return len(url) * times

    @queue.task
    async def other(url: str) -> None:
        raise Refusal(url)

    return size, other


async def fail_all(queue: Queue, task: Task[..., Any], urls: Sequence[str]) -> list[str]:
    """Have a job of *task* fail for each of *urls*; returns their ids, oldest letter first."""
    jobs = await queue.enqueue_many(task.bind(url) for url in urls)
    already = await queue.dead_letters.count()
    async with Worker(queue, concurrency=1):
        await wait_until(lambda: has_letters(queue, already + len(jobs)), "letters", timeout=40)
    return [job.id for job in jobs]


async def has_letters(queue: Queue, count: int) -> bool:
    """Say whether there are so many by now."""
    return await queue.dead_letters.count() >= count


async def shown(queue: Queue, **which: Any) -> list[object]:
    """Return the first argument of the letters that are listed."""
    return [
        letter.args[0] if letter.args else None for letter in await queue.dead_letters.list(**which)
    ]


async def test_mended_task(store_url: str) -> None:
    """A job that failed is found, shown, and replayed by code that can do it; its id stays."""
    async with Queue(store_url, name="q") as old:
        size, _ = register(old)
        start = datetime.now(UTC)
        async with Worker(old, name="first"):
            job = await size.enqueue("bad", times=2)
            with pytest.raises(JobFailed, match="ValueError: no bad"):
                await job
        [letter] = await old.dead_letters.list()
        assert (
            letter == await old.dead_letters.show(letter.id) == await old.dead_letters.show(job.id)
        )
        assert (letter.job_id, letter.task, letter.state) == (job.id, "size", JobState.FAILED)
        assert (letter.error, letter.message) == ("ValueError", "no bad")
        assert "raise ValueError" in letter.traceback
        assert (letter.args, letter.kwargs) == (["bad"], {"times": 2})
        assert (letter.attempt, letter.deliveries, letter.deaths) == (1, 1, 0)
        assert (letter.lane, letter.history) == ("default", ())
        assert letter.worker.startswith("first")
        assert letter.queued_at is not None
        assert start - MEANWHILE < letter.queued_at <= letter.died_at < start + MEANWHILE

    async with Queue(store_url, name="q") as new:

        @new.task(name="size")
        async def mended(context: Context, url: str, times: int = 1) -> str:
            return f"{url} {times} {context.attempt} {context.delivery}"

        assert await new.dead_letters.replay(job.id) == 1
        again = new.job(job.id)
        assert await again.status() is JobState.QUEUED
        assert (await mended.using(id=job.id).enqueue("else")).id == job.id
        async with Worker(new):
            assert await again == "bad 2 1 2"
        assert await new.dead_letters.list() == []


async def test_who_awaited_asks_anew(queue: Queue) -> None:
    """A handle tells the end it has seen; one that is made later tells that of the replay."""
    size, _ = register(queue)
    async with Worker(queue):
        job = await size.enqueue("bad")
        with pytest.raises(JobFailed):
            await job
        await queue.dead_letters.replay(job.id, args=["four"])
        assert await queue.job(job.id) == 4
        with pytest.raises(JobFailed):
            await job


async def test_replayed_job_that_fails_has_a_letter_with_its_history(queue: Queue) -> None:
    """The new letter has all attempts anew, and how it had failed before."""

    @queue.task(retry=Retry(2, base=0))
    async def flaky(context: Context) -> None:
        if context.delivery > 2:
            raise GiveUp("enough")
        raise ValueError(context.attempt)

    async with Worker(queue):
        job = await flaky.enqueue()
        with pytest.raises(JobFailed, match="ValueError: 2"):
            await job
        first = await queue.dead_letters.show(job.id)
        await queue.dead_letters.replay(first.id)
        with pytest.raises(JobDead, match="enough"):
            await queue.job(job.id)
    second = await queue.dead_letters.show(job.id)
    assert await queue.dead_letters.list() == [second]
    assert (first.attempt, first.deliveries) == (2, 2)
    assert (second.attempt, second.deliveries, second.state) == (1, 3, JobState.DEAD)
    [past] = second.history
    assert (past.died_at, past.state, past.error) == (first.died_at, JobState.FAILED, "ValueError")


async def test_filters(queue: Queue) -> None:
    """What is said must all hold; newest come first."""
    size, other = register(queue)
    await fail_all(queue, size, ["bad1", "bad2"])
    await fail_all(queue, other, ["odd"])
    assert await shown(queue) == ["odd", "bad2", "bad1"]
    assert await shown(queue, limit=2) == ["odd", "bad2"]
    assert await shown(queue, task="size") == await shown(queue, task=size) == ["bad2", "bad1"]
    assert await shown(queue, task=size.using(timeout=1)) == ["bad2", "bad1"]
    assert await shown(queue, error="ValueError", limit=1) == ["bad2"]
    assert await shown(queue, error="Refusal") == ["odd"]
    assert await shown(queue, error=f"{__name__}.Refusal") == ["odd"]
    assert await shown(queue, task="size", error="Refusal") == []
    assert await shown(queue, newer_than="1h") == ["odd", "bad2", "bad1"]
    assert await shown(queue, older_than="1h") == []
    assert await shown(queue, older_than=0, newer_than=timedelta(days=1), task=other) == ["odd"]
    newest = (await queue.dead_letters.list(limit=1))[0]
    assert await shown(queue, before=newest.id) == ["bad2", "bad1"]
    assert await shown(queue, before=newest.id, older_than=0) == ["bad2", "bad1"]
    assert await queue.dead_letters.count(error="ValueError") == 2


async def test_old_ones(queue: Queue) -> None:
    """Age is what the letter's id says, by Redis's clock."""
    broker = core_of(queue).session().store
    await broker.open()
    hour_ago = broker.clock.now_ms() - 3_600_000
    await broker.call("XADD", broker.keys.dead, f"{hour_ago}-7", "hello", "world")
    assert await queue.dead_letters.count(older_than="59m") == 1
    assert await queue.dead_letters.count(older_than="61m") == 0
    assert await queue.dead_letters.count(newer_than="61m") == 1
    assert await queue.dead_letters.count(newer_than="59m") == 0


async def test_too_old_ones(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any worker drops them."""
    monkeypatch.setattr(workers, "CENSUS_MS", 1)
    broker = core_of(queue).session().store
    await broker.open()
    too_old = broker.clock.now_ms() - MAX_DEAD_AGE_MS - 60_000
    for number in range(1, 251):
        await broker.call("XADD", broker.keys.dead, f"{too_old}-{number}", "hello", "world")
    size, _ = register(queue)
    job = await size.enqueue("bad")
    async with Worker(queue):
        await wait_until(lambda: has_at_most(queue, 101), "the worker to drop them")
        await wait_until(lambda: has_letters(queue, 1), "the letter")
    assert (await queue.dead_letters.list(limit=1))[0].job_id == job.id


async def has_at_most(queue: Queue, count: int) -> bool:
    """Say whether there are no more."""
    return await queue.dead_letters.count() <= count


async def test_no_redis() -> None:
    """Without one at all that is what is said, and not waited for."""
    with pytest.raises(QueueUnavailable):
        await Queue("redis://127.0.0.1:1").dead_letters.list()


@pytest.mark.heavy_in_memory
async def test_more_than_a_page(queue: Queue) -> None:
    """However many there are, each is listed once, replayed once and purged once."""
    size, other = register(queue)
    count = 2 * PAGE + 200
    await fail_all(queue, size, [f"bad{n}" for n in range(count)])
    await fail_all(queue, other, ["odd"])
    seen: list[DeadLetter] = []
    while page := await queue.dead_letters.list(task="size", before=seen[-1].id if seen else None):
        assert len(page) == min(100, count - len(seen))
        seen += page
    assert [letter.message for letter in seen] == [f"no bad{n}" for n in reversed(range(count))]
    assert len(await queue.dead_letters.list(limit=10_000)) == count + 1
    assert await queue.dead_letters.show(seen[-1].job_id) == seen[-1]
    assert await queue.dead_letters.count(task="size") == count
    assert await queue.dead_letters.replay(task="size") == count
    assert await shown(queue) == ["odd"]
    async with Worker(queue):
        await wait_until(lambda: has_letters(queue, count + 1), "all to fail again", timeout=40)
    assert await queue.dead_letters.purge(task="size") == count
    assert await queue.dead_letters.purge(everything=True) == 1


async def test_replay_in_the_order_they_died(queue: Queue) -> None:
    """The oldest runs first; what fails again in between is not replayed twice."""
    size, _ = register(queue)
    ids = await fail_all(queue, size, ["bad1", "bad2", "bad3"])
    async with Worker(queue, concurrency=1):
        assert await queue.dead_letters.replay(everything=True, rate=20) == 3
        await wait_until(lambda: has_letters(queue, 3), "all to fail again")
    found = await queue.dead_letters.list()
    assert [letter.job_id for letter in reversed(found)] == ids
    assert [len(letter.history) for letter in found] == [1, 1, 1]


async def test_rate(queue: Queue) -> None:
    """Jobs go at most so fast."""
    size, _ = register(queue)
    await fail_all(queue, size, [f"bad{n}" for n in range(12)])
    start = time.monotonic()
    assert await queue.dead_letters.replay(task=size, rate=20) == 12
    # The first four go at once, and the last four when two fifths of a second are over.
    assert time.monotonic() - start >= 0.39


async def test_purge(queue: Queue) -> None:
    """By id of letter or job; the others stay."""
    size, _ = register(queue)
    ids = await fail_all(queue, size, ["bad1", "bad2", "bad3"])
    newest = (await queue.dead_letters.list(limit=1))[0]
    assert await queue.dead_letters.purge(ids[0], newest.id, newest.job_id) == 2
    assert await shown(queue) == ["bad2"]


async def test_other_arguments(store_url: str) -> None:
    """Rich values or the JSON of them, checked as those of an enqueue."""
    async with Queue(store_url, max_payload=200) as queue:

        @queue.task
        async def remind(at: datetime, text: str = "") -> str:
            if not text:
                raise ValueError("nothing to say")
            return f"{at:%Y} {text}"

        when = datetime(2030, 1, 1, tzinfo=UTC)
        async with Worker(queue):
            job = await remind.enqueue(when)
            with pytest.raises(JobFailed):
                await job
            wrong: list[tuple[Mapping[str, Any], type[Exception]]] = [
                ({"args": []}, UsageError),
                ({"kwargs": {"txt": "tea"}}, UsageError),
                ({"args": ["some day"]}, PayloadError),
                ({"kwargs": {"text": object()}}, PayloadError),
                ({"kwargs": {"text": "tea" * 100}}, PayloadError),
            ]
            for words, error in wrong:
                with pytest.raises(error):
                    await queue.dead_letters.replay(job.id, **words)
            assert await queue.dead_letters.count() == 1
            assert await queue.dead_letters.replay(job.id, kwargs={"text": "tea"}) == 1
            assert await queue.job(job.id) == "2030 tea"

            later = await remind.enqueue(when)
            with pytest.raises(JobFailed):
                await later
            next_year = when.replace(year=2031)
            assert (
                await queue.dead_letters.replay(later.id, args=[next_year], kwargs={"text": "tea"})
                == 1
            )
            assert await queue.job(later.id) == "2031 tea"


async def test_expiry_is_over(queue: Queue) -> None:
    """A job that had to start by a certain time, and did, is replayed without that limit."""
    size, _ = register(queue)

    async def fail_in_time(soon: float) -> tuple[Job[Any], float] | None:
        job = await size.using(expires=soon).enqueue("bad")
        with pytest.raises((JobFailed, JobExpired)) as caught:
            await job
        return (job, soon) if caught.type is JobFailed else None

    async with Worker(queue):
        job, soon = await be_in_time(fail_in_time)
    broker = core_of(queue).session().store
    letter = await queue.dead_letters.show(job.id)
    assert b"expires" in letter.envelope
    expired = letter.died_at.timestamp() * 1000 + soon * 1000
    await wait_until(lambda: broker.clock.now_ms() > expired, "it to expire")
    await queue.dead_letters.replay(job.id)
    async with Worker(queue):
        with pytest.raises(JobFailed):
            await queue.job(job.id)


async def test_what_is_no_job(queue: Queue) -> None:
    """It is listed and purged; replaying it is refused, and it is no part of a replay of many."""
    size, _ = register(queue)
    broker = core_of(queue).session().store
    await broker.open()
    await broker.call("XADD", broker.keys.stream("default"), "*", b"\xff\x00", b"\xfe")
    await size.enqueue("bad")
    async with Worker(queue):
        await wait_until(lambda: has_letters(queue, 2), "both letters")
    [stranger] = await queue.dead_letters.list(error="Unreadable")
    assert stranger.fields == ((b"\xff\x00", b"\xfe"),)
    assert (stranger.job_id, stranger.args, stranger.is_job) == ("", None, False)
    with pytest.raises(UsageError, match="does not hold a job"):
        await queue.dead_letters.replay(stranger.id)
    assert await queue.dead_letters.replay(everything=True) == 1
    assert await queue.dead_letters.list() == [stranger]
    assert await queue.dead_letters.purge(stranger.id) == 1


async def test_id_that_is_used_again(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    """The letter stays, and is said to stay, while another job has its id."""
    size, _ = register(queue)
    async with Worker(queue):
        job = await size.using(id="a", result_ttl="1ms").enqueue("bad")
        await wait_until(lambda: has_letters(queue, 1), "the letter")
        letter = await queue.dead_letters.show("a")
    broker = core_of(queue).session().store
    await broker.call("DEL", broker.keys.job("a"), broker.keys.result("a"))
    await size.using(id="a").enqueue("good")
    assert await queue.dead_letters.replay("a") == 0
    assert f"dead letter {letter.id} is kept" in caplog.text
    async with Worker(queue):
        assert await queue.job(job.id) == 4


async def test_no_result_is_kept_again(queue: Queue) -> None:
    """A replayed job that keeps no result leaves nothing behind but the id, for a minute."""
    size, _ = register(queue)
    job = await size.using(result_ttl=0).enqueue("bad")
    await Worker(queue).run(burst=True)
    broker = core_of(queue).session().store
    await broker.call("DEL", broker.keys.job(job.id))
    assert await queue.dead_letters.replay(job.id, args=["good"]) == 1
    assert await broker.call("HGET", broker.keys.job(job.id), "k") == b"0"
    await Worker(queue).run(burst=True)
    assert await job.status() is JobState.DONE


@pytest.mark.parametrize("told", ["no-such", "1-1", "99999999999999999999-0"])
async def test_unknown(queue: Queue, told: str) -> None:
    """An id that means no letter is said, and nothing is done to the others."""
    size, _ = register(queue)
    [job_id] = await fail_all(queue, size, ["bad"])
    with pytest.raises(JobNotFound, match=told):
        await queue.dead_letters.show(told)
    with pytest.raises(JobNotFound, match=told):
        await queue.dead_letters.purge(job_id, told)
    with pytest.raises(JobNotFound, match=told):
        await queue.dead_letters.replay(job_id, told)
    assert await queue.dead_letters.count() == 1


async def test_mistakes(queue: Queue) -> None:
    """What cannot be meant is refused before anything is done."""
    letters = queue.dead_letters
    for wrong in (
        letters.replay(),
        letters.purge(),
        letters.purge(task=None),
        letters.replay("a", everything=True),
        letters.purge("a", task="size"),
        letters.replay(everything=True, args=[1]),
        letters.replay("a", "b", kwargs={}),
        letters.replay("a", rate=0),
        letters.list(limit=0),
        letters.list(before="yesterday"),
        letters.list(older_than="long"),
    ):
        with pytest.raises(UsageError):
            await wrong
    with pytest.raises(UsageError, match="everything=True"):
        await letters.replay()
    assert await letters.purge(everything=True) == 0
    assert await letters.list() == []
