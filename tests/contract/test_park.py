"""park.lua: jobs of unknown tasks are set aside."""

from aiostreamq.store.results import Subscription
from tests.support.store import ENVELOPE, Store


async def test_parked_job_is_kept_until_it_is_unparked(store: Store) -> None:
    """It leaves the stream, can be waited for, and comes back as it was for those who know it."""
    await store.enqueue("j")
    [first] = await store.read("a")
    assert await store.parking.park([(first, "t")]) == 1
    assert await store.parking.park([(first, "t")]) == 0, "it is not ours any more"
    assert await store.results.job_state("j") == b"parked"
    assert await store.results.subscribe("me", ["j"]) == [Subscription.WILL_TELL]
    assert await store.parking.unpark(["other"]) == 0
    assert await store.parking.unpark(["other", "t"]) == 1
    assert await store.parking.unpark(["t"]) == 0
    [second] = await store.read("b")
    assert (second.job_id, second.envelope, second.attempt) == ("j", ENVELOPE, 1)
    assert await store.call("EXISTS", store.keys.prefix + "parked:t") == 0
