"""The backlog of a call under the limits of its task, and what it costs them."""

import re
from typing import TYPE_CHECKING, NamedTuple, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.functions.call_key import called, digest, needed_by, parts_of
from aiostreamq.model.limits import Rate, named, rule_of
from aiostreamq.untrusted import name_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiostreamq.model.functions.signature import TaskSignature
    from aiostreamq.model.limits import HoldRule
    from aiostreamq.model.options import Options
    from aiostreamq.model.task import TaskSpec

# Values that can stand in a token as they are. Others get a digest in their place.
_PLAIN = re.compile(r"[A-Za-z0-9_.@-]{1,64}")

# Numbers of more digits get a digest.
_LONG = 10**63

# The largest cost that Lua counts exactly.
_MOST_COST = 1e9


class Line(NamedTuple):
    """The backlog of a job, and its costs."""

    backlog: str  #: '<lane> <task> <token> <token>...'
    costs: str  #: a number for each token, with spaces between; empty for 1 each


def line_of(
    spec: "TaskSpec", lane: str, args: "Sequence[object]", kwargs: "Mapping[str, object]"
) -> Line:
    """Return where a call of a limited task waits.

    Args:
        spec: The task.
        lane: The lane of the job.
        args: The positional arguments.
        kwargs: The keyword arguments.

    Raises:
        UsageError: A function for a key or a cost raised, an argument is missing, or the job costs
            more than a limit ever has.
        PayloadError: A key is not plain JSON.
    """
    limits, tokens, costs = spec.options.limits, list[str](), list[float]()
    call = spec.name, spec.signature, args, kwargs
    for limit in limits:
        token = named(limit, spec.name)
        tokens.append(token if limit.key is None else f"{token}:{_value(limit, *call)}")
        costs.append(_cost(limit, *call) if isinstance(limit, Rate) and limit.cost else 1)
    written = "" if all(cost == 1 for cost in costs) else " ".join(f"{cost:.12g}" for cost in costs)
    return Line(f"{lane} {spec.name} {' '.join(tokens)}", written)


def line_of_unkeyed(spec: "TaskSpec", lane: str) -> Line:
    """Return where a call waits whose keys cannot be found: all such calls of a task together."""
    tokens = [
        named(limit, spec.name) + (":" if limit.key is not None else "")
        for limit in spec.options.limits
    ]
    return Line(f"{lane} {spec.name} {' '.join(tokens)}", "")


def has_passed(spec: "TaskSpec", permits: bytes) -> bool:
    """Whether a job has passed all limits that its task has now.

    Args:
        spec: The task.
        permits: The tokens of the limits that it has passed; "-" if it passes any.
    """
    if permits == b"-":
        return True
    passed = [token.partition(":")[0] for token in permits.decode().split()]
    return spec.limit_names.issubset(passed)


def rate_named(spec: "TaskSpec", name: str) -> str | None:
    """Return the token of a rate of a task, without a value of its key; None if it has none."""
    rates = (named(one, spec.name) for one in spec.options.limits if isinstance(one, Rate))
    return next((token for token in rates if token[2:] == name), None)


def instance_of(token: str, permits: bytes | None, backlog: str) -> str:
    """Return the token of a limit with the value that it has for a job.

    Args:
        token: That of the limit, without a value.
        permits: The tokens of the limits that the job has passed; "-" if it passes any.
        backlog: The name of its backlog, if the permits do not say it.

    >>> instance_of("r=api", b"c=sync r=api:small", "")
    'r=api:small'
    """
    tokens = [*(permits or b"").decode().split(), *backlog.split()[2:]]
    return next((one for one in tokens if one.partition(":")[0] == token), token)


