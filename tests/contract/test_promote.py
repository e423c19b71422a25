"""promote.lua: jobs that are due move to their lanes."""

from aiostreamq.model.delivery import Settlement, WaiterMode
from aiostreamq.model.options import DEFAULT_LANE
from aiostreamq.store.delayed import PROMOTE_LIMIT
from tests.support.store import ENVELOPE, Store

LONG_AGO = "1000"


async def delay(store: Store, job_id: str, due: str, mark: str = WaiterMode.NOBODY) -> set[int]:
    """Keep one job for later."""
    return await store.delayed.delay([(job_id, DEFAULT_LANE, mark, due, ENVELOPE)], "me", 5)


async def test_due_job_moves_to_its_lane(store: Store) -> None:
    """It is a job like any other then, and promoting again finds nothing."""
    await delay(store, "j", LONG_AGO, WaiterMode.CALLER)
    assert await store.delayed.promote() == (1, None)
    assert await store.delayed.promote() == (0, None)
    assert await store.results.job_state("j") == b"queued"
    [delivery] = await store.read()
    assert (delivery.job_id, delivery.number, delivery.attempt) == ("j", 1, 1)
    assert delivery.envelope == ENVELOPE
    await store.deliveries.settle([Settlement(delivery, 60_000, b'{"state":"done","n":1}')], "a")
    assert await store.call("LPOP", store.keys.inbox("me")) is not None


async def test_promote_moves_a_bounded_number(store: Store) -> None:
    """What is left is due at once; nothing is lost or moved twice."""
    ids = [f"j{number}" for number in range(PROMOTE_LIMIT + 10)]
    jobs = [(job_id, DEFAULT_LANE, WaiterMode.NOBODY, LONG_AGO, ENVELOPE) for job_id in ids]
    await store.delayed.delay(jobs, "me", 5)
    assert await store.delayed.promote() == (PROMOTE_LIMIT, 0)
    assert await store.delayed.promote() == (10, None)
    assert sorted(d.job_id for d in await store.read(count=1_000)) == sorted(ids)


async def test_commands_for_a_plain_job(redis_url: str) -> None:
    """A job without a key that it waits for costs no look at keys."""
    async with Store(redis_url) as store:
        await delay(store, "j", LONG_AGO)
        await store.delayed.promote()  # which loads the script
        await delay(store, "k", LONG_AGO)
        await store.call("CONFIG", "RESETSTAT")
        assert (await store.delayed.promote())[0] == 1
        reply = await store.call("INFO", "commandstats")
    assert isinstance(reply, bytes)
    lines = [line.partition(b"cmdstat_")[2] for line in reply.splitlines()]
    calls = {line.partition(b":")[0].decode(): line.partition(b",")[0] for line in lines if line}
    calls = {name: line for name, line in calls.items() if "config" not in name}
    assert calls == {
        name: f"{name}:calls=1".encode()
        for name in (
            "evalsha", "hdel", "hmget", "hset", "time", "xadd", "xlen", "zrange",
            "zrangebyscore", "zrem",
        )
    }  # fmt: skip
