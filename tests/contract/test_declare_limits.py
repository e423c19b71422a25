"""The rules of limits that the code of a release has, beside those of other releases."""

import pytest

from aiostreamq.store.connection.link import CommandError
from tests.support.limits import Limits, backlog
from tests.support.store import Store

A = backlog("c=a:x")


async def test_first(store: Store, limits: Limits) -> None:
    """The first rule of a limit is in force."""
    assert await limits.rules.declare({"c=a": "2", "r=b": "5 1000 5"}) == {}
    assert await store.hash_at(store.keys.limit_defaults) == {"c=a": "2", "r=b": "5 1000 5"}
    assert await limits.rules.declare({"c=a": "2", "r=b": "5 1000 5"}) == {}, "a worker more"


async def age(store: Store, token: str, rule: str) -> None:
    """Have a rule be as old as if it had been declared long ago."""
    await store.call("HSET", store.keys.limit_rules, f"{token} {rule}", "1000")


async def test_releases_side_by_side(store: Store, limits: Limits) -> None:
    """The new release wins at once, and the old one, whose workers start again, never again."""
    await limits.rules.declare({"c=a": "2"})
    await age(store, "c=a", "2")
    assert await limits.rules.declare({"c=a": "3"}) == {}
    for _ in range(2):
        assert await limits.rules.declare({"c=a": "2", "c=b": "1"}) == {"c=a": "3"}
        assert await limits.rules.declare({"c=a": "3"}) == {}
    assert await store.hash_at(store.keys.limit_defaults) == {"c=a": "3", "c=b": "1"}


@pytest.mark.parametrize("token", ["c=a", "c=a:x"])
async def test_jobs_that_wait_are_looked_at_again(store: Store, limits: Limits, token: str) -> None:
    """A rule with more room lets them pass, whatever the value of their key, and a worker wakes."""
    await limits.rules.declare({"c=a": "1"})
    await age(store, "c=a", "1")
    name = backlog(token)
    await limits.enqueue("a", "b", "c", backlog=name)
    assert await limits.admitted() == ["a"]
    assert await limits.admitted() == []
    await store.call("DEL", store.keys.bell)
    await limits.rules.declare({"c=a": "3"})
    assert len(await store.stream_at(store.keys.bell)) == 1
    assert await limits.admitted() == ["b", "c"]
    await limits.check()


async def test_others_are_left_alone(store: Store, limits: Limits) -> None:
    """A limit whose name begins alike is another one."""
    await limits.rules.declare({"c=a": "1", "c=ab": "1"})
    await age(store, "c=a", "1")
    await limits.enqueue("a", "b", backlog=backlog("c=ab"))
    await limits.admit()
    await limits.admit()
    await limits.rules.declare({"c=a": "2"})
    assert await limits.scores("due") == {"c=ab": float("inf")}


@pytest.mark.parametrize("key", ["limit_defaults", "limit_rules"])
async def test_foreign_key(store: Store, limits: Limits, key: str) -> None:
    """The error names it."""
    await store.call("SET", store.keys.prefix + key, "?")
    with pytest.raises(CommandError, match=key):
        await limits.rules.declare({"c=a": "1"})


async def test_foreign_due(store: Store, limits: Limits) -> None:
    """A changed rule is declared all the same: it is the next look that needs that key."""
    await limits.rules.declare({"c=a": "1"})
    await age(store, "c=a", "1")
    await store.call("SET", store.keys.due, "?")
    with pytest.raises(CommandError, match="due"):
        await limits.rules.declare({"c=a": "2"})
    await store.call("DEL", store.keys.due)
    assert await limits.rules.declare({"c=a": "2"}) == {}