def check_limits(limits: "Sequence[HoldRule]", task: str, of_task: "TaskSignature") -> None:
    """Check that a task has the arguments that its limits need, and that their names differ.

    Raises:
        UsageError: They do not fit.
    """
    names = [named(limit, task) for limit in limits]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"task {task!r} has two limits named {name[2:]!r}: give one of them a name=..."
            )
    taken = [name for name in of_task.whole.parameters if name not in of_task.filled_in.names]
    for limit in limits:
        cost = limit.cost if isinstance(limit, Rate) else None
        for part, what in ((limit.key, "key"), (cost, "cost")):
            for name in needed_by(task, part, what):
                if name not in taken:
                    known = ", ".join(taken) or "none"
                    raise UsageError(
                        f"task {task!r}: the {what} of one of its limits is made from argument "
                        f"{name!r}, which the task does not take; it takes: {known}"
                    )


def check_shared(spec: "TaskSpec", others: "Iterable[TaskSpec]") -> None:
    """Check that tasks of a queue which share a limit give it the same rule.

    Raises:
        UsageError: Two rules differ.
    """
    rules = {named(limit, spec.name): limit for limit in spec.options.limits}
    for other in others:
        for limit in other.options.limits:
            own = rules.get(named(limit, other.name))
            if own is not None and rule_of(own) != rule_of(limit) and other.name != spec.name:
                from aiostreamq.model.limit_reports import shown_rule  # for the error only

                token = named(limit, other.name)
                raise UsageError(
                    f"limit {token[2:]!r} is {shown_rule(token, rule_of(own))} in task "
                    f"{spec.name!r}, and {shown_rule(token, rule_of(limit))} in task "
                    f"{other.name!r}: tasks that share a limit give it the same numbers; give one "
                    f"of them another name=..."
                )


def check_order(options: "Options", task: str) -> None:
    """Check that the jobs of a task that has an order are not kept from the queue by their keys.

    Raises:
        UsageError: They are.
    """
    if options.unique is not None and any(limit.kind == "o" for limit in options.limits):
        raise UsageError(
            f"task {task!r}: a job of a task with ordered= cannot have {options.unique.option}=, "
            f"as it would come in after jobs that were enqueued later: leave one of them out"
        )


def _value(
    limit: "HoldRule",
    task: str,
    of_task: "TaskSignature | None",
    args: "Sequence[object]",
    kwargs: "Mapping[str, object]",
) -> str:
    key = limit.key
    # Several arguments are in the order in which the limit names them.
    names = [key] if key is None or isinstance(key, str) or callable(key) else key
    parts = [part for name in names for part in parts_of(name, task, of_task, args, kwargs)]
    texts = [_text(part) for part in parts]
    if all(text is not None for text in texts):
        return ",".join(cast("list[str]", texts))
    return digest(task, parts, of_all_tasks=True)


def _text(value: object) -> str | None:
    # Python refuses to write very long numbers.
    is_short = type(value) in {str, bool} or (type(value) is int and abs(value) < _LONG)
    text = str(value) if is_short else ""
    return text if _PLAIN.fullmatch(text) else None


def _cost(
    limit: Rate,
    task: str,
    of_task: "TaskSignature | None",
    args: "Sequence[object]",
    kwargs: "Mapping[str, object]",
) -> float:
    cost: object
    if callable(limit.cost):
        cost = called(task, limit.cost, of_task, args, kwargs, "cost")
    else:
        cost = parts_of(limit.cost, task, of_task, args, kwargs)[0]
    if type(cost) not in {int, float} or not 0 <= cast("float", cost) <= _MOST_COST:
        shown = text_of(cost, 60) if type(cost) in {int, float} else f"of {name_of(type(cost))!r}"
        raise UsageError(
            f"task {task!r}: the cost of a job under {named(limit, task)[2:]!r} is {shown}: it "
            f"must be a number from 0 to {_MOST_COST:.0f}"
        )
    if cast("float", cost) > limit.capacity:
        raise UsageError(
            f"task {task!r}: a job costs {cost!r} under {named(limit, task)[2:]!r}, which has "
            f"{limit.capacity} at most, so it would wait for ever: give Rate(burst=...) a larger "
            f"number, or split the job"
        )
    return cast("float", cost)
