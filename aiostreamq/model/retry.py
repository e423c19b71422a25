"""Retry rules: whether and when a job that failed runs again."""

from collections.abc import Callable, Mapping, Sequence
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
from aiostreamq.model.outcome import RemoteException
from aiostreamq.model.record import record
from aiostreamq.model.unknown_options import unknown_option

# Doubling a base of 1 s exceeds 18 hours at attempt 17. A larger exponent would only risk
# OverflowError.
MAX_DOUBLINGS = 16

_FIELDS = ("attempts", "on", "not_on", "backoff", "base", "cap", "jitter")


@record
class Retry:
    """A rule for retrying a job: how often, when, and after which exceptions.

    If there are several rules, the first that covers the exception decides alone. All rules count
    the same attempts, whatever each attempt raised.

    A rule covers an exception group if it covers the group itself or each exception in it, and
    if `not_on` names none of them.

    Raises:
        UsageError: An option is unknown or invalid.

    >>> Retry(5, jitter=False).pause(attempt=3, draw=0.5)
    4.0
    >>> Retry(4, backoff=[1, 5, 30]).pause(attempt=2, draw=0.5)
    5.0
    """

    attempts: int = 3  #: how often the job may run in total, the first run included
    #: retry only after these: classes, or names such as "aiohttp.ClientError" if the class is not
    #: importable. Each name under which a class can be imported will do
    on: tuple[type[BaseException] | str, ...] = (Exception,)
    not_on: tuple[type[BaseException] | str, ...] = ()  #: never retry after these
    #: how pauses grow, or a list of pauses, of which the last one repeats
    backoff: Literal["exponential", "linear", "fixed"] | Sequence[Duration] = "exponential"
    base: Duration = 1.0  #: the first pause
    cap: Duration = 300.0  #: the longest pause
    #: whether each pause is drawn between 0 and its full length, so that jobs that failed together
    #: do not run again together
    jitter: bool = True

    if not TYPE_CHECKING:  # a type checker knows the options

        def __new__(cls, *_: object, **options: object) -> Self:
            """Refuse unknown options, with a list of the known ones."""
            if unknown := options.keys() - set(_FIELDS):
                raise unknown_option("Retry", min(unknown), _FIELDS)
            return object.__new__(cls)

    def __post_init__(self) -> None:
        """Refuse invalid options."""
        if type(self.attempts) is not int or self.attempts < 1:
            raise UsageError(
                f"Retry(attempts={self.attempts!r}): use an integer of at least 1; it counts the "
                f"first run too"
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
                f"Retry(backoff={self.backoff!r}): give at least one pause, as in [1, 5, '1m']"
            )
        for pause in () if isinstance(self.backoff, str) else self.backoff:
            seconds("backoff", pause)
        seconds("base", self.base)
        seconds("cap", self.cap)
        _check_kinds("on", self.on)
        _check_kinds("not_on", self.not_on)

    def covers(self, error: BaseException) -> bool:
        """Whether this rule applies to *error*."""
        kinds = _kinds_of(error)
        never = _names_of(self.not_on) if self.not_on else None
        if never and not (never.isdisjoint(kinds.own) and all(map(never.isdisjoint, kinds.leaves))):
            return False
        after = _names_of(self.on)
        if not after.isdisjoint(kinds.own):
            return True
        return bool(kinds.leaves) and not any(map(after.isdisjoint, kinds.leaves))

    def pause(self, attempt: int, draw: float) -> float:
        """Return the seconds between run number *attempt* (from 1) and the next.

        *draw* is a random number in [0, 1], so that the result depends only on the arguments.
        """
        if not isinstance(self.backoff, str):
            # Pauses given one by one are exact: no jitter.
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
        """Return this rule as a JSON object."""
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
    def from_wire(cls, fields: Mapping[str, object]) -> "Retry":
        """Return the rule that *fields* describe; missing ones have their defaults.

        Raises:
            UsageError: A field is invalid.
            TypeError: A field has the wrong type.
        """
        known = {name: fields[name] for name in _FIELDS if name in fields}
        for name in ("on", "not_on"):
            if name in known:
                # An unknown name covers no exception. It may come from another release, or from a
                # Python with more exceptions, so the job is not refused for it.
                known[name] = tuple(filter(_is_possible, cast("list[str]", known[name])))
        return cast("Callable[..., Retry]", cls)(**known)


