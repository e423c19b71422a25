"""A rate that an API has refused lets nothing pass for a time; all that waits starts after it."""

import asyncio

import pytest

from aiostreamq.store.held import Quiet
from aiostreamq.store.inspect.limit_states import LimitStates
from aiostreamq.store.limit_overrides import LimitOverrides
from tests.support.limits import Limits, backlog
from tests.support.store import Store
from tests.support.waiting import wait_until

HOUR = 3_600_000

#: More than any test starts.
MANY = "1000 1000 1000"


async def now_of(store: Store) -> int:
    """Return Redis's time in ms."""
    await store.queue.clock.ask(store.link)
    return store.queue.clock.now_ms()


async def quiet(
    store: Store, limits: Limits, token: str, after_ms: int, *, span_ms: int = 0, by: str = "a"
) -> int:
    """Have a rate be quiet from now on; returns how many are so for longer."""
    until_ms = await now_of(store) + after_ms
    return await limits.held.quiet([Quiet(token, until_ms, span_ms or after_ms, by)])


async def test_nothing_passes(store: Store, limits: Limits) -> None:
    """Not even what was enqueued before; other limits and other values let theirs pass."""
    await limits.rule("r=r", MANY)
    for token in ("r=r:a", "r=r:b", "r=r"):
        await limits.enqueue(f"j{token}", backlog=backlog(token))
    assert await quiet(store, limits, "r=r:a", HOUR) == 1
    seen = await limits.look()
    assert {one.job_id for one in seen.read.deliveries} == {"jr=r:b", "jr=r"}
    assert seen.wait is not None
    assert HOUR - 60_000 < seen.wait * 1000 <= HOUR
    await limits.check()


async def test_ends_by_itself(store: Store, limits: Limits) -> None:
    """When it is over, the jobs start at the time in the reply; no key is left."""
    await limits.rule("r=r", MANY)
    await limits.enqueue("a", "b", backlog=backlog("r=r"))
    until = await now_of(store) + 50
    await quiet(store, limits, "r=r", 50)
    seen = await limits.look()
    assert seen.read.deliveries == []
    found: list[str] = []
    while not found:
        await asyncio.sleep(seen.wait or 0)
        seen = await limits.look()
        found = [one.job_id for one in seen.read.deliveries]
        began = [int(one.entry.split(b"-")[0]) for one in seen.read.deliveries]
        assert not began or began[0] >= until
    assert found == ["a", "b"]
    assert await limits.names("quiet:") == set()
    await limits.check()


async def test_the_later_end_counts(store: Store, limits: Limits) -> None:
    """A shorter quiet ends none that is longer, and a call that is repeated changes nothing."""
    until_ms = await now_of(store) + HOUR
    long = Quiet("r=r", until_ms, HOUR, "a")
    assert await limits.held.quiet([long]) == 1
    assert await limits.held.quiet([long]) == 0
    assert await limits.held.quiet([Quiet("r=r", until_ms - 5, HOUR, "b")]) == 0
    assert await limits.held.quiet([Quiet("r=r", until_ms + 5, 2 * HOUR, "c")]) == 1
    await limits.rule("r=r", MANY)
    (state,) = (await LimitStates(store.queue).explain("- - r=r")).limits
    assert (state.quieted_by, state.has_room) == ("c", False)
    assert state.quiet_until == state.room_at


@pytest.mark.parametrize("after_ms", [0, -HOUR])
async def test_over_already(store: Store, limits: Limits, after_ms: int) -> None:
    """A worker that could not reach Redis for so long asks for nothing."""
    assert await quiet(store, limits, "r=r", after_ms, span_ms=50) == 0
    assert await limits.names("quiet:") == set()


async def test_no_longer_than_was_asked(store: Store, limits: Limits) -> None:
    """A worker whose clock is ahead stops nothing for longer than the API has asked."""
    await limits.rule("r=r", MANY)
    await limits.enqueue("a", backlog=backlog("r=r"))
    await quiet(store, limits, "r=r", 1000 * HOUR, span_ms=50)
    seen = await limits.look()
    assert seen.wait is not None
    assert seen.wait <= 0.05


