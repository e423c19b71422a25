"""When a job that failed runs again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from aiostreamq.errors import UsageError
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.raised import RaisedInChild

# Doubling a 1 s base passes 18 hours at attempt 17. Beyond that the exponent
# only risks OverflowError, so it stops growing here.
MAX_DOUBLINGS = 16


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a job runs again after it raised, when, and after which exceptions.

    >>> Retry(5, jitter=False).pause(attempt=3, draw=0.5)
    4.0
    >>> Retry(4, backoff=[1, 5, 30]).pause(attempt=2, draw=0.5)
    5.0
    """

    attempts: int = 3  #: how often it may run in all, the first run included
    #: only after these: classes, or names such as "aiohttp.ClientError" from code without them
    on: tuple[type[BaseException] | str, ...] = (Exception,)
    not_on: tuple[type[BaseException] | str, ...] = ()  #: but never after these
    #: how pauses grow, or the pauses themselves (the last one goes on)
    backoff: Literal["exponential", "linear", "fixed"] | Sequence[Duration] = "exponential"
    base: Duration = 1.0  #: the first pause
    cap: Duration = 300.0  #: the longest pause
    #: pauses are drawn between 0 and what they would be, so that what failed
    #: together does not come back together
    jitter: bool = True

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

    def covers(self, error: BaseException, attempt: int) -> bool:
        """Whether a job whose run number *attempt* raised *error* runs again."""
        if attempt >= self.attempts:
            return False
        # By name, because a rule that came with the job has no classes.
        kinds = kinds_of(error)
        return kinds.isdisjoint(map(_name, self.not_on)) and not kinds.isdisjoint(
            map(_name, self.on)
        )

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
            "on": [_name(kind) for kind in self.on],
            "not_on": [_name(kind) for kind in self.not_on],
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
                known[name] = tuple(cast("list[str]", known[name]))
        return cast("Callable[..., Retry]", cls)(**known)


def kinds_of(error: BaseException) -> frozenset[str]:
    """The names of all classes that *error* is of, as rules have them."""
    if isinstance(error, RaisedInChild):
        return error.kinds
    return frozenset(_name(kind) for kind in type(error).__mro__)


def _check_kinds(word: str, kinds: object) -> None:
    # Found out by a worker, it would be too late: the job has raised by then.
    told = cast("tuple[object, ...]", kinds) if isinstance(kinds, tuple | list) else (None,)
    for kind in told:
        is_class = isinstance(kind, type) and issubclass(kind, BaseException)
        if not (is_class or isinstance(kind, str)):
            raise UsageError(
                f"Retry({word}={kinds!r}): give a tuple of exception classes or their names, "
                f"as in {word}=(ValueError,)"
            )


_FIELDS = ("attempts", "on", "not_on", "backoff", "base", "cap", "jitter")


def _name(kind: type[BaseException] | type | str) -> str:
    if isinstance(kind, str):
        return kind
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
