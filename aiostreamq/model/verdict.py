"""The verdict on a run that raised: run again, or end, and how."""

from datetime import datetime

from aiostreamq.errors import Picklable, UsageError
from aiostreamq.model.duration import Duration, moment_ms, seconds
from aiostreamq.model.record import record
from aiostreamq.model.retry import Retries

# Seconds that a job can keep others from starting: what stops them for longer is for an operator.
LONGEST_QUIET = 86_400.0

# Seconds that a limit is quiet at least: a job that always asks for none would run without a pause.
SHORTEST_QUIET = 0.05


class RetryLater(Picklable):  # control flow rather than an error
    """Raise this inside a task to have the job run again later.

    `after` is seconds (or "10s", or a timedelta), or a datetime with a time zone, by Redis's
    clock; a past one means at once. Anything else raises UsageError.

    It counts as an attempt. A `Retry` of the task limits their number; if there are several, the
    one that allows most. Without a `Retry` there is no limit.
    """

    # Plain numbers with defaults, because they may be sent here from another process.
    after: float = 0.0  #: seconds until the next run
    at_ms: int = 0  #: or the time before which it does not start, ms since 1970

    def __init__(self, after: Duration | datetime = 0.0) -> None:
        if isinstance(after, datetime):
            self.at_ms = moment_ms("after", after)
            super().__init__(f"again at {after.isoformat()}")
        else:
            self.after = seconds("after", after)
            super().__init__(f"again after {self.after:g} s")

    def pause(self, now_ms: float) -> float:
        """Return the seconds from *now_ms* until the next run."""
        return max(self.after, (self.at_ms - now_ms) / 1000)


class RateLimited(Picklable):  # control flow rather than an error
    """Raise this inside a task if an API has refused its request for now, as with status 429.

    No job starts under this limit before `after` has passed, on any worker. The job itself is held
    again, at its place in line, and no attempt is counted.

    `limit` is the name of a `Rate` of the task, as in "api", or "ask.model" for one that was given
    no name. If it has a key, only the limit for the job's own value is quiet. `after` is seconds
    (or "30s", or a timedelta), a day at most. Anything else raises UsageError. A limit that the
    task does not have fails the job with UsageError.
    """

    # Plain values with defaults, because they may be sent here from another process.
    limit: str = ""  #: the name of the limit
    after: float = 0.0  #: seconds until a job may start under it

    def __init__(self, limit: str, after: Duration) -> None:
        if not isinstance(limit, str) or not limit:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(
                f"RateLimited({limit!r}) is invalid: give the name of a limit of the task"
            )
        self.limit = limit
        self.after = seconds("after", after)
        if self.after > LONGEST_QUIET:
            raise UsageError(
                f"after={after!r} is too long for a limit to be quiet: give a day at most"
            )
        super().__init__(f"limit {limit!r} is quiet for {self.after:g} s")


class Drop(Picklable):  # control flow rather than an error
    """Raise this inside a task to end the job without a result; awaiting it raises JobDropped."""

    def __init__(self, reason: str = "dropped by the task") -> None:
        self.reason = reason  #: message of the JobDropped
        super().__init__(reason)


class GiveUp(Picklable):  # control flow rather than an error
    """Raise this inside a task to give the job up, without another attempt.

    The job goes to the dead letters, from where it can be replayed; awaiting it raises JobDead.
    """

    def __init__(self, reason: str = "given up by the task") -> None:
        self.reason = reason  #: message of the JobDead and of the dead letter
        super().__init__(reason)


@record
class RunAgain:
    """The job runs again."""

    after: float  #: seconds


@record
class EndDropped:
    """The job ends without a result."""

    reason: str


@record
class EndDead:
    """The job is given up."""

    reason: str


@record
class EndFailed:
    """The job ends as failed."""


Verdict = RunAgain | EndDropped | EndDead | EndFailed


def judge(
    error: BaseException, rules: Retries, attempt: int, draw: float, now_ms: float
) -> Verdict:
    """Return the verdict on run number *attempt*, which raised *error*.

    Args:
        error: The exception; TimeoutError if the run exceeded its timeout.
        rules: The retry rules of the job, or of its task.
        attempt: Number of the run, from 1.
        draw: A random number in [0, 1].
        now_ms: Milliseconds since 1970, by Redis's clock.
    """
    match error:
        case Drop():
            return EndDropped(error.reason)
        case GiveUp():
            return EndDead(error.reason)
        case _ if rules and attempt >= max(rule.attempts for rule in rules):
            return EndFailed()  # no rule allows more attempts
        case RetryLater():
            return RunAgain(error.pause(now_ms))
        case _:
            return _by_rules(error, rules, attempt, draw)


def _by_rules(error: BaseException, rules: Retries, attempt: int, draw: float) -> Verdict:
    for rule in rules:
        if rule.covers(error):
            # It decides alone: later rules cannot allow attempts that it refuses.
            has_left = attempt < rule.attempts
            return RunAgain(rule.pause(attempt, draw)) if has_left else EndFailed()
    return EndFailed()
