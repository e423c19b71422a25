"""Jobs with long events: one read brings the entries of a few."""

import asyncio
from collections.abc import Mapping

import pytest

from aiostreamq.client.job_event_follower import FEW, EventFollower
from aiostreamq.model.job_events import Entry
from aiostreamq.store.connection.link import Link
from aiostreamq.store.job_events import EventStreams, Place
from aiostreamq.store.reads import FIRST
from tests.support.store import Store

JOBS, ENTRIES = FIRST + 8, 3


@pytest.mark.parametrize("length", [10, 500_000])
async def test_followers_that_come_late(
    store: Store, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """Each gets all entries. Reads of long ones are small, from the third on."""
    ids = [f"j{number}" for number in range(JOBS)]
    for job_id in ids:
        for number in range(1, ENTRIES + 1):
            key = store.keys.events(job_id)
            await store.call("XADD", key, f"1-{number}", "t", "t", "e", b"x" * length)
    replies: list[int] = []
    wait = EventStreams.wait

    async def noted(
        self: EventStreams,
        link: Link,
        after: Mapping[str, Place],
        count: int,
        block_ms: int | None,
    ) -> dict[str, list[Entry]]:
        found = await wait(self, link, after, count, block_ms)
        replies.append(sum(map(len, found.values())))
        return found

    monkeypatch.setattr(EventStreams, "wait", noted)
    follower = EventFollower(store.queue)

    async def follow(job_id: str) -> list[int]:
        ending = asyncio.create_task(asyncio.Event().wait())
        events = follower.follow(job_id, (0, 0), ending)
        try:
            return [(await anext(events)).last for _ in range(ENTRIES)]
        finally:
            await events.aclose()
            ending.cancel()

    assert await asyncio.gather(*map(follow, ids)) == [[1, 2, 3]] * JOBS
    follower.close()
    await follower.wait_closed()
    assert max(replies) <= FIRST or length == 10
    if length > 10:
        first = next(place for place, found in enumerate(replies) if found)
        assert max(replies[first + 2 :]) <= FEW
