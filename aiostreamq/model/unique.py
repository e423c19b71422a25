"""Uniqueness: which calls of a task are the same, and what happens to the second of them.

A call has a key, made from its arguments (functions/call_key.py). Redis gets a digest of it, so
that no secret stands among the names there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import ClassVar, Literal, TypeAlias, cast, get_args

from aiostreamq.errors import UsageError
from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.record import record

#: The parts of a key: an argument, several, or what a function returns for the arguments that
#: it takes; None is all arguments.
Key: TypeAlias = str | Sequence[str] | Callable[..., object] | None

#: The consequence for a call whose key another job holds.
OnConflict = Literal["return", "raise", "replace", "drop"]

#: Until when a job holds its key: its end, its start, the end of a window; or each call moves it;
#: or its end, and one more job waits for that.
Held = Literal["done", "started", "window", "moved", "latest"]

# Seconds, about a hundred years. Redis refuses expiries beyond 64 bits.
_LONGEST = 3e9


@record
class Unique:
    """The rule that only one job of a key is open at a time.

    As in `@queue.task(unique=Unique(key="url"))`. A job holds its key from its enqueue to its end,
    however it ends, unless *until* says otherwise. This is not a limit of concurrency: a job that
    meets a taken key does not wait.

    Args:
        key: The argument that makes two calls the same; several, as in `("tenant", "url")`; or a
            function, which gets the arguments that it names, and returns what JSON can hold. By
            default the calls are the same if all arguments are equal.
        until: "done": the key is free when the job has ended. "started": when its first run
            begins. Seconds (or "10m", or a timedelta): after this time from the enqueue, whatever
            becomes of the job.
        on_conflict: The fate of a call whose key another job holds. "return" enqueues nothing
            and returns the other job. "raise" raises AlreadyEnqueued. "replace" cancels the other
            job, as `Job.cancel` does, and enqueues the new one in the same step. "drop" ends the
            new job at once as dropped.

    Raises:
        UsageError: A value is invalid.
    """

    key: Key = None
    until: Duration = "done"
    on_conflict: OnConflict = "return"
    held: Held = field(init=False, repr=False)  #: until when a job holds its key; not public
    window_ms: int = field(init=False, repr=False)  #: of a window, else 0; not public
    option: ClassVar[str] = "unique"  #: the option that takes it; not public

    def __post_init__(self) -> None:
        """Refuse invalid values."""
        check_key(self.key)
        is_window = self.until not in ("done", "started")
        object.__setattr__(self, "held", "window" if is_window else self.until)
        object.__setattr__(self, "window_ms", _until_ms(self.until) if is_window else 0)
        if self.on_conflict not in get_args(OnConflict):
            known = ", ".join(map(repr, get_args(OnConflict)))
            raise UsageError(f"Unique(on_conflict={self.on_conflict!r}) is unknown: use {known}")


@record
class Throttle:
    """The rule that a key has one job at most in a window of time.

    As in `@queue.task(throttle=Throttle("10s", key="user"))`. The first call of a key is enqueued.
    Calls in the window after it enqueue nothing and return its job, whether or not it has ended.

    Args:
        window: Seconds (or "10s", or a timedelta) from the enqueue of the first call.
        key: As for `Unique`.

    Raises:
        UsageError: A value is invalid.
    """

    window: Duration
    key: Key = None
    window_ms: int = field(init=False, repr=False)  #: not public, and so are the next
    on_conflict: ClassVar[OnConflict] = "return"
    held: ClassVar[Held] = "window"
    option: ClassVar[str] = "throttle"

    def __post_init__(self) -> None:
        """Refuse invalid values."""
        check_key(self.key)
        object.__setattr__(self, "window_ms", _window_ms("Throttle(window)", self.window))


@record
class Debounce:
    """The rule that a job waits until no further call of its key has come for a while.

    As in `@queue.task(debounce=Debounce("5s", key="doc", max_wait="1m"))`. The first call of a key
    makes a delayed job. While the job waits, each further call replaces its arguments and moves it.
    All these calls return the same job. A call after that makes a new job.

    Args:
        wait: Seconds (or "5s", or a timedelta) from the last call to the run.
        key: As for `Unique`.
        max_wait: The longest time from the first call to the run; None sets no limit.

    Raises:
        UsageError: A value is invalid.
    """

    wait: Duration
    key: Key = None
    max_wait: Duration | None = None
    window_ms: int = field(init=False, repr=False)  #: not public, and so are the next
    max_wait_ms: int = field(init=False, repr=False)
    on_conflict: ClassVar[OnConflict] = "return"
    held: ClassVar[Held] = "moved"
    option: ClassVar[str] = "debounce"

    def __post_init__(self) -> None:
        """Refuse invalid values."""
        check_key(self.key)
        wait_ms, most = _window_ms("Debounce(wait)", self.wait), self.max_wait
        most_ms = 0 if most is None else _window_ms("Debounce(max_wait)", most)
        if 0 < most_ms < wait_ms:
            raise UsageError(
                f"Debounce(max_wait={most!r}) is shorter than wait={self.wait!r}: give a longer "
                f"time, or leave it out for no limit"
            )
        object.__setattr__(self, "window_ms", wait_ms)
        object.__setattr__(self, "max_wait_ms", most_ms)


@record
class KeepLatest:
    """The rule that one job of a key runs and one more waits, with the newest arguments.

    As in `@queue.task(keep_latest=KeepLatest(key="tenant"))`. The first call of a key is enqueued.
    While its job has not ended, the next call makes a second job, which waits for that. Each
    further call replaces the arguments of the second job, and returns it. It runs when the first
    has ended, however that ends.

    Args:
        key: As for `Unique`.

    Raises:
        UsageError: The key is invalid.
    """

    key: Key = None
    window_ms: ClassVar[int] = 0  #: not public, and so are the next
    on_conflict: ClassVar[OnConflict] = "return"
    held: ClassVar[Held] = "latest"
    option: ClassVar[str] = "keep_latest"

    def __post_init__(self) -> None:
        """Refuse an invalid key."""
        check_key(self.key)


#: A rule about the keys of a task.
Rule: TypeAlias = Unique | Throttle | Debounce | KeepLatest

#: The options that take a rule. A job has one rule: each replaces what another has set.
_KINDS: dict[str, type[Rule]] = {
    "unique": Unique,
    "throttle": Throttle,
    "debounce": Debounce,
    "keep_latest": KeepLatest,
}
_EXAMPLES = {
    "unique": "unique=Unique(), or unique=Unique(key='url')",
    "throttle": "throttle=Throttle('10s'), or throttle=Throttle('10s', key='user')",
    "debounce": "debounce=Debounce('5s'), or debounce=Debounce('5s', key='doc')",
    "keep_latest": "keep_latest=KeepLatest(), or keep_latest=KeepLatest(key='tenant')",
}


def ruled(earlier: Rule | None, given: Mapping[str, object]) -> Rule | None:
    """Return the rule of a job.

    Args:
        earlier: The rule that the job has without *given*.
        given: Rules by the options that take them. None takes a rule of the option away.

    Raises:
        UsageError: There is more than one, or one is not a rule.
    """
    rules = {option: rule for option, rule in given.items() if rule is not None}
    if len(rules) > 1:
        names = " and ".join(f"{option}=" for option in rules)
        raise UsageError(f"{names} exclude each other: give one of them")
    for option, rule in rules.items():
        if not isinstance(rule, _KINDS[option]):
            raise UsageError(f"{option} takes a rule, got {rule!r}: use {_EXAMPLES[option]}")
        return rule
    return None if earlier is not None and earlier.option in given else earlier


def wire(rule: Rule, keep_ms: int) -> str:
    """Return a rule as enqueue_unique.lua reads it.

    Args:
        rule: The rule.
        keep_ms: Milliseconds that the outcome of the job is kept; 0 keeps none.
    """
    most_ms = rule.max_wait_ms if isinstance(rule, Debounce) else 0
    return f"{rule.held} {rule.on_conflict} {keep_ms} {rule.window_ms} {most_ms}"


def with_key(envelope: bytes, rule: Rule, digest: str) -> bytes:
    """Return an envelope that names the key which the job holds to its end or to its start."""
    if rule.held == "window":
        return envelope
    held = b"started" if rule.held == "started" else b"done"
    return b'%b,"key":"%b:%b"}' % (envelope[:-1], held, digest.encode())


def _window_ms(option: str, window: Duration) -> int:
    found = seconds(option, window)
    if found == 0:
        raise UsageError(f"{option}={window!r} is invalid: give a time that is longer than 0")
    return max(1, round(min(found, _LONGEST) * 1000))


def _until_ms(until: Duration) -> int:
    try:
        return _window_ms("Unique(until)", until)
    except UsageError as error:
        raise UsageError(f"{error}; or use until='done' or until='started'") from None


def check_key(key: object) -> None:
    """Raise UsageError if a key is neither the names of arguments nor a function."""
    if key is None or callable(key) or (isinstance(key, str) and key):
        return
    names = cast("Sequence[object]", key) if isinstance(key, list | tuple) else ()
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UsageError(
            f"key={key!r} is invalid: give the name of an argument, several names as a tuple, a "
            f"function of arguments, or leave it out for all arguments"
        )
