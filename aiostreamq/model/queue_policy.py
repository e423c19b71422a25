"""On which terms a queue takes jobs."""

from dataclasses import dataclass

from aiostreamq.errors import UsageError
from aiostreamq.model.options import Durability


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """What a queue says about all jobs that are enqueued through it."""

    max_payload: int  #: bytes that the JSON of a call, or of a result, may have
    enqueue_timeout: float  #: seconds an enqueue goes on trying while Redis is away
    durability: Durability = "memory"  #: what enqueueing waits for, where the job says nothing
    max_length: int = 0  #: jobs that a lane may hold, those that run included; 0 is any number
    waits_when_full: bool = False  #: whether a call waits for room, or raises QueueFull

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if type(self.max_payload) is not int or self.max_payload < 1:
            raise UsageError(
                f"max_payload={self.max_payload!r}: use a whole number of bytes from 1 on"
            )


def checked_max_length(max_length: int | None) -> int:
    """Return *max_length* with 0 for no bound, or raise UsageError for what is no bound."""
    if max_length is None:
        return 0
    if type(max_length) is not int or max_length < 1:
        raise UsageError(
            f"max_length={max_length!r} is no bound: use a whole number from 1 on, or leave it out"
        )
    return max_length


def checked_when_full(word: str, max_length: int) -> bool:
    """Return whether calls wait for room, or raise UsageError for what is no answer to that."""
    if word not in ("raise", "wait"):  # no set: it may be anything
        raise UsageError(f"when_full={word!r} is not known: use 'raise' or 'wait'")
    if word == "wait" and not max_length:
        raise UsageError("when_full='wait' needs Queue(max_length=...), or no lane is ever full")
    return word == "wait"
