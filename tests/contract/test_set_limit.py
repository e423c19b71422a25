"""An operator's rule comes before that of the code, and takes effect at once."""

import pytest

from aiostreamq.store.inspect.limit_states import LimitStates
from aiostreamq.store.limit_overrides import ORDER, OTHER_KIND, LimitOverrides
from tests.support.held import Line
from tests.support.store import Store


@pytest.fixture
def line(store: Store) -> Line:
    """The held jobs of the store."""
    return Line(store)


@pytest.fixture
def overrides(store: Store) -> LimitOverrides:
    """The rules that operators set."""
    return LimitOverrides(store.queue)


async def admitted(line: Line) -> set[str]:
    """Return the jobs that a worker gets now."""
    return {one.job_id for one in await line.admit()}


@pytest.mark.parametrize("subject", ["c=sync:acme", "c=sync:*", "c=sync"])
async def test_raised_rule_admits_more(line: Line, overrides: LimitOverrides, subject: str) -> None:
    """The exact rule, that for all values, and that of the name; `clear` takes it back."""
    await line.rule("c=sync", "1")
    await line.enqueue(*"abcdef", tokens="c=sync:acme")
    assert await admitted(line) == {"a"}
    assert await admitted(line) == set()
    await overrides.set(subject, "3", "ann")
    assert await admitted(line) == {"b", "c"}
    assert await overrides.clear([subject]) == 1
    assert await admitted(line) == set()
    assert await overrides.clear([subject]) == 0


async def test_the_most_exact_rule_decides(
    store: Store, line: Line, overrides: LimitOverrides
) -> None:
    """Exact, then all values, then the name, then code; the dry run says which."""
    await line.rule("c=sync", "1")
    states = LimitStates(store.queue)
    for subject, rule in (("c=sync", "2"), ("c=sync:*", "3"), ("c=sync:acme", "4")):
        await overrides.set(subject, rule, "ann")
        (found,) = (await states.explain("- - c=sync:acme")).limits
        assert (found.decided_by, found.rule) == (subject[2:], f"Concurrency({rule})")
    (other,) = (await states.explain("- - c=sync:other")).limits
    assert other.decided_by == "sync:*"


@pytest.mark.parametrize("token", ["c=sync", "r=sync"])
async def test_kill_switch(line: Line, overrides: LimitOverrides, token: str) -> None:
    """No job starts until the rule is taken back, and all start then."""
    rule, none = ("9", "0") if token[0] == "c" else ("9 1000 9", "0 1000 0")
    await line.rule(token, rule)
    await overrides.set(f"{token}:acme", none, "ann")
    await line.enqueue("a", "b", tokens=f"{token}:acme")
    await line.enqueue("c", tokens=f"{token}:other")
    assert await admitted(line) == {"c"}
    assert await admitted(line) == set()
    await overrides.clear([f"{token}:acme"])
    assert await admitted(line) == {"a", "b"}


async def test_long_rate_is_forgotten_when_it_is_raised(
    line: Line, overrides: LimitOverrides
) -> None:
    """A charge by the hour does not stop a rate by the second."""
    await line.rule("r=api", "1 3600000 1")
    await line.enqueue(*"abc", tokens="r=api")
    assert await admitted(line) == {"a"}
    await overrides.set("r=api", "1000000 1000 1000000", "ann")
    assert "b" in await admitted(line) or await admitted(line)


async def test_versions(store: Store, overrides: LimitOverrides) -> None:
    """Each change has a higher one; the same change again is the same one."""
    first = await overrides.set("c=a", "1", "ann")
    assert await overrides.set("c=a", "1", "ann") == first
    second = await overrides.set("c=a", "1", "bob")
    third = await overrides.set("r=b:*", "10 1000 20", "ann at the desk")
    assert first < second < third
    await overrides.clear(["c=a", "r=a"])
    assert await overrides.set("c=a", "1", "ann") > third + 1
    found = {one.name: one for one in await LimitStates(store.queue).list()}
    (rule,) = found["b"].set_rules
    assert (rule.name, rule.rule, rule.set_by) == (
        "b:*",
        "Rate('10/s', burst=20)",
        "ann at the desk",
    )
    assert rule.version == third
    assert abs(rule.set_at.timestamp() * 1000 - store.queue.clock.now_ms()) < 600_000


async def test_other_kind_is_refused(store: Store, line: Line, overrides: LimitOverrides) -> None:
    """A rule that would concern no job changes nothing; one name may be both kinds."""
    await line.rule("c=a", "1")
    assert await overrides.set("r=a", "1 1000 1", "ann") == OTHER_KIND
    assert await overrides.set("r=a:x", "1 1000 1", "ann") == OTHER_KIND
    assert await store.call("EXISTS", store.keys.limits) == 0
    await line.rule("r=a", "1 1000 1")
    assert await overrides.set("r=a", "1 1000 1", "ann") > 0


async def test_rule_for_an_order(line: Line, overrides: LimitOverrides) -> None:
    """An order has none; a limit of the same name has."""
    await line.rule("o=book", "1")
    assert await overrides.set("c=book:7", "2", "ann") == ORDER
    assert await overrides.set("r=book", "1 1000 1", "ann") == ORDER
    await line.rule("c=book", "1")
    assert await overrides.set("c=book:7", "2", "ann") > 0
