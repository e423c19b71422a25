"""What subscribing to a job can find."""

from enum import Enum, auto


class Subscription(Enum):
    """What subscribing to a job that has not ended can find."""

    WILL_TELL = auto()  #: the inbox will be told
    NO_RESULT = auto()  #: the job keeps no result
    UNKNOWN = auto()  #: there is no such job


def standing_of(answer: bytes | int | None) -> bytes | Subscription:
    """Read the answer about one job: the outcome of one that has ended, or a Subscription."""
    match answer:
        case bytes():
            return answer
        case 1:
            return Subscription.WILL_TELL
        case 2:
            return Subscription.NO_RESULT
        case _:
            return Subscription.UNKNOWN
