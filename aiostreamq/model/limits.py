"""Limits: how many jobs may run at once, how many may start in a time, and which come in order.

A limit has a name, and if it has a key, an instance for each value of the key. Redis knows an
instance by its token: `c=` for a concurrency, `r=` for a rate or `o=` for an order, the name, and
the value after a colon, as in `c=sync.tenant:acme`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import ClassVar, TypeAlias, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.duration import seconds
from aiostreamq.model.record import record
from aiostreamq.model.unique import Key, check_key

#: A cost: the argument that has it, or what a function returns for the arguments that it takes;
#: None is 1.
Cost: TypeAlias = str | Callable[..., float] | None

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
# A name, or that of the limit for one value of its key, or for all values. A name by default has
# those of arguments, which may be longer and have other letters.
_SUBJECT = re.compile(r"[\w.-]{1,1024}(:(\*|[A-Za-z0-9_.@,-]{1,1024}))?")
_RATE = re.compile(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*(ms|s|m|h|d)\s*")

# The largest count of a rule: Lua counts these exactly.
_MOST = 10**9


@record
class Concurrency:
    """The rule that a bounded number of jobs run at once.

    As in `@queue.task(limits=[Concurrency(2, key="tenant")])`. Further jobs are held in Redis, in
    their order, and take no slot of a worker while they wait. A job counts from its start to its
    end, or until its worker is found dead.

    Args:
        most: How many jobs may run at once. 0 lets none start: `queue.limits.set` takes it, and
            a task does not.
        key: The argument that has a limit for each of its values; several, as in
            `("tenant", "region")`; or a function, which gets the arguments that it names. By
            default one limit is for all jobs.
        name: The name of the limit. Tasks that give the same name share the limit. By default it is
            the name of the task, with that of the key: `sync.tenant`.

    Raises:
        UsageError: A value is invalid.
    """

    most: int
    key: Key = None
    name: str | None = None
    kind: ClassVar[str] = "c"  #: not public

    def __post_init__(self) -> None:
        """Refuse invalid values."""
        _check_count("Concurrency(most)", self.most, least=0)
        check_key(self.key)
        _check_name(self.name)


@record
class Rate:
    """The rule that a bounded number of jobs start in a time.

    As in `@queue.task(limits=[Rate("100/m", key="tenant")])`. The starts are spread over the time:
    after a burst, `"100/m"` lets a job start each 0.6 seconds. Further jobs are held in Redis, in
    their order, and take no slot of a worker while they wait.

    Args:
        rate: How many, and in which time: "100/m", "5/s", "1000/10m". "0/s" lets none start:
            `queue.limits.set` takes it, and a task does not.
        key: As for `Concurrency`.
        name: As for `Concurrency`.
        burst: How many jobs may start at once after a quiet time; None is as many as in one period.
        cost: The argument that says how much a job takes of the rate, as in `cost="tokens"`, or a
            function, which gets the arguments that it names; None is 1 a job.

    Raises:
        UsageError: A value is invalid.
    """

    rate: str
    key: Key = None
    name: str | None = None
    burst: int | None = None
    cost: Cost = None
    count: int = field(init=False, repr=False)  #: how many in a period; not public
    period_ms: int = field(init=False, repr=False)  #: not public
    kind: ClassVar[str] = "r"  #: not public

    def __post_init__(self) -> None:
        """Refuse invalid values."""
        count, period_ms = _parsed(self.rate)
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "period_ms", period_ms)
        check_key(self.key)
        _check_name(self.name)
        if self.burst is not None:
            _check_count("Rate(burst)", self.burst)
        if not (self.cost is None or callable(self.cost) or (self.cost and type(self.cost) is str)):
            raise UsageError(
                f"Rate(cost={self.cost!r}) is invalid: give the name of an argument, or a function "
                f"of arguments"
            )

    @property
    def capacity(self) -> int:
        """The most that one job may cost: what the limit has after a quiet time."""
        return self.count if self.burst is None else self.burst


@record
class Ordered:
    """The rule that the jobs of a key run one after the other, in the order of their enqueue.

    As in `@queue.task(ordered="account")`, which is short for `ordered=Ordered("account")`. A job
    starts when the one before it has ended, with all its further attempts, however that ends. Jobs
    that wait for it are held in Redis, and take no slot of a worker. Other keys do not wait.

    Args:
        key: As for `Concurrency`; None is one order for all jobs.
        name: As for `Concurrency`. Tasks that give the same name have one order.

    Raises:
        UsageError: A value is invalid.
    """

    key: Key = None
    name: str | None = None
    kind: ClassVar[str] = "o"  #: not public

    def __post_init__(self) -> None:
        """Refuse invalid values."""
        check_key(self.key)
        _check_name(self.name)


#: A limit of a task.
Limit: TypeAlias = Concurrency | Rate

#: A rule that holds jobs of a task.
HoldRule: TypeAlias = Ordered | Limit


def rule_of(limit: HoldRule) -> str:
    """Return the rule of a limit as the scripts read it.

    >>> rule_of(Concurrency(5)), rule_of(Rate("100/m", burst=20)), rule_of(Ordered("account"))
    ('5', '100 60000 20', '1')
    """
    if isinstance(limit, Ordered):
        return "1"
    if isinstance(limit, Concurrency):
        return str(limit.most)
    return f"{limit.count} {limit.period_ms} {limit.capacity}"


def named(limit: HoldRule, task: str) -> str:
    """Return the token of a limit of a task, without a value of its key.

    >>> named(Concurrency(5, key="tenant"), "sync"), named(Rate("1/s", name="api"), "sync")
    ('c=sync.tenant', 'r=api')
    """
    if limit.name is not None:
        return f"{limit.kind}={limit.name}"
    key = limit.key
    parts: Sequence[str] = ()
    if callable(key):
        parts = ("key",)
    elif key is not None:
        parts = (key,) if isinstance(key, str) else tuple(key)
    return f"{limit.kind}={'.'.join((task.replace(':', '.'), *parts))}"


def lets_none_pass(limit: Limit) -> bool:
    """Whether no job may start under a limit."""
    return limit.most == 0 if isinstance(limit, Concurrency) else limit.count == 0


def checked_subject(name: object) -> str:
    """Return the name of a limit as `queue.limits` takes it.

    >>> checked_subject("sync.tenant:acme"), checked_subject("sync.tenant:*")
    ('sync.tenant:acme', 'sync.tenant:*')

    Raises:
        UsageError: It is not one.
    """
    if isinstance(name, str) and _SUBJECT.fullmatch(name):
        return name
    raise UsageError(
        f"limit {name!r} is invalid: give its name, as in 'sync.tenant', with ':*' for each value "
        f"of its key, or with a value, as in 'sync.tenant:acme'. queue.limits.explain(...) shows "
        f"how other values are written"
    )


def checked_limits(limits: object) -> tuple[Limit, ...]:
    """Return the limits that a user gave for a task.

    Raises:
        UsageError: It is not a list of limits.
    """
    if isinstance(limits, list | tuple):
        found = tuple(cast("Sequence[object]", limits))
        if one := next((one for one in found if isinstance(one, Ordered)), None):
            raise UsageError(f"{one!r} is not one of the limits: give it to ordered=")
        if all(isinstance(one, Concurrency | Rate) for one in found):
            limits = cast("tuple[Limit, ...]", found)
            if stop := next((one for one in limits if lets_none_pass(one)), None):
                raise UsageError(
                    f"{stop!r} lets no job start: use queue.limits.set(...) to stop jobs for a "
                    f"while, or queue.pause(task=...)"
                )
            return limits
    raise UsageError(
        f"limits takes a list of limits, got {limits!r}: use limits=[Concurrency(5)], or "
        f"limits=[Rate('100/m', key='tenant')]"
    )


def checked_order(ordered: object) -> Ordered | None:
    """Return the order that a user gave for a task; None for none.

    Raises:
        UsageError: It is not one.
    """
    if ordered is None or isinstance(ordered, Ordered):
        return ordered
    is_function = callable(ordered) and not isinstance(ordered, type)
    if is_function or isinstance(ordered, str | tuple | list):
        return Ordered(cast("Key", ordered))
    raise UsageError(
        f"ordered={ordered!r} is invalid: give the argument whose jobs run in order, as in "
        f'ordered="account", several, a function of arguments, or Ordered(...)'
    )


def _parsed(rate: object) -> tuple[int, int]:
    found = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    if found is not None:
        count, period = int(found[1]), seconds("Rate(rate)", f"{found[2] or 1}{found[3]}")
        period_ms = round(period * 1000)
        if count <= _MOST and period_ms > 0:
            return count, period_ms
    raise UsageError(
        f"Rate({rate!r}) is invalid: give how many may start and in which time, as in '100/m', "
        f"'5/s', '1000/10m'"
    )


def _check_count(what: str, count: object, least: int = 1) -> None:
    if type(count) is not int or not least <= count <= _MOST:
        raise UsageError(
            f"{what}={count!r} is invalid: give a whole number from {least} to {_MOST}"
        )


def _check_name(name: object) -> None:
    if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise UsageError(
            f"limit name {name!r} is invalid: use a string of 1 to 128 letters, digits, '_', '.' "
            f"or '-'"
        )
