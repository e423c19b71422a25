"""Permits without a job, and limits with room that no worker looks at, are found."""

import pytest

from aiostreamq.store.inspect.limit_states import Checked, LimitStates
from tests.support.held import TASK, Line
from tests.support.store import Store


@pytest.fixture
def line(store: Store) -> Line:
    """The held jobs of the store."""
    return Line(store)


TOKENS = ("c=sync:x", "c=sync:y", "r=api")


async def test_nothing_is_wrong(store: Store, line: Line) -> None:
    """Not with limits that are full, have room, or have room later."""
    states = LimitStates(store.queue)
    assert await states.check([]) == []
    assert await states.check(TOKENS) == []
    await line.rule("c=sync", "1")
    await line.rule("r=api", "1 60000 1")
    await line.enqueue("a", "b", tokens="c=sync:x")
    await line.enqueue("c", tokens="c=sync:y")
    await line.enqueue("d", "e", tokens="r=api")
    assert await states.check(TOKENS) == []
    for delivery in await line.admit():
        assert await states.check(TOKENS) == []
        await store.settle(delivery)


async def test_strays(store: Store, line: Line) -> None:
    """Permits of jobs that have ended, or that another delivery holds now."""
    await line.rule("c=sync", "9")
    await line.enqueue("a", "b", tokens="c=sync:x")
    await line.admit()
    for member in ("gone 1", "a 7", "odd"):
        await store.call("ZADD", store.keys.permits("c=sync:x"), 1, member)
    assert await LimitStates(store.queue).check(TOKENS) == [Checked("c=sync:x", 3, False)]


async def test_stuck(store: Store, line: Line) -> None:
    """A limit has room, a key waits for it, and no time is set, nor is another key ready."""
    await line.rule("c=sync", "1")
    await line.enqueue("a", "b", tokens="c=sync:x")
    await line.admit()
    states = LimitStates(store.queue)
    await store.call("DEL", store.keys.permits("c=sync:x"))  # its return has woken no backlog
    assert await states.check(TOKENS) == [Checked("c=sync:x", 0, True)]
    await store.call("ZADD", store.keys.ready, 0, f"default {TASK} c=sync:x r=api")
    assert await states.check(TOKENS) == []
    await store.call("DEL", store.keys.ready)
    await store.call("ZADD", store.keys.due, 1, "c=sync:x")
    assert await states.check(TOKENS) == []


async def test_order(store: Store, line: Line) -> None:
    """Nothing is wrong with an order in which jobs wait for the first one."""
    states = LimitStates(store.queue)
    await line.enqueue("a", "b", tokens="o=book:7")
    assert await states.check(["o=book:7"]) == []
    (first,) = await line.admit()
    assert await states.check(["o=book:7"]) == []
    await store.settle(first)
    assert await states.check(["o=book:7"]) == []
    await store.call("ZREM", store.keys.ready, "default size o=book:7")
    await store.call("ZADD", store.keys.blocked("o=book:7"), 0, "default size o=book:7")
    assert await states.check(["o=book:7"]) == [Checked("o=book:7", 0, is_stuck=True)]
