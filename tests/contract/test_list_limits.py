"""Each limit is listed with its rules, what holds it, and what waits for it."""

import pytest

from aiostreamq.store.inspect.limit_states import LimitStates
from aiostreamq.store.limit_overrides import LimitOverrides
from tests.support.held import Line
from tests.support.store import Store


@pytest.fixture
def line(store: Store) -> Line:
    """The held jobs of the store."""
    return Line(store)


async def test_list(store: Store, line: Line) -> None:
    """Each limit with its rules, the jobs that hold its permits, and the keys that wait for it."""
    await line.rule("c=sync", "1")
    await line.rule("r=api", "100 60000 20")
    for key in "xyz":
        await line.enqueue(f"{key}1", f"{key}2", tokens=f"c=sync:{key} r=api")
    await line.admit()
    await LimitOverrides(store.queue).set("c=sync:x", "5", "ann")
    api, sync = await LimitStates(store.queue).list()
    assert (api.name, api.kind, api.rule, api.held) == (
        "api",
        "rate",
        "Rate('100/m', burst=20)",
        0,
    )
    assert (sync.name, sync.kind, sync.rule) == ("sync", "concurrency", "Concurrency(1)")
    assert (sync.held, sync.blocked, sync.is_estimate) == (3, 3, False)
    assert [one.name for one in sync.set_rules] == ["sync:x"]


async def test_list_of_nothing(store: Store) -> None:
    """A queue without limits has none."""
    assert await LimitStates(store.queue).list() == []


async def test_rules_of_other_programs(store: Store, line: Line) -> None:
    """They are shown as they are."""
    await line.rule("c=a", "many")
    await store.call("HSET", store.keys.limits, "c=a:x", "few", "odd", "1")
    (found,) = await LimitStates(store.queue).list()
    assert (found.rule, found.set_rules[0].rule, found.set_rules[0].version) == ("many", "few", 0)


async def test_list_an_order(store: Store, line: Line) -> None:
    """A job that runs holds its order, and each key with more jobs waits."""
    await line.rule("o=book", "1")
    await line.enqueue("a", "b", tokens="o=book:7")
    await line.enqueue("c", tokens="o=book:8")
    await line.admit()
    (order,) = await LimitStates(store.queue).list()
    assert (order.name, order.kind, order.rule) == ("book", "order", "Ordered()")
    assert (order.held, order.blocked) == (2, 1)
