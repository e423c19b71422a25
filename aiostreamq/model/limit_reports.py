"""The values that `queue.limits` and `job.info` return about limits, and rules in Redis."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from aiostreamq.model.record import record
from aiostreamq.model.time import moment

# A rule that an operator has set: the rule, version, when in ms since 1970, and who.
_SET = re.compile(r"(.*?) v(\d{1,15}) (\d{1,15}) (.*)", re.DOTALL)

_PERIODS = {1: "ms", 1000: "s", 60_000: "m", 3_600_000: "h", 86_400_000: "d"}

KINDS = {
    "c": "concurrency",
    "r": "rate",
    "o": "order",
}  #: kinds of limits, by the first letter of a token
_BEGINNINGS = {f"{letter}=" for letter in KINDS}


@record
class LimitRule:
    """A rule that an operator has set for a limit with `queue.limits.set`."""

    name: str  #: of the limit, as in "sync.tenant", "sync.tenant:*" or "sync.tenant:acme"
    rule: str  #: as in "Concurrency(2)" or "Rate('100/m', burst=20)"
    version: int  #: a later change of any rule of the queue has a higher one
    set_at: datetime  #: in UTC
    set_by: str  #: who has set it


@record
class LimitInfo:
    """A limit of a queue: its rules, and how busy it is."""

    name: str  #: without a value of its key, as in "sync.tenant"
    kind: str  #: "concurrency", "rate" or "order"
    rule: str  #: that of the code; empty if no worker has declared one
    set_rules: tuple[LimitRule, ...]  #: those that operators have set, which come before it
    held: int  #: running jobs that hold its permits, for all values of its key; 0 for a rate
    blocked: int  #: how many keys wait for it: jobs with the same values of all keys are one
    is_estimate: bool  #: whether `held` and `blocked` come from a sample
    #: of a rate: until when it is quiet, in UTC, because a job raised `RateLimited`; None if it is
    #: not. With a key, the last of the values for which jobs wait
    quiet_until: datetime | None = None


@record
class LimitState:
    """A limit for one value of its key, at one moment."""

    name: str  #: with the value, as in "sync.tenant:acme"
    kind: str  #: "concurrency", "rate" or "order"
    rule: str  #: the one in force; empty if there is none, and all jobs pass
    #: which operator's rule that is: "sync.tenant:acme", "sync.tenant:*" or "sync.tenant"; empty if
    #: it is that of the code
    decided_by: str
    has_room: bool  #: whether it lets the job start
    room_at: datetime | None  #: when it will, in UTC; None if that is unknown, or if it does
    held: int  #: how many jobs hold its permits
    holders: tuple[str, ...]  #: ids of some of them, those that hold theirs for longest
    blocked: int  #: how many keys wait for it
    #: of a rate: until when it is quiet, in UTC, because a job raised `RateLimited`; None if not
    quiet_until: datetime | None = None
    quieted_by: str = ""  #: id of that job


class WaitReason(StrEnum):
    """Why a job does not start."""

    PAUSED = "paused"  #: its task or its lane is paused
    NO_WORKER = "no_worker"  #: no living worker serves its lane and knows its task
    LIMIT = "limit"  #: a limit has no room for it, or for the jobs before it
    SLOT = "slot"  #: nothing stops it: it starts when a worker has a free slot, and it is its turn


@record
class JobWait:
    """Why a job waits, or whether a call would."""

    reason: WaitReason
    limit: str = ""  #: name of the limit that refuses, as in `LimitState.name`
    until: datetime | None = None  #: when the pause ends, or the limit has room; None if unknown
    ahead: int = 0  #: how many jobs that wait for the same limits come before it
    limits: tuple[LimitState, ...] = ()  #: all limits of its task


def shown_rule(token: str, rule: str) -> str:
    """Return a rule as it is written in Python; the rule itself if it cannot be read.

    >>> (
    ...     shown_rule("c=sync", "2"),
    ...     shown_rule("r=api", "100 60000 20"),
    ...     shown_rule("r=api", "5 1500 5"),
    ... )
    ('Concurrency(2)', "Rate('100/m', burst=20)", "Rate('5/1.5s')")
    """
    parts = rule.split(" ")
    if not all(part.isdecimal() for part in parts):
        return rule
    if token.startswith("o=") and rule:
        return "Ordered()"
    if token.startswith("c=") and len(parts) == 1:
        return f"Concurrency({rule})"
    if token.startswith("r=") and len(parts) == 3:
        count, period, burst = parts
        more = "" if burst == count else f", burst={burst}"
        return f"Rate('{count}/{_shown_period(int(period))}'{more})"
    return rule


def _shown_period(period_ms: int) -> str:
    unit = max((ms for ms in _PERIODS if period_ms % ms == 0 or ms == 1000 < period_ms), default=1)
    count = period_ms / unit
    return _PERIODS[unit] if count == 1 else f"{count:g}{_PERIODS[unit]}"


def set_rule(token: str, text: str) -> LimitRule:
    """Return a rule as an operator has set it; one of another program has version 0.

    >>> set_rule("c=sync", "5 v2 1000 ann").set_by
    'ann'
    """
    found = _SET.fullmatch(text)
    rule, version, at, who = found.groups() if found else (text, "0", "0", "")
    return LimitRule(token[2:], shown_rule(token, rule), int(version), moment(int(at)), who)


def rule_in(text: str) -> str:
    """Return the rule in what `limits` or `limit_defaults` has.

    >>> rule_in("100 60000 20 v2 1000 ann"), rule_in("5")
    ('100 60000 20', '5')
    """
    found = _SET.fullmatch(text)
    return found[1] if found else text


def limits_of(
    defaults: Mapping[str, str],
    rules: Mapping[str, str],
    held: Mapping[str, int],
    blocked: Mapping[str, int],
    quiets: Mapping[str, int],
    *,
    is_estimate: bool,
) -> list[LimitInfo]:
    """Return the limits of a queue by name; the arguments are by token."""
    names = {token for token in defaults if token[:2] in _BEGINNINGS}
    names |= {token.partition(":")[0] for token in rules if token[:2] in _BEGINNINGS}
    return [
        LimitInfo(
            token[2:],
            KINDS[token[0]],
            shown_rule(token, defaults.get(token, "")),
            tuple(
                set_rule(one, text)
                for one, text in sorted(rules.items())
                if one.partition(":")[0] == token
            ),
            held.get(token, 0),
            blocked.get(token, 0),
            is_estimate,
            moment(quiets[token]) if token in quiets else None,
        )
        for token in sorted(names, key=lambda token: (token[2:], token))
    ]
