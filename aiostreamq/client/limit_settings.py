"""`queue.limits`: the limits of a queue's tasks, and rules that come before those of the code."""

import os
from typing import TYPE_CHECKING, Literal, cast

from aiostreamq.client.job_waits import Waits
from aiostreamq.client.task import Enqueuer
from aiostreamq.client.task_argument import no_task
from aiostreamq.errors import UsageError
from aiostreamq.model.functions.limit_keys import line_of
from aiostreamq.model.limits import Concurrency, Rate, checked_subject, rule_of
from aiostreamq.store.inspect.limit_states import LimitStates
from aiostreamq.store.limit_overrides import ORDER, OTHER_KIND, LimitOverrides

if TYPE_CHECKING:
    from aiostreamq.client.core import QueueCore
    from aiostreamq.model.limit_reports import JobWait, LimitInfo, LimitState
    from aiostreamq.model.limits import Limit

    Kind = Literal["concurrency", "rate"]

# The kinds of limits, as tokens have them.
_LETTERS = {"concurrency": "c", "rate": "r"}

# The same of all that `get` returns.
_ALL_LETTERS = ("o", *_LETTERS.values())

# Characters.
_LONGEST_WHO = 128


class Limits:
    """The limits of the tasks of a queue.

    A limit is named as its task and the arguments of its key, as in "sync.tenant", or by the
    `name` that it was given. "sync.tenant:acme" is the limit for one value of the key, and
    "sync.tenant:*" stands for all values. If there are several rules, the most exact one decides:
    for the value, for all values, for the name, and at last the rule of the code.
    """

    def __init__(self, core: "QueueCore") -> None:
        self._core = core

    def __repr__(self) -> str:
        return f"<Limits of {self._core.name}>"

    async def list(self) -> "list[LimitInfo]":
        """Return all limits that have rules, by name.

        If many jobs wait or run, their numbers are estimated from a sample.

        Raises:
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        return await LimitStates(self._core.session().store).list()

    async def get(self, name: str) -> "list[LimitState]":
        """Return how a limit stands now: which rule is in force, and which jobs hold its permits.

        Args:
            name: The name of the limit, with a value of its key if it has one.

        Returns:
            One, or several if limits of different kinds have this name. Empty if none has a rule.

        Raises:
            UsageError: The name is invalid.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        tokens = " ".join(f"{letter}={checked_subject(name)}" for letter in _ALL_LETTERS)
        found = await LimitStates(self._core.session().store).explain(f"- - {tokens}")
        return [state for state in found.limits if state.rule]

    async def set(self, name: str, rule: "Limit", *, by: str | None = None) -> int:
        """Set the rule of a limit, in place of the one of the code, until `clear`.

        It holds for all workers at once, and through restarts and deploys. Jobs that run keep their
        permits. Jobs that wait start if the new rule has room for them.

        Args:
            name: The limit: "sync.tenant:acme" for one value of its key, "sync.tenant:*" or
                "sync.tenant" for all.
            rule: A `Concurrency` or a `Rate`, without `key`, `name` and `cost`, which are those of
                the code. `Concurrency(0)` and `Rate("0/s")` let no further job start.
            by: The name of the operator, which `list` shows; None is the user and host of this
                process.

        Returns:
            The version of the rule. A later change of any rule of the queue has a higher one.

        Raises:
            UsageError: The name is invalid, the rule has a key, a name or a cost, or the code has
                only a limit of another kind under this name.
            BrokerError: Redis refused.

        If it is cancelled, the rule may or may not be set; calling it again is safe.
        """
        subject = checked_subject(name)
        _check_rule(rule)
        store = self._core.session().store
        token = f"{rule.kind}={subject}"
        version = await LimitOverrides(store).set(token, rule_of(rule), _who(by))
        if version == ORDER:
            raise UsageError(f"limit {name!r} is an order, which has no rule: pause the task")
        if version == OTHER_KIND:
            other = (
                'a rate: give Rate("100/m")'
                if rule.kind == "c"
                else ("a concurrency: give Concurrency(5)")
            )
            raise UsageError(f"limit {name!r} is {other} or the like in place of {rule!r}")
        return version

    async def clear(self, name: str, *, kind: "Kind | None" = None) -> bool:
        """Take back what `set` has set for exactly this name; return whether there was a rule.

        The next rule in line decides then: that for all values, for the name, or of the code.

        Args:
            name: The name that was given to `set`.
            kind: "concurrency" or "rate"; None is both.

        Raises:
            UsageError: The name or the kind is invalid.
            BrokerError: Redis refused.

        If it is cancelled, the rule may or may not be taken back; calling it again is safe.
        """
        if kind not in {None, *_LETTERS}:
            raise UsageError(f'kind={kind!r} is unknown: use "concurrency" or "rate"')
        letters = _LETTERS.values() if kind is None else [_LETTERS[kind]]
        tokens = [f"{letter}={checked_subject(name)}" for letter in letters]
        return await LimitOverrides(self._core.session().store).clear(tokens) > 0

    async def end_quiet(self, name: str) -> int:
        """Let a rate pass jobs again that is quiet because one of them raised `RateLimited`.

        Args:
            name: The rate, with a value of its key if it has one; "ask.model:*" is for all values
                for which jobs wait.

        Returns:
            How many were quiet.

        Raises:
            UsageError: The name is invalid.
            BrokerError: Redis refused.

        If it is cancelled, the rate may or may not be quiet; calling it again is safe.
        """
        token = f"r={checked_subject(name)}"
        return await LimitOverrides(self._core.session().store).end_quiet(token)

    async def explain(
        self, task: "Enqueuer[..., object]", /, *args: object, **kwargs: object
    ) -> "JobWait":
        """Return whether a job with these arguments would start now, and why it would not.

        Nothing is enqueued, and nothing is charged.

        Args:
            task: A task of this queue, maybe with options from `using`.
            *args: The positional arguments.
            **kwargs: The keyword arguments.

        Returns:
            The reason, which is `SLOT` if nothing would stop the job.

        Raises:
            UsageError: *task* is not a task of this queue, or the arguments do not have what its
                limits need.
            PayloadError: A key is not plain JSON.
            BrokerError: Redis refused.

        Cancelling is safe: nothing is changed.
        """
        if not isinstance(cast("object", task), Enqueuer):
            raise no_task(task)
        call = task.bind(*args, **kwargs)
        spec, lane = self._core.own_spec(call.spec), call.using.options.lane
        if spec.function is None:
            raise UsageError(
                f"task {spec.name!r} is not registered here, so that its limits are not known: "
                f"import the module that has it"
            )
        waits = Waits(self._core.session().store)
        if not spec.options.limits:
            return await waits.of_call(spec.name, lane)
        line = line_of(spec, lane, args, kwargs)
        return await waits.of_call(spec.name, lane, line.backlog, line.costs)


def _check_rule(rule: object) -> None:
    if not isinstance(rule, Concurrency | Rate):
        raise UsageError(
            f"rule={rule!r} is invalid: give Concurrency(10), or Rate('100/m'); "
            f"`clear` takes a rule back"
        )
    cost = rule.cost if isinstance(rule, Rate) else None
    if not rule.key is rule.name is cost is None:
        raise UsageError(
            f"rule={rule!r} has a key, a name or a cost, which only the code can give: leave it out"
        )


def _who(by: object) -> str:
    if by is None:
        return _user()[:_LONGEST_WHO]
    if not isinstance(by, str) or not by.isprintable() or not 0 < len(by) <= _LONGEST_WHO:
        raise UsageError(f"by={by!r} is invalid: give 1 to {_LONGEST_WHO} printable characters")
    return by


def _user() -> str:
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may not have a user of this number
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    who = f"{user}@{socket.gethostname()}"
    return "".join(sign if sign.isprintable() else "?" for sign in who)
