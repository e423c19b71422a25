"""When a job that failed runs again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.exception_names import (
    Kinds,
    Names,
    exception_called,
    is_something_else,
    is_well_formed,
    kinds_of,
    lineage,
    name_of,
)
from aiostreamq.model.remote_exception import RemoteException
from aiostreamq.model.unknown_options import unknown_option

# Doubling a 1 s base passes 18 hours at attempt 17. Beyond that the exponent
# only risks OverflowError, so it stops growing here.
MAX_DOUBLINGS = 16

_FIELDS = ("attempts", "on", "not_on", "backoff", "base", "cap", "jitter")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a job runs again after it raised, when, and after which exceptions.

    Of several rules the first that covers the exception decides alone. Attempts are those
    of the job, whatever each of them raised: no rule counts its own.

    A rule covers an exception group if it covers the group itself or each exception in it, and
    if `not_on` names none of them.

    Raises:
        UsageError: An option is unknown or invalid.

    >>> Retry(5, jitter=False).pause(attempt=3, draw=0.5)
    4.0
    >>> Retry(4, backoff=[1, 5, 30]).pause(attempt=2, draw=0.5)
    5.0
    """

    attempts: int = 3  #: how often it may run in all, the first run included
    #: only after these: classes, or names such as "aiohttp.ClientError" from code without them.
    #: A class has the name of each module that it can be imported from
    on: tuple[type[BaseException] | str, ...] = (Exception,)
    not_on: tuple[type[BaseException] | str, ...] = ()  #: but never after these
    #: how pauses grow, or the pauses themselves (the last one goes on)
    backoff: Literal["exponential", "linear", "fixed"] | Sequence[Duration] = "exponential"
    base: Duration = 1.0  #: the first pause
    cap: Duration = 300.0  #: the longest pause
    #: pauses are drawn between 0 and what they would be, so that what failed
    #: together does not come back together
    jitter: bool = True

    if not TYPE_CHECKING:  # a type checker knows the options

        def __new__(cls, *_: object, **options: object) -> Self:
            """Refuse options that there are not, with the names of those that there are."""
            if unknown := options.keys() - set(_FIELDS):
                raise unknown_option("Retry", min(unknown), _FIELDS)
            return object.__new__(cls)

    def __post_init__(self) -> None:
        """Refuse what can not be meant."""
        if type(self.attempts) is not int or self.attempts < 1:
            raise UsageError(
                f"Retry(attempts={self.attempts!r}): how often it may run, the first run "
                f"included; use a whole number from 1 on"
            )
        if type(self.jitter) is not bool:
            raise UsageError(f"Retry(jitter={self.jitter!r}): use True or False")
        if isinstance(self.backoff, str):
            if self.backoff not in {"exponential", "linear", "fixed"}:
                raise UsageError(
                    f"Retry(backoff={self.backoff!r}): use 'exponential', 'linear', 'fixed' "
                    f"or a list of pauses"
                )
        elif not isinstance(self.backoff, list | tuple) or not self.backoff:
            raise UsageError(
                f"Retry(backoff={self.backoff!r}): name at least one pause, as in [1, 5, '1m']"
            )
        for pause in () if isinstance(self.backoff, str) else self.backoff:
            seconds("backoff", pause)
        seconds("base", self.base)
        seconds("cap", self.cap)
        _check_kinds("on", self.on)
        _check_kinds("not_on", self.not_on)

    def covers(self, error: BaseException) -> bool:
        """Whether this rule says what is done about *error*."""
        kinds = _kinds_of(error)
        never = _names_of(self.not_on) if self.not_on else None
        if never and not (never.isdisjoint(kinds.own) and all(map(never.isdisjoint, kinds.leaves))):
            return False
        after = _names_of(self.on)
        if not after.isdisjoint(kinds.own):
            return True
        return bool(kinds.leaves) and not any(map(after.isdisjoint, kinds.leaves))

    def pause(self, attempt: int, draw: float) -> float:
        """Seconds between run number *attempt* (from 1) and the next.

        *draw* is the caller's random number in [0, 1], so that the same inputs
        always give the same answer.
        """
        if not isinstance(self.backoff, str):
            # Written out one by one, they are meant to the second.
            return seconds("backoff", self.backoff[min(attempt, len(self.backoff)) - 1])
        base = seconds("base", self.base)
        match self.backoff:
            case "exponential":
                whole = base * 2 ** min(attempt - 1, MAX_DOUBLINGS)
            case "linear":
                whole = base * attempt
            case _:
                whole = base
        whole = min(whole, seconds("cap", self.cap))
        return whole * draw if self.jitter else whole

    def to_wire(self) -> dict[str, object]:
        """Return this rule as JSON can carry it."""
        backoff = self.backoff
        return {
            "attempts": self.attempts,
            "on": [_written(kind) for kind in self.on],
            "not_on": [_written(kind) for kind in self.not_on],
            "backoff": backoff
            if isinstance(backoff, str)
            else [seconds("backoff", pause) for pause in backoff],
            "base": seconds("base", self.base),
            "cap": seconds("cap", self.cap),
            "jitter": self.jitter,
        }

    @classmethod
    def from_wire(cls, told: Mapping[str, object]) -> "Retry":
        """Read a rule; what is left out has its default.

        Raises:
            UsageError: It can not be meant.
            TypeError: A field has the wrong type.
        """
        known = {name: told[name] for name in _FIELDS if name in told}
        for name in ("on", "not_on"):
            if name in known:
                # What no exception is called covers none. It may be of another release, or of
                # a Python with more exceptions: that is no reason to refuse the job.
                known[name] = tuple(filter(_is_possible, cast("list[str]", known[name])))
        return cast("Callable[..., Retry]", cls)(**known)


