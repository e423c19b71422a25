"""The limits within which a queue accepts jobs."""

from dataclasses import dataclass

from aiostreamq.errors import UsageError
from aiostreamq.model.options import Durability


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """The limits and defaults of a queue for all jobs that are enqueued through it."""

    max_payload: int  #: largest size of a call or of a result, in bytes of JSON
    enqueue_timeout: float  #: seconds during which an enqueue is retried while Redis is away
    durability: Durability = "memory"  #: what an enqueue waits for by default
    max_length: int = 0  #: jobs that a lane may hold, running ones included; 0 means no limit
    waits_when_full: bool = False  #: whether a call waits for room, or raises QueueFull

    def __post_init__(self) -> None:
        """Refuse invalid limits."""
        if type(self.max_payload) is not int or self.max_payload < 1:
            raise UsageError(
                f"max_payload={self.max_payload!r}: use an integer of at least 1, in bytes"
            )


def checked_max_length(max_length: int | None) -> int:
    """Return *max_length*, or 0 if it is None; raise UsageError if it is invalid."""
    if max_length is None:
        return 0
    if type(max_length) is not int or max_length < 1:
        raise UsageError(
            f"max_length={max_length!r} is invalid: use an integer of at least 1, or leave it out"
        )
    return max_length


def checked_when_full(when_full: str, max_length: int) -> bool:
    """Return whether calls wait for room; raise UsageError if *when_full* is invalid."""
    if when_full not in ("raise", "wait"):  # not a set, as the value may be unhashable
        raise UsageError(f"when_full={when_full!r} is unknown: use 'raise' or 'wait'")
    if when_full == "wait" and not max_length:
        raise UsageError("when_full='wait' needs Queue(max_length=...), or no lane is ever full")
    return when_full == "wait"
