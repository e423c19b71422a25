"""Limits as users write them."""

from datetime import timedelta
from typing import Any

import pytest

from aiostreamq import Concurrency, Queue, Rate, UsageError
from aiostreamq.model.limits import checked_limits, named, rule_of


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
    ],
)
def test_name_by_default(limit: Concurrency | Rate, token: str) -> None:
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
