"""The lease clock: what raises it, what does not, and who is found dead by it."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import pytest

from aiostreamq.store.workers import CENSUS_MS, CLAIM_LIMIT
from aiostreamq.worker.leases.heartbeat import BEATS_A_LEASE, PAUSE, SILENCE
from tests.support.store import Store

LEASE_MS = 3_000
HOUR_MS = 3_600_000

#: Ms that Redis may have been at work between two calls of a test.
SLACK_MS = 1_000


async def pass_time(store: Store, ms: int) -> None:
    """Let time pass, as if workers had looked all along."""
    await store.call("HINCRBY", store.keys.leases, "now", ms)


async def step_clock(store: Store, ms: int) -> None:
    """Set the clock of Redis, in the eyes of the lease clock; back if *ms* is negative."""
    await store.call("HINCRBY", store.keys.leases, "at", -ms)


async def clock_of(store: Store) -> int:
    """Return the time of the lease clock, in ms."""
    return int(cast("bytes", await store.call("HGET", store.keys.leases, "now")))


async def dead_in_one_look(store: Store, name: str = "me", lease_ms: int = LEASE_MS) -> list[str]:
    """Look once, and not in the shade of a look just before; return who was found dead."""
    await pass_time(store, 60)
    return [one.name for one in (await store.workers.find_dead(name, lease_ms)).dead]


async def beat_like_the_release_before(store: Store, name: str, counter: int) -> None:
    """Beat as workers do that know nothing of the lease clock."""
    await store.call("HSET", store.keys.workers, name, f"{counter} {LEASE_MS} default")


async def test_silent_worker_is_dead_after_its_lease(store: Store) -> None:
    """A worker without a beat is alive for its lease, and dead after it."""
    await store.workers.join("a", LEASE_MS, ["default"])
    await pass_time(store, LEASE_MS - SLACK_MS)
    assert await dead_in_one_look(store) == []
    await pass_time(store, SLACK_MS)
    look = await store.workers.find_dead("me", LEASE_MS)
    assert [(one.name, one.beat) for one in look.dead] == [("a", "0 3000 default")]


async def test_beating_worker_is_never_dead(store: Store) -> None:
    """Each beat gives a whole lease."""
    await store.workers.join("a", LEASE_MS)
    for _ in range(10):
        await pass_time(store, LEASE_MS // 2)
        assert await store.workers.renew("a", LEASE_MS)
        assert await dead_in_one_look(store) == []


async def test_each_worker_has_its_own_lease(store: Store) -> None:
    """The lease of the one that beats counts, and not of the one that looks."""
    await store.workers.join("short", LEASE_MS)
    await store.workers.join("long", 5 * LEASE_MS)
    await pass_time(store, LEASE_MS)
    assert await dead_in_one_look(store) == ["short"]
    await pass_time(store, 4 * LEASE_MS)
    assert "long" in await dead_in_one_look(store)


async def test_worker_does_not_find_itself(store: Store) -> None:
    """A worker that is late with its beats is recovered by others."""
    await store.workers.join("a", LEASE_MS)
    await pass_time(store, LEASE_MS)
    assert await dead_in_one_look(store, "a") == []
    assert await dead_in_one_look(store, "b") == ["a"]


async def test_dead_worker_is_claimed_for_a_tick(store: Store) -> None:
    """One survivor recovers it; another one if the first is dead a tick later."""
    await store.workers.join("a", LEASE_MS)
    await pass_time(store, LEASE_MS)
    assert await dead_in_one_look(store, "b") == ["a"]
    assert await dead_in_one_look(store, "c") == []
    await pass_time(store, LEASE_MS // 6)
    assert await dead_in_one_look(store, "c") == ["a"]


async def test_survivors_share_many_dead(store: Store) -> None:
    """A look claims a few, and says that there are more; the next look has others."""
    names = {f"w{number:02}" for number in range(2 * CLAIM_LIMIT + 1)}
    for name in names:
        await store.workers.join(name, LEASE_MS)
    await pass_time(store, LEASE_MS)
    looks = [await store.workers.find_dead("me", LEASE_MS) for _ in range(4)]
    assert [len(look.dead) for look in looks] == [CLAIM_LIMIT, CLAIM_LIMIT, 1, 0]
    assert [look.has_more for look in looks] == [True, True, False, False]
    assert {one.name for look in looks for one in look.dead} == names


async def test_recovered_worker_is_forgotten(store: Store) -> None:
    """Its lease and its connection go with it."""
    await store.workers.join("a", LEASE_MS)
    await store.workers.renew("a", LEASE_MS, reader_id=7)
    await pass_time(store, LEASE_MS)
    (dead,) = (await store.workers.find_dead("me", LEASE_MS)).dead
    assert dead.reader_id == 7
    assert (await store.workers.recover(dead.name, dead.beat, 3)).finished == 1
    assert await store.call("ZCARD", store.keys.alive) == 0
    assert "worker:a" not in await store.hash_at(store.keys.leases)


async def test_worker_that_leaves_is_forgotten(store: Store) -> None:
    """An orderly end leaves no lease behind."""
    await store.workers.join("a", LEASE_MS)
    await store.workers.deregister("a")
    assert await store.call("EXISTS", store.keys.alive, store.keys.workers) == 0
    assert "worker:a" not in await store.hash_at(store.keys.leases)


async def test_recovery_that_has_begun_is_continued(store: Store) -> None:
    """A worker whose recovery was broken off is found again."""
    await store.call("HSET", store.keys.workers, "a", "dead default")
    look = await store.workers.find_dead("me", LEASE_MS)
    assert [(one.name, one.beat) for one in look.dead] == [("a", "dead default")]


@pytest.mark.parametrize("gap_ms", [10_000, HOUR_MS, 24 * HOUR_MS])
@pytest.mark.parametrize("lease_ms", [1_000, LEASE_MS, 15_000])
async def test_gap_counts_little(store: Store, lease_ms: int, gap_ms: int) -> None:
    """An outage, a clock set forward: a worker that is late by a beat and a pause still lives.

    A worker may have beaten a third of its lease before the gap, and comes back within the longest
    pause between two tries to connect, or after a connection was silent for too long.
    """
    await store.workers.join("a", lease_ms)
    before = await clock_of(store)
    await step_clock(store, gap_ms)
    assert await dead_in_one_look(store, lease_ms=lease_ms) == []
    gained = (await clock_of(store) - before - 60) / lease_ms
    assert gained > 0
    assert 1 / BEATS_A_LEASE + gained + PAUSE < 0.95
    assert 1 / BEATS_A_LEASE + SILENCE < 0.95


async def test_clock_set_back_stops_nothing(store: Store) -> None:
    """The lease clock never falls, and continues from where it was."""
    await store.workers.join("a", LEASE_MS)
    before = await clock_of(store)
    await step_clock(store, -HOUR_MS)
    assert await dead_in_one_look(store) == []
    assert before <= await clock_of(store) < before + SLACK_MS
    after = await clock_of(store)
    await step_clock(store, 200)
    assert await dead_in_one_look(store) == []
    assert await clock_of(store) >= after + 200


async def test_many_looks_are_one(store: Store) -> None:
    """However many look at once, the time between two calls counts once."""
    await store.workers.join("a", LEASE_MS)
    await step_clock(store, 300)
    before = await clock_of(store)
    for number in range(50):
        await store.workers.find_dead(f"w{number}", LEASE_MS)
    assert before + 300 <= await clock_of(store) < before + 300 + SLACK_MS


async def test_lives_shorter_than_a_lease_add_up(store: Store) -> None:
    """Workers that look once and die recover what no one of them lives long enough for."""
    await store.workers.join("a", LEASE_MS)
    found: list[str] = []
    for life in range(20):
        await step_clock(store, HOUR_MS)  # until the next one starts
        found += [one.name for one in (await store.workers.find_dead(f"w{life}", LEASE_MS)).dead]
    assert found[:1] == ["a"]


@pytest.mark.parametrize(("lease_ms", "tick"), [(1_000, 0.166), (3_000, 0.5), (15_000, 0.8)])
async def test_tick_follows_the_shortest_lease(store: Store, lease_ms: int, tick: float) -> None:
    """All look as often as the shortest lease needs, and for one such lease after it has gone."""
    await store.workers.join("long", 60_000)
    await store.workers.join("short", lease_ms)
    assert (await store.workers.find_dead("long", 60_000)).pause == tick
    await pass_time(store, lease_ms + 1)
    await store.workers.find_dead("long", 60_000)
    assert (await store.workers.find_dead("long", 60_000)).pause == 0.8


async def test_look_comes_when_a_lease_is_over(store: Store) -> None:
    """In a small fleet nobody needs to wait for the rest of a tick; in a large one others look."""
    await store.workers.join("a", LEASE_MS)
    await pass_time(store, LEASE_MS - 300)
    assert 0.05 <= (await store.workers.find_dead("me", LEASE_MS)).pause <= 0.3
    for number in range(20):
        await store.workers.join(f"w{number}", LEASE_MS)
    await pass_time(store, 60)
    assert (await store.workers.find_dead("me", LEASE_MS)).pause == LEASE_MS / 6000


async def test_census_is_taken_by_one(store: Store) -> None:
    """One worker searches for consumers that are not registered, and the next time another."""
    looks = [await store.workers.find_dead(f"w{number}", LEASE_MS) for number in range(3)]
    await pass_time(store, CENSUS_MS)
    looks += [await store.workers.find_dead(f"w{number}", LEASE_MS) for number in range(3)]
    due = [look.is_census_due for look in looks]
    assert due == [True, False, False, True, False, False]


async def test_consumer_that_never_joined_is_found_dead(store: Store) -> None:
    """It has a lease from when it was found."""
    await store.enqueue("j")
    await store.read("ghost")
    await store.workers.register_strays(LEASE_MS)
    assert await dead_in_one_look(store) == []
    await pass_time(store, LEASE_MS)
    assert await dead_in_one_look(store) == ["ghost"]
    assert (await store.workers.recover("ghost", "0 3000", 3)).returned == 1


async def test_worker_of_the_release_before_that_beats(store: Store) -> None:
    """It stamps no lease; its counter shows that it lives."""
    for counter in range(10):
        await beat_like_the_release_before(store, "old", counter)
        assert await dead_in_one_look(store) == []
        await pass_time(store, LEASE_MS // 3)


async def test_worker_of_the_release_before_that_died(store: Store) -> None:
    """It is dead within two leases, however its death falls between two looks."""
    await beat_like_the_release_before(store, "old", 0)
    assert await dead_in_one_look(store) == []
    await beat_like_the_release_before(store, "old", 1)
    await pass_time(store, LEASE_MS)
    assert await dead_in_one_look(store) == []
    await pass_time(store, LEASE_MS)
    assert await dead_in_one_look(store) == ["old"]


async def test_worker_of_the_release_before_comes_back(store: Store) -> None:
    """It beats between the claim and the recovery: it is left alone, and gets a new lease."""
    await beat_like_the_release_before(store, "old", 0)
    assert await dead_in_one_look(store) == []
    await pass_time(store, LEASE_MS)
    (dead,) = (await store.workers.find_dead("me", LEASE_MS)).dead
    await beat_like_the_release_before(store, "old", 1)
    assert (await store.workers.recover(dead.name, dead.beat, 3)).finished == -1
    await pass_time(store, LEASE_MS // 2)
    assert await dead_in_one_look(store) == []


async def test_names_that_an_older_worker_removed(store: Store) -> None:
    """Workers of the release before remove a worker without its lease."""
    await store.workers.join("a", LEASE_MS)
    await store.workers.join("b", LEASE_MS)
    await store.call("HDEL", store.keys.workers, "a")
    assert await dead_in_one_look(store) == []
    assert await store.call("ZRANGE", store.keys.alive, 0, -1) == [b"b"]
    assert "worker:a" not in await store.hash_at(store.keys.leases)


@pytest.mark.parametrize("key", ["leases", "alive"])
async def test_lost_key_costs_a_lease(store: Store, key: str) -> None:
    """A living worker does not look dead, and a dead one is found a lease later."""
    await store.workers.join("living", LEASE_MS)
    await store.workers.join("dead", LEASE_MS)
    await pass_time(store, LEASE_MS // 2)
    await store.call("DEL", getattr(store.keys, key))
    assert [one.name for one in (await store.workers.find_dead("me", LEASE_MS)).dead] == []
    found: list[str] = []
    for _ in range(8):
        assert await store.workers.renew("living", LEASE_MS)
        found += await dead_in_one_look(store)
        await pass_time(store, LEASE_MS // 3)
    assert set(found) == {"dead"}


@pytest.mark.parametrize("beat", [b"\xff", b"", b"5", b"5 " + b"9" * 400, b"5 x default"])
async def test_beat_that_cannot_be_read(store: Store, beat: bytes) -> None:
    """A stranger wrote it: the others are looked after, and it is never dead."""
    await store.workers.join("a", LEASE_MS)
    await store.call("HSET", store.keys.workers, b"\xff", beat)
    found: list[str] = []
    for _ in range(4):
        found += await dead_in_one_look(store)
        await pass_time(store, LEASE_MS)
    assert set(found) == {"a"}


async def test_key_goes_after_the_last_worker(store: Store) -> None:
    """The lease clock does not stay for ever."""
    await store.workers.join("a", LEASE_MS)
    await store.workers.find_dead("me", LEASE_MS)
    assert 0 < await store.pttl(store.keys.leases) <= 24 * HOUR_MS


async def test_looks_of_a_large_fleet_write_little(store: Store) -> None:
    """One of many looks within 50 ms writes: replicas and the append-only file get no more."""
    await store.workers.join("a", LEASE_MS)
    states: list[dict[str, str]] = []
    for number in range(100):
        await store.workers.find_dead(f"w{number}", LEASE_MS)
        states.append(await store.hash_at(store.keys.leases))
    changes = sum(before != after for before, after in pairwise(states))
    passed = int(states[-1]["at"]) - int(states[0]["at"])
    assert changes <= 2 + 2 * passed / 50


async def test_holders(store: Store) -> None:
    """Others that have deliveries of one's lanes, or returned ones, with their beats."""
    await store.workers.join("a", LEASE_MS, ["default"])
    await store.workers.join("idle", LEASE_MS)
    await store.enqueue("j1", "j2")
    await store.read("a", 1)
    await store.read("ghost", 1)
    await store.enqueue("j3", lane="slow")
    await store.read("slow")
    await store.enqueue("j4")
    await store.read("me")
    holders = await store.workers.holders("me", ["default"])
    assert holders == {"a": "0 3000 default", "ghost": ""}
    assert set(await store.workers.holders("me", ["default", "slow"])) == {"a", "ghost", "slow"}
