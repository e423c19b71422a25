"""What is done about a run that raised."""

from dataclasses import dataclass

from aiostreamq.model.duration import Duration, seconds
from aiostreamq.model.retry import Retries


class RetryLater(Exception):  # raised to steer: no error
    """Raise this inside a task to have the job run again after a while.

    Counts an attempt; a `Retry` of the task bounds how often, of several the one that
    allows most. Without one there is no bound.
    """

    def __init__(self, after: Duration = 0.0) -> None:
        self.after = seconds("after", after)  #: seconds until the next run
        super().__init__(f"again after {self.after:g} s")


class Drop(Exception):  # raised to steer: no error
    """Raise this inside a task to end the job without a result; who awaits gets JobDropped."""

    def __init__(self, reason: str = "dropped by the task") -> None:
        self.reason = reason  #: told to whoever awaits
        super().__init__(reason)


class Dead(Exception):  # raised to steer: no error
    """Raise this inside a task to give the job up, with no further attempt.

    It goes to the dead letters, where it can be looked at and replayed; who awaits
    gets JobDead.
    """

    def __init__(self, reason: str = "given up by the task") -> None:
        self.reason = reason  #: told to whoever awaits, and in the dead letter
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class RunAgain:
    """The job runs again."""

    after: float  #: seconds


@dataclass(frozen=True, slots=True)
class EndDropped:
    """The job ends without a result."""

    reason: str


@dataclass(frozen=True, slots=True)
class EndDead:
    """The job is given up."""

    reason: str


@dataclass(frozen=True, slots=True)
class EndFailed:
    """The job ends as failed."""


Verdict = RunAgain | EndDropped | EndDead | EndFailed


def judge(error: BaseException, rules: Retries, attempt: int, draw: float) -> Verdict:
    """Return what is done about run number *attempt*, which raised *error*.

    Args:
        error: What the task raised; TimeoutError for its own timeout.
        rules: Those of the job, or of its task.
        attempt: From 1.
        draw: A random number in [0, 1].
    """
    match error:
        case Drop():
            return EndDropped(error.reason)
        case Dead():
            return EndDead(error.reason)
        case _ if rules and attempt >= max(rule.attempts for rule in rules):
            return EndFailed()  # whatever they are for
        case RetryLater():
            return RunAgain(error.after)
        case _:
            return _by_rules(error, rules, attempt, draw)


def _by_rules(error: BaseException, rules: Retries, attempt: int, draw: float) -> Verdict:
    # It alone decides: a later one is not asked for the attempts that it refuses.
    first = next((rule for rule in rules if rule.covers(error)), None)
    if first is None or attempt >= first.attempts:
        return EndFailed()
    return RunAgain(first.pause(attempt, draw))