#: What a task says about failed runs: no rule is (), and the first that covers decides.
Retries = tuple[Retry, ...]


def checked_retries(said: Retry | Sequence[Retry] | None) -> Retries:
    """Return what `retry=` says.

    Raises:
        UsageError: It is no rule, or one of its rules could never decide.
    """
    if isinstance(said, Retry):
        return (said,)
    if said is None:
        return ()
    rules = tuple(said) if isinstance(said, list | tuple) else (None,)
    if not rules:
        raise UsageError(f"retry={said!r} holds no rule: write Retry(5), or None for no retry")
    if not all(isinstance(rule, Retry) for rule in rules):
        raise UsageError(
            f"retry={said!r} is no rule: write Retry(5), several of them as in "
            f"(Retry(5, on=(TimeoutError,)), Retry(2)), or None for no retry"
        )
    found = cast("Retries", rules)
    _check_reach(found)
    return found


def retries_to_wire(rules: Retries) -> object:
    """Return *rules* as JSON can carry them: one as an object, more as a list."""
    told = [rule.to_wire() for rule in rules or (Retry(1),)]
    return told[0] if len(told) == 1 else told


def _kinds_of(error: BaseException) -> Kinds:
    # Not isinstance: an exception may claim to be of another class, or raise when it is asked.
    if issubclass(type(error), RemoteException):
        return cast("RemoteException", error).kinds
    return kinds_of(error)


def _check_reach(rules: Retries) -> None:
    # Most likely they were meant the other way round.
    for at, rule in enumerate(rules):
        earlier = [one for one in rules[:at] if _excludes_no_more(one, rule)]
        if any(all(_is_for(one, kind) for kind in rule.on) for one in earlier):
            names = ", ".join(map(_written, rule.on))
            raise UsageError(
                f"retry: rule {at + 1}, on={names}, can never decide, as what it is for is "
                f"covered before it: put it first, or leave it out"
            )


def _excludes_no_more(earlier: Retry, later: Retry) -> bool:
    """Whether all that *earlier* leaves to other rules is nothing for *later* either."""
    names = _names_of(later.not_on)
    return all(not names.isdisjoint(_lineage(kind)) for kind in earlier.not_on)


def _is_for(rule: Retry, kind: type[BaseException] | str) -> bool:
    return not _lineage(kind).isdisjoint(_names_of(rule.on))


def _lineage(kind: type[BaseException] | str) -> Names:
    if not isinstance(kind, str):
        return lineage(kind)
    # Of others it depends on what has been imported so far whether their bases are known.
    name = kind.removeprefix("builtins.")
    known = None if "." in name else exception_called(name)
    return frozenset((kind, name_of(BaseException))) if known is None else lineage(known)


def _check_kinds(word: str, kinds: object) -> None:
    # Found out by a worker, it would be too late: the job has raised by then.
    told = cast("tuple[object, ...]", kinds) if isinstance(kinds, tuple | list) else (None,)
    for kind in told:
        if isinstance(kind, str):
            _check_name(word, kind)
        elif not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise UsageError(
                f"Retry({word}={kinds!r}): give a tuple of exception classes or their names, "
                f"as in {word}=(ValueError,)"
            )


def _is_possible(name: str) -> bool:
    return is_well_formed(name) and not is_something_else(name)


def _check_name(word: str, name: str) -> None:
    if not is_well_formed(name):
        raise UsageError(
            f"Retry({word}=({name!r},)): no exception has this name: write its module and its "
            f"class, as in 'aiohttp.ClientError', or the name of a built-in exception"
        )
    if is_something_else(name):
        raise UsageError(
            f"Retry({word}=({name!r},)): this is not an exception: name an exception class"
        )


def _written(kind: type[BaseException] | str) -> str:
    return kind if isinstance(kind, str) else name_of(kind)


def _names_of(kinds: tuple[type[BaseException] | str, ...]) -> Names:
    """Return all names that an exception of one of *kinds* may have."""
    names: set[str] = set()
    for kind in kinds:
        if not isinstance(kind, str):
            names.add(name_of(kind))
            continue
        names.add(kind)
        if (known := exception_called(kind)) is not None:
            names.add(name_of(known))
    return frozenset(names)
