"""The audit trail, and dead letters in groups: what a dashboard reads besides jobs."""

from collections.abc import AsyncIterator

import pytest

from aiostreamq import Queue, UsageError, Worker
from aiostreamq.client.audit import LONGEST, newest_actions, note_action
from aiostreamq.client.core import core_of
from aiostreamq.store import audit


@pytest.fixture
async def queue(store_url: str) -> AsyncIterator[Queue]:
    """An empty queue, on a real Redis and in memory."""
    async with Queue(store_url, name="audited") as queue:
        yield queue


async def test_actions_are_kept_in_order(queue: Queue) -> None:
    """The newest action comes first, with its user and its subject, which are cut if long."""
    assert await newest_actions(queue, 10) == []
    await note_action(queue, "ada", "cancel", "job 1")
    await note_action(queue, "", "pause", "x" * 10_000)
    last, first = await newest_actions(queue, 10)
    assert (first.user, first.action, first.subject) == ("ada", "cancel", "job 1")
    assert (last.user, last.action, len(last.subject)) == ("", "pause", LONGEST)
    assert first.at <= last.at
    assert await newest_actions(queue, 1) == [last]


async def test_trail_is_bounded(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest actions are dropped, and the key expires."""
    monkeypatch.setattr(audit, "MAX_ACTIONS", 10)
    for number in range(300):
        await note_action(queue, "ada", "cancel", f"job {number}")
    found = await newest_actions(queue, 1000)
    assert 10 <= len(found) < 300
    assert found[0].subject == "job 299"
    store = core_of(queue).session().store
    expires = await store.call("PTTL", store.keys.audit)
    assert isinstance(expires, int)
    assert 0 < expires <= audit.KEEP_MS


async def test_dead_letters_in_groups(queue: Queue) -> None:
    """Letters of one task and one error are a group, and the largest comes first."""

    @queue.task
    async def fail(number: int) -> None:
        raise (ValueError if number % 3 else KeyError)(f"no {number}")

    @queue.task
    async def other() -> None:
        raise ValueError

    assert (await queue.dead_letters.groups()).groups == ()
    for number in range(9):
        await fail.enqueue(number)
    await other.enqueue()
    await Worker(queue, concurrency=1).run(burst=True)
    found = await queue.dead_letters.groups()
    named = [(group.task, group.error, group.count) for group in found.groups]
    assert named == [("fail", "ValueError", 6), ("fail", "KeyError", 3), ("other", "ValueError", 1)]
    assert (found.searched, found.is_whole) == (10, True)
    first = found.groups[0]
    assert first.newest.message == "no 8"
    assert first.oldest_at < first.newest.died_at
    found = await queue.dead_letters.groups(timeout=0)
    assert 0 < found.searched <= 10
    assert (await queue.dead_letters.groups(searched=1)).searched >= 1
    with pytest.raises(UsageError, match="timeout"):
        await queue.dead_letters.groups(timeout="soon")
