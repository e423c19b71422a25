"""The rules of operators and releases, and keys of other programs in the place of ours."""

import pytest

from aiostreamq.store.cancellation import Cancellation
from tests.support.limits import Limits, backlog
from tests.support.store import Store, outcome_of

A, B = backlog("c=a"), backlog("c=b")
HOUR = 3_600_000


async def test_most_exact_rule_of_an_operator_wins(limits: Limits) -> None:
    """That of the value, then that of all values, then that of the name, then the code's."""
    await limits.rule("c=a", "1")
    for token, most in (("c=a", 2), ("c=a:*", 3), ("c=a:x", 4)):
        await limits.operate(token, f"{most} operator 1700000000")
        await limits.operate("c=a:y", "5")
        ids = [f"{most}-{number}" for number in range(8)]
        await limits.enqueue(*ids, backlog=backlog("c=a:x"))
        running = await limits.admit()
        assert len(running) == most
        await limits.store.settle(*running)
        while running := await limits.admit():
            await limits.store.settle(*running)


async def test_rule_is_removed(limits: Limits) -> None:
    """A limit without any rule lets all pass."""
    await limits.operate("c=a", "1")
    await limits.enqueue(*"abc", backlog=A)
    assert await limits.admitted() == ["a"]
    assert await limits.admitted() == []
    await limits.operate("c=a", "")
    assert await limits.admitted() == ["b", "c"]
    await limits.check()


@pytest.mark.parametrize(("token", "rule"), [("c=a", "0"), ("r=a", "0 1000 1")])
async def test_nothing_passes(store: Store, limits: Limits, token: str, rule: str) -> None:
    """An operator stops a limit; jobs wait until the word is taken back."""
    await limits.rule(token, "3" if token[0] == "c" else f"3 {HOUR} 3")
    await limits.enqueue("a", backlog=backlog(token))
    (running,) = await limits.admit()
    await limits.operate(token, rule)
    await limits.enqueue("b", "c", backlog=backlog(token))
    assert await limits.admitted() == []
    await store.settle(running)
    assert await limits.admitted() == []
    await limits.check()
    await limits.operate(token, "")
    assert await limits.admitted() == ["b", "c"]


async def test_fewer_than_run(store: Store, limits: Limits) -> None:
    """A smaller rule ends nothing, and lets nothing pass until fewer run."""
    await limits.rule("c=a", "3")
    await limits.enqueue(*"abcd", backlog=A)
    running = await limits.admit()
    await limits.operate("c=a", "1")
    for one in running:
        assert await limits.admitted() == []
        await store.settle(one)
    assert await limits.admitted() == ["d"]


@pytest.mark.parametrize("key", ["permits:c=a", "rate:r=a", "blocked:c=a", f"backlog:{A}", "floor"])
async def test_foreign_key_stops_no_other(store: Store, limits: Limits, key: str) -> None:
    """Other jobs pass, what is running ends, and no job is lost."""
    await limits.rule("c=a", "1")
    await limits.rule("r=a", f"1 {HOUR} 1")
    await limits.enqueue("run", backlog=backlog("c=a"))
    (running,) = await limits.admit()
    await store.call("DEL", store.keys.prefix + key)
    await store.call("RPUSH", store.keys.prefix + key, "of another program")
    name = backlog("r=a") if key == "rate:r=a" else backlog("c=a", "c=x")
    await limits.enqueue("a", backlog=name)
    await limits.enqueue("b", backlog=B)
    assert "b" in await limits.admitted()
    assert await store.settle(running) == []
    await store.call("DEL", store.keys.prefix + key)
    for token in ("c=a", "r=a"):  # as the time of the next look comes
        await store.call("ZADD", store.keys.due, "XX", 0, token)
    await limits.admit()
    assert await store.results.job_state("a") == b"running"


async def test_foreign_ready_stops_no_end(store: Store, limits: Limits) -> None:
    """What waits is woken when it is gone."""
    await limits.rule("c=a", "1")
    await limits.enqueue("a", "b", backlog=A)
    (a,) = await limits.admit()
    await store.call("DEL", store.keys.ready)
    await store.call("SET", store.keys.ready, "?")
    assert await store.settle(a) == []
    assert await limits.permits("c=a") == set()
    await store.call("DEL", store.keys.ready)
    assert await limits.admitted() == ["b"]


async def test_foreign_hash_of_rules(store: Store, limits: Limits) -> None:
    """Until it is repaired nothing passes that may need it: a rule may be there to stop all."""
    await limits.enqueue("a", backlog=A)
    await store.call("SET", store.keys.limits, "?")
    assert await limits.admitted() == []
    await store.call("DEL", store.keys.limits)
    await store.call("ZADD", store.keys.due, "XX", 0, "c=a")
    assert await limits.admitted() == ["a"]


async def test_foreign_hash_of_a_job(store: Store, limits: Limits) -> None:
    """Nothing is left of the job, and those behind it pass."""
    await limits.enqueue("a", "b", backlog=A)
    await store.call("DEL", store.keys.job("a"))
    await store.call("SET", store.keys.job("a"), "?")
    assert await limits.admitted() == ["b"]


@pytest.mark.parametrize("key", ["permits:c=a", "blocked:c=a", "due", "ready", "bell", "control"])
async def test_foreign_key_stops_no_end(store: Store, limits: Limits, key: str) -> None:
    """The end of a job does not depend on its permits."""
    await limits.rule("c=a", "1")
    await limits.enqueue("a", "b", backlog=A)
    (a,) = await limits.admit()
    await store.call("DEL", store.keys.prefix + key)
    await store.call("SET", store.keys.prefix + key, "?")
    assert await store.settle(a) == []
    assert await store.call("GET", store.keys.result("a")) == outcome_of(a)


@pytest.mark.parametrize("key", [f"backlog:{A}", "ready", "blocked:c=a", "due", "held"])
async def test_foreign_key_stops_no_cancel(store: Store, limits: Limits, key: str) -> None:
    """A held job ends all the same, and is not run later."""
    await limits.rule("c=a", "1")
    await limits.enqueue("a", "b", backlog=A)
    await limits.admit()
    await store.call("DEL", store.keys.prefix + key)
    await store.call("SET", store.keys.prefix + key, "?")
    await Cancellation(store.queue).cancel(["b"])
    assert await store.call("EXISTS", store.keys.result("b")) == 1
