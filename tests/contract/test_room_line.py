"""enqueue.lua with clients that wait for room: the longest wait goes first."""

import pytest

from aiostreamq.model.delivery import WaiterMode
from aiostreamq.store.enqueue import Refusals
from tests.support.store import DEADLINE, ENVELOPE, Store

#: How many jobs the lane holds.
MOST = 4


async def ask(
    store: Store, client: str, *ids: str, waited_ms: int = 0, lane: str = "default"
) -> Refusals:
    """Have a client ask for room for jobs, the oldest of which has waited for a while."""
    place = store.queue.place_of(lane)
    jobs = [(job_id, place, WaiterMode.NOBODY, ENVELOPE) for job_id in ids]
    return await store.submissions.enqueue_within(MOST, jobs, client, DEADLINE, waited_ms=waited_ms)


async def fill(store: Store) -> None:
    """Take all places of the lane."""
    assert not (await ask(store, "other", *(f"full-{n}" for n in range(MOST)))).full


async def make_room(store: Store, count: int = 1) -> None:
    """End some jobs of the lane."""
    for delivery in (await store.read())[:count]:
        await store.settle(delivery)


async def test_longest_wait_goes_first(store: Store) -> None:
    """A client that has waited less finds no room while another stands before it in the line."""
    await fill(store)
    assert (await ask(store, "old", "a", waited_ms=60_000)).full == {0}
    assert (await ask(store, "young", "b", waited_ms=1_000)).full == {0}
    await make_room(store)
    refused = await ask(store, "young", "b", waited_ms=1_000)
    assert (refused.full, refused.ahead) == ({0}, 1)
    assert (await ask(store, "new", "c")).full == {0}
    assert not (await ask(store, "old", "a", waited_ms=60_000)).full


async def test_those_ahead_are_counted(store: Store) -> None:
    """Each client learns how many go before it."""
    await fill(store)
    for place, waited_ms in enumerate((90_000, 60_000, 30_000)):
        found = await ask(store, f"client-{place}", f"job-{place}", waited_ms=waited_ms)
        assert (found.full, found.ahead) == ({0}, place)


async def test_about_as_long(store: Store) -> None:
    """Clients that began to wait at about the same time do not wait for each other."""
    await fill(store)
    assert (await ask(store, "one", "a", waited_ms=60_000)).full == {0}
    await make_room(store)
    assert not (await ask(store, "other", "b", waited_ms=58_000)).full


async def test_who_is_served_leaves_the_line(store: Store) -> None:
    """The next client goes first then."""
    await fill(store)
    assert (await ask(store, "old", "a", waited_ms=60_000)).full == {0}
    await make_room(store, 2)
    assert not (await ask(store, "old", "a", waited_ms=60_000)).full
    assert not (await ask(store, "young", "b", waited_ms=1_000)).full
    assert not {"room:default", "room_calls:default"} & set(await store.key_names())


async def test_nearly_empty_lane(store: Store) -> None:
    """All may go in, so that a client that is away does not stop the workers."""
    await fill(store)
    assert (await ask(store, "old", "a", waited_ms=60_000)).full == {0}
    await make_room(store, MOST)
    assert not (await ask(store, "young", "b", waited_ms=1_000)).full


async def test_each_lane_has_its_line(store: Store) -> None:
    """A client that waits for one lane does not keep others from another lane."""
    await fill(store)
    assert (await ask(store, "old", "a", waited_ms=60_000)).full == {0}
    assert not (await ask(store, "young", "b", lane="slow")).full


async def test_id_that_is_taken_needs_no_turn(store: Store) -> None:
    """A call that is repeated after a lost reply ends."""
    await fill(store)
    assert (await ask(store, "old", "a", waited_ms=60_000)).full == {0}
    again = await ask(store, "young", "full-0", "b")
    assert (again.taken, again.full) == ({0}, {1})


@pytest.mark.parametrize("waited_ms", [0, 10**12])
async def test_any_wait(store: Store, waited_ms: int) -> None:
    """The line takes whatever a client says of its wait."""
    await fill(store)
    assert (await ask(store, "client", "a", waited_ms=waited_ms)).full == {0}
