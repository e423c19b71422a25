"""Limits as users write them."""

from datetime import timedelta
from typing import Any

import pytest

from aiostreamq import Concurrency, Ordered, Queue, Rate, Tasks, UsageError
from aiostreamq.model.limits import checked_limits, checked_order, checked_subject, named, rule_of


def key_of(to: str) -> str:
    """A function for a key."""
    return to


def misspelt(tenat: str) -> str:
    """A function that takes what the task does not."""
    return tenat


@pytest.mark.parametrize(
    ("rate", "rule"),
    [
        ("100/m", "100 60000 100"),
        ("5/s", "5 1000 5"),
        (" 1000 / 10m ", "1000 600000 1000"),
        ("3/500ms", "3 500 3"),
        ("7/1.5h", "7 5400000 7"),
        ("1/d", "1 86400000 1"),
    ],
)
def test_rate_is_a_count_in_a_time(rate: str, rule: str) -> None:
    """Redis gets both as whole numbers, and the burst, which is one period by default."""
    assert rule_of(Rate(rate)) == rule
    assert rule_of(Rate(rate, burst=2)).endswith(" 2")


@pytest.mark.parametrize(
    "rate",
    ["", "100", "100/", "/s", "-1/s", "1.5/s", "5/0s", "5/y", "9" * 12 + "/s", 5, None],
)
def test_invalid_rate(rate: Any) -> None:
    """The error says how to write one."""
    with pytest.raises(UsageError, match="give how many may start and in which time"):
        Rate(rate)


@pytest.mark.parametrize("most", [0, -1, 1.0, True, "5", None, 10**12])
def test_invalid_count(most: Any) -> None:
    """A count is a whole number of at least 1. Operators may set a concurrency of 0."""
    if most != 0:
        with pytest.raises(UsageError, match="give a whole number from 0"):
            Concurrency(most)
    if most is not None:
        with pytest.raises(UsageError, match="give a whole number from 1"):
            Rate("1/s", burst=most)


@pytest.mark.parametrize("name", ["", "a:b", "a b", "é", "x" * 129, 7])
def test_invalid_name(name: Any) -> None:
    """A name can stand in a token."""
    with pytest.raises(UsageError, match="limit name"):
        Concurrency(1, name=name)


@pytest.mark.parametrize("cost", ["", 5, ["tokens"]])
def test_invalid_cost(cost: Any) -> None:
    """A cost is an argument or a function."""
    with pytest.raises(UsageError, match="give the name of an argument, or a function"):
        Rate("1/s", cost=cost)


@pytest.mark.parametrize("limits", [Concurrency(1), [5], "x", None, {Concurrency(1): 1}])
def test_limits_are_a_list(limits: Any) -> None:
    """The error shows one."""
    with pytest.raises(UsageError, match=r"limits takes a list of limits"):
        checked_limits(limits)


@pytest.mark.parametrize(
    ("limit", "token"),
    [
        (Concurrency(1), "c=mail.send"),
        (Concurrency(1, key="to"), "c=mail.send.to"),
        (Concurrency(1, key=("to", "by")), "c=mail.send.to.by"),
        (Concurrency(1, key=key_of), "c=mail.send.key"),
        (Concurrency(1, name="smtp"), "c=smtp"),
        (Rate("1/s", name="smtp", key="to"), "r=smtp"),
        (Ordered("to"), "o=mail.send.to"),
        (Ordered(), "o=mail.send"),
    ],
)
def test_name_by_default(limit: Concurrency | Ordered | Rate, token: str) -> None:
    """It is that of the task and of the key."""
    assert named(limit, "mail:send") == token


def task_with(*limits: Concurrency | Rate) -> None:
    """Register a task with limits."""

    @Queue("memory://").task(limits=limits)
    async def sync(tenant: str, tokens: int = 1) -> None: ...


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ([Concurrency(1, key="tenat")], "made from argument 'tenat'"),
        ([Concurrency(1, key=misspelt)], "made from argument 'tenat'"),
        (
            [Rate("1/s", cost="token")],
            "the cost of one of its limits is made from argument 'token'",
        ),
        ([Concurrency(1), Concurrency(2)], "two limits named 'sync'"),
        ([Rate("1/s", name="a"), Rate("9/m", name="a")], "two limits named 'a'"),
    ],
)
def test_limits_that_do_not_fit_the_task(limits: list[Concurrency | Rate], reason: str) -> None:
    """They are refused when the task is registered."""
    with pytest.raises(UsageError, match=reason):
        task_with(*limits)


