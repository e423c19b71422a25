"""Where a call waits under its limits."""

from typing import Any
from uuid import UUID

import pytest

from aiostreamq import Concurrency, PayloadError, Queue, Rate, Task, UsageError
from aiostreamq.model.functions.limit_keys import has_passed, line_of, line_of_unkeyed


def task_of(*limits: Concurrency | Rate) -> Task[..., None]:
    """A task with limits."""

    @Queue("memory://").task(limits=limits)
    async def sync(tenant: Any, tokens: float = 3, *, who: UUID | None = None) -> None: ...

    return sync


def double(tokens: float) -> float:
    """A cost that depends on an argument."""
    return tokens * 2


def nothing() -> float:
    """A cost of nothing."""
    return 0


def hex_of(who: UUID) -> str:
    """A key that needs the value of an argument, not what was sent."""
    return who.hex


@pytest.mark.parametrize(
    ("tenant", "value"),
    [("acme", "acme"), (7, "7"), (True, "True"), ("a.b@c_d-e", "a.b@c_d-e"), ("x" * 64, "x" * 64)],
)
def test_short_values_are_readable(tenant: object, value: str) -> None:
    """An operator knows a limit by the value of its key."""
    task = task_of(Concurrency(2, key="tenant"))
    assert line_of(task.spec, "slow", (tenant,), {}) == (f"slow sync c=sync.tenant:{value}", "")
    assert line_of(task.spec, "slow", (), {"tenant": tenant}).backlog.endswith(f":{value}")


@pytest.mark.parametrize("tenant", ["", "a b", "a:b", "é", "x" * 65, None, 1.5, [1], {"a": 1}])
def test_other_values_are_digests(tenant: object) -> None:
    """Each can stand in a token, and they differ if the values do."""
    task = task_of(Concurrency(2, key="tenant"))
    value = line_of(task.spec, "default", (tenant,), {}).backlog.partition(":")[2]
    assert len(value) == 32
    assert value.isalnum()
    assert value != line_of(task.spec, "default", ([tenant],), {}).backlog.partition(":")[2]


def test_several_limits() -> None:
    """The backlog has all their tokens, in the order in which the task has the limits."""
    limits = [Rate("9/s", name="api"), Concurrency(1, key=("tenant", "tokens"))]
    line = line_of(task_of(*limits).spec, "default", ("a", 5), {})
    assert line == ("default sync r=api c=sync.tenant.tokens:a,5", "")


@pytest.mark.parametrize(
    ("cost", "args", "costs"),
    [
        ("tokens", ("a", 5), "5"),
        ("tokens", ("a", 2.5), "2.5"),
        ("tokens", ("a",), "3"),
        ("tokens", ("a", 1), ""),
        (double, ("a", 4), "8"),
        (nothing, ("a", 4), "0"),
    ],
)
def test_costs(cost: Any, args: tuple[object, ...], costs: str) -> None:
    """They are those of the arguments, defaults included."""
    task = task_of(Rate("10/s", name="api", cost=cost))
    assert line_of(task.spec, "default", args, {}) == ("default sync r=api", costs)


@pytest.mark.parametrize("tokens", [-1, 11, float("nan"), float("inf"), True, "5", None])
def test_cost_that_can_never_pass(tokens: Any) -> None:
    """The enqueue says so: the job would wait for ever."""
    task = task_of(Rate("10/s", name="api", cost="tokens"))
    with pytest.raises((UsageError, PayloadError)):
        line_of(task.spec, "default", ("a", tokens), {})


def raising(tenant: object) -> float:
    """A key function that does not know what to do."""
    raise KeyError(tenant)


@pytest.mark.parametrize("limit", [Concurrency(1, key=raising), Rate("1/s", cost=raising)])
def test_function_that_raises(limit: Concurrency | Rate) -> None:
    """It is an error of the enqueue that names the function's own."""
    with pytest.raises(UsageError, match="function raised KeyError"):
        line_of(task_of(limit).spec, "default", ("a",), {})


def test_missing_argument() -> None:
    """A call that does not fit the task has no line."""
    with pytest.raises(UsageError):
        line_of(task_of(Concurrency(1, key="tenant")).spec, "default", (), {})


def test_calls_whose_keys_cannot_be_found_wait_together() -> None:
    """They are limited all the same."""
    spec = task_of(Concurrency(1, key=raising), Rate("1/s")).spec
    assert line_of_unkeyed(spec, "slow") == ("slow sync c=sync.key: r=sync", "")


@pytest.mark.parametrize(
    ("permits", "passed"),
    [
        (b"c=sync.tenant:a r=api", True),
        (b"r=api c=sync.tenant:b c=old", True),
        (b"c=sync.tenant:a", False),
        (b"", False),
        (b"-", True),
    ],
)
def test_what_has_passed(permits: bytes, *, passed: bool) -> None:
    """A job that has not met a limit which its task has now must meet it."""
    spec = task_of(Concurrency(1, key="tenant"), Rate("1/s", name="api")).spec
    assert has_passed(spec, permits) is passed


def test_keys_are_alike_for_producer_and_worker() -> None:
    """A worker finds the key from what was sent, a producer from what it sends."""
    task = task_of(Concurrency(1, key="who"), Concurrency(1, key=hex_of))
    who = UUID(int=7)
    sent = line_of(task.spec, "default", ("a",), {"who": who})
    assert task.spec.signature is not None
    args, kwargs = task.spec.signature.restore_arguments(["a"], {"who": str(who)})
    assert line_of(task.spec, "default", args, kwargs) == sent


def test_several_arguments_keep_their_order() -> None:
    """An operator writes their values as the limit names the arguments."""
    task = task_of(Concurrency(1, key=("tokens", "tenant")))
    line = line_of(task.spec, "default", ("a", 5), {})
    assert line.backlog == "default sync c=sync.tokens.tenant:5,a"


@pytest.mark.parametrize("tenant", ["acme", "a b", "a:b", "é", "x" * 65, None, 1.5, [1], {"a": 1}])
def test_tasks_that_share_a_limit_share_it_for_each_value(tenant: object) -> None:
    """For any value, and any names of the tasks."""
    queue = Queue("memory://")
    backlogs: list[str] = []
    for name in ("load", "rebuild"):

        @queue.task(name=name, limits=[Concurrency(2, key="tenant", name="database")])
        async def work(tenant: Any) -> None: ...

        backlogs.append(line_of(work.spec, "default", (tenant,), {}).backlog)
    assert len({one.split(" ")[1] for one in backlogs}) == 2
    assert len({one.split(" ")[2] for one in backlogs}) == 1


def huge(tenant: object) -> int:
    """A key or a cost that has more digits than Python writes."""
    return 10**5000


def test_number_that_cannot_be_written() -> None:
    """It is refused as all that is not JSON, or no cost."""
    with pytest.raises(PayloadError, match="int beyond 64 bits"):
        line_of(task_of(Concurrency(1, key=huge)).spec, "default", ("a",), {})
    with pytest.raises(UsageError, match="must be a number from 0"):
        line_of(task_of(Rate("1/s", cost=huge)).spec, "default", ("a",), {})