#: The retry rules of a task: the first that covers an exception decides; () means no retry.
Retries = tuple[Retry, ...]


def checked_retries(retry: Retry | Sequence[Retry] | None) -> Retries:
    """Return the rules that the option `retry=` gives.

    Raises:
        UsageError: It is not a rule, or one of its rules could never decide.
    """
    if isinstance(retry, Retry):
        return (retry,)
    if retry is None:
        return ()
    rules = tuple(retry) if isinstance(retry, list | tuple) else (None,)
    if not rules:
        raise UsageError(f"retry={retry!r} holds no rule: write Retry(5), or None for no retry")
    if not all(isinstance(rule, Retry) for rule in rules):
        raise UsageError(
            f"retry={retry!r} is not a retry rule: write Retry(5), several of them as in "
            f"(Retry(5, on=(TimeoutError,)), Retry(2)), or None for no retry"
        )
    found = cast("Retries", rules)
    _check_reach(found)
    return found


def retries_to_wire(rules: Retries) -> object:
    """Return *rules* for JSON: one as an object, several as a list."""
    written = [rule.to_wire() for rule in rules or (Retry(1),)]
    return written[0] if len(written) == 1 else written


def _kinds_of(error: BaseException) -> Kinds:
    # Not isinstance: an exception may claim another class in `__class__`, or raise there.
    if issubclass(type(error), RemoteException):
        return cast("RemoteException", error).kinds
    return kinds_of(error)


def _check_reach(rules: Retries) -> None:
    # A rule that can never decide is most likely in the wrong order.
    for at, rule in enumerate(rules):
        earlier = [one for one in rules[:at] if _excludes_no_more(one, rule)]
        if any(all(_is_for(one, kind) for kind in rule.on) for one in earlier):
            names = ", ".join(map(_written, rule.on))
            raise UsageError(
                f"retry: rule {at + 1}, on={names}, can never decide, because an earlier rule "
                f"covers the same exceptions: put it first, or leave it out"
            )


def _excludes_no_more(earlier: Retry, later: Retry) -> bool:
    """Whether *later* excludes every exception that *earlier* excludes."""
    names = _names_of(later.not_on)
    return all(not names.isdisjoint(_lineage(kind)) for kind in earlier.not_on)


def _is_for(rule: Retry, kind: type[BaseException] | str) -> bool:
    return not _lineage(kind).isdisjoint(_names_of(rule.on))


def _lineage(kind: type[BaseException] | str) -> Names:
    if not isinstance(kind, str):
        return lineage(kind)
    # Only built-ins: whether the bases of other classes are known depends on what was imported.
    name = kind.removeprefix("builtins.")
    known = None if "." in name else exception_called(name)
    return frozenset((kind, name_of(BaseException))) if known is None else lineage(known)


def _check_kinds(option: str, kinds: object) -> None:
    # Checked here, because a worker would find the mistake only after the job has raised.
    several = cast("tuple[object, ...]", kinds) if isinstance(kinds, tuple | list) else (None,)
    for kind in several:
        if isinstance(kind, str):
            _check_name(option, kind)
        elif not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise UsageError(
                f"Retry({option}={kinds!r}): give a tuple of exception classes or their names, "
                f"as in {option}=(ValueError,)"
            )


def _is_possible(name: str) -> bool:
    return is_well_formed(name) and not is_something_else(name)


def _check_name(option: str, name: str) -> None:
    if not is_well_formed(name):
        raise UsageError(
            f"Retry({option}=({name!r},)): no exception has this name: write its module and its "
            f"class, as in 'aiohttp.ClientError', or the name of a built-in exception"
        )
    if is_something_else(name):
        raise UsageError(
            f"Retry({option}=({name!r},)): this is not an exception: name an exception class"
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