async def test_clock_was_set_back(store: Store, limits: Limits) -> None:
    """It ends at the latest when as much time has passed as was asked for."""
    await limits.rule("r=r", MANY)
    await limits.enqueue("a", backlog=backlog("r=r"))
    await store.call("SET", f"{store.keys.prefix}quiet:r=r", "4000000000000 50 a")
    seen = await limits.look()
    assert seen.wait is not None
    assert seen.wait <= 0.05

    async def is_admitted() -> bool:
        return await limits.admitted() == ["a"]

    await wait_until(is_admitted, "the quiet to end")


async def test_charges_go_on(store: Store, limits: Limits) -> None:
    """What was charged before is not forgiven; what is paid off meanwhile is."""
    await limits.rule("r=r", f"1 {HOUR} 1")
    await limits.enqueue("a", "b", backlog=backlog("r=r"))
    assert await limits.admitted() == ["a"]
    await quiet(store, limits, "r=r", 20)
    await asyncio.sleep(0.025)
    seen = await limits.look()
    assert seen.read.deliveries == []
    assert seen.wait is not None
    assert seen.wait > 3000


@pytest.mark.parametrize("rule", ["", "0 1000 0"])
async def test_rules_that_know_no_quiet(store: Store, limits: Limits, rule: str) -> None:
    """A limit that no code has lets all pass; one that lets none pass says no time."""
    if rule:
        await limits.rule("r=r", rule)
    await limits.enqueue("a", backlog=backlog("r=r"))
    await quiet(store, limits, "r=r", HOUR)
    seen = await limits.look()
    assert [one.job_id for one in seen.read.deliveries] == ([] if rule else ["a"])
    assert seen.wait is None


async def test_key_of_another_program(store: Store, limits: Limits) -> None:
    """Nothing passes until it is repaired, and the error names it; a new quiet replaces it."""
    await limits.rule("r=r", MANY)
    await limits.enqueue("a", backlog=backlog("r=r"))
    await store.call("RPUSH", f"{store.keys.prefix}quiet:r=r", "x")
    assert await limits.admitted() == []
    assert await quiet(store, limits, "r=r", 50) == 1

    async def is_admitted() -> bool:
        await store.call("ZADD", store.keys.due, "XX", 0, "r=r")
        return await limits.admitted() == ["a"]

    await wait_until(is_admitted, "the quiet to end")


async def test_doctor_finds_nothing_wrong(store: Store, limits: Limits) -> None:
    """A quiet limit is not a stuck one."""
    await limits.rule("r=r", MANY)
    await limits.enqueue("a", backlog=backlog("r=r"))
    await quiet(store, limits, "r=r", HOUR)
    await limits.look()
    assert await LimitStates(store.queue).check(["r=r"]) == []


async def test_listed(store: Store, limits: Limits) -> None:
    """With the last end of the values for which jobs wait."""
    await limits.rule("r=keyed", MANY)
    await limits.rule("r=plain", MANY)
    await limits.rule("c=other", "1")
    for value, after_ms in (("a", HOUR), ("b", 2 * HOUR)):
        await quiet(store, limits, f"r=keyed:{value}", after_ms)
        await limits.enqueue(f"j{value}", backlog=backlog(f"r=keyed:{value}"))
    await quiet(store, limits, "r=plain", HOUR)
    await limits.look()
    keyed, other, plain = await LimitStates(store.queue).list()
    (state,) = (await LimitStates(store.queue).explain("- - r=keyed:b")).limits
    assert keyed.quiet_until == state.quiet_until
    assert plain.quiet_until is not None
    assert other.quiet_until is None


@pytest.mark.parametrize(
    ("token", "ended"),
    [("r=r:a", {"ja"}), ("r=r:*", {"ja", "jb"}), ("r=r", {"j"}), ("r=x", set[str]())],
)
async def test_ended_by_an_operator(
    store: Store, limits: Limits, token: str, ended: set[str]
) -> None:
    """For a value, for all of them, or for a limit without a key; what waits starts at once."""
    await limits.rule("r=r", MANY)
    for value in (":a", ":b", ""):
        await quiet(store, limits, f"r=r{value}", HOUR)
        await limits.enqueue(f"j{value[1:]}", backlog=backlog(f"r=r{value}"))
    assert await limits.admitted() == []
    await store.call("DEL", store.keys.prefix + "bell")
    overrides = LimitOverrides(store.queue)
    assert await overrides.end_quiet(token) == len(ended)
    assert await store.call("EXISTS", store.keys.prefix + "bell") == bool(ended), (
        "a worker is woken"
    )
    assert set(await limits.admitted()) == ended
    assert await overrides.end_quiet(token) == 0
    await limits.check()