def test_limits_belong_to_the_task() -> None:
    """A single job cannot have its own."""

    @Queue("memory://").task(timeout=timedelta(seconds=5))
    async def sync(tenant: str) -> None: ...

    with pytest.raises(UsageError, match="limits are for all jobs of a task"):
        sync.using(limits=[Concurrency(1)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Concurrency(5, name="db"), Concurrency(6, name="db")),
        (Concurrency(5, name="db", key="tenant"), Concurrency(6, name="db")),
        (Concurrency(5, name="first"), Concurrency(6, name="first")),
        (Rate("5/s", name="api"), Rate("5/m", name="api")),
        (Rate("5/s", name="api"), Rate("5/s", name="api", burst=1)),
        (Rate("5/s", name="api"), Rate("10/2s", name="api")),
    ],
)
@pytest.mark.parametrize("is_included", [False, True])
def test_tasks_that_share_a_limit_have_its_rule(
    one: Concurrency | Rate, other: Concurrency | Rate, *, is_included: bool
) -> None:
    """Else one number would silently hold for both."""
    queue, tasks = Queue("memory://"), Tasks()

    @queue.task(limits=[one])
    async def first(tenant: str) -> None: ...

    def add_another(limit: Concurrency | Rate) -> None:
        @(tasks if is_included else queue).task(name="second", limits=[limit])
        async def second(tenant: str) -> None: ...

        if is_included:
            queue.include(tasks)

    with pytest.raises(UsageError, match="tasks that share a limit give it the same numbers"):
        add_another(other)
    assert "second" not in queue.tasks


def test_two_kinds_of_one_name_are_two_limits() -> None:
    """And tasks may share a limit of the same rule, whatever its key and cost."""
    queue = Queue("memory://")

    @queue.task(limits=[Concurrency(5, name="db"), Rate("5/s", name="api")])
    async def first(tenant: str) -> None: ...

    @queue.task(limits=[Rate("1/s", name="db"), Rate("5/1s", name="api", cost="n", burst=5)])
    async def second(n: int) -> None: ...

    assert {*queue.tasks} == {"first", "second"}


@pytest.mark.parametrize(
    "name", ["sync", "sync.größe", "sync.größe:acme", "x" * 400, f"{'x' * 400}:*", "a.b:1,2"]
)
def test_name_of_any_limit(name: str) -> None:
    """Names by default are made of the names of tasks and arguments, with all their letters."""
    assert checked_subject(name) == name


@pytest.mark.parametrize("name", ["", "a b", "a:b c", "a:", "a:b:c", "sync*", "a=b", 5, None])
def test_name_of_no_limit(name: object) -> None:
    """It is refused, with the way to write it."""
    with pytest.raises(UsageError, match="give its name"):
        checked_subject(name)


@pytest.mark.parametrize("key", ["to", ("to", "by"), ["to", "by"], key_of])
def test_order_by_its_key(key: Any) -> None:
    """The key alone is short for the rule."""
    assert checked_order(key) == Ordered(key)
    assert rule_of(Ordered(key)) == "1"


def test_order_or_none() -> None:
    """None gives none; an order without a key is one for all jobs."""
    assert checked_order(None) is None
    assert checked_order(Ordered()) == Ordered(None)


@pytest.mark.parametrize(
    "ordered", [True, False, 5, "", (), [5], {"to"}, Concurrency(1), Ordered, dict]
)
def test_invalid_order(ordered: Any) -> None:
    """The error says what to give."""
    with pytest.raises(UsageError, match="is invalid: give"):
        checked_order(ordered)


def test_order_among_limits() -> None:
    """It has its own option."""
    with pytest.raises(UsageError, match="give it to ordered="):
        checked_limits([Concurrency(1), Ordered("to")])
